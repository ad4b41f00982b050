import json
import resource
import signal

import pytest
from harness import make_jobs

from tfrecord_tools.building import shard_staging, shard_writer
from tfrecord_tools.io import tfrecord


def names(path):
    return [features["image_name"] for _, _, features in tfrecord.read(path)]


def test_a_shard_holds_its_rows_in_order_and_its_entry_describes_it(rows, tmp_path):
    counted = []
    for job in make_jobs(rows, tmp_path / "out"):
        shard_writer.make_shard(job, lambda: counted.append(1))
    entries = [shard_staging.find_finished(job, str(tmp_path / "out")) for job in make_jobs(rows, tmp_path / "out")]
    assert [entry["shard"]["name"] for entry in entries] == ["train00-3.tfrec", "train01-2.tfrec"]
    assert [names(entry["staged"]) for entry in entries] == [["i0", "i1", "i2"], ["i3", "i4"]]
    assert [entry["skipped"] for entry in entries] == [[], []]
    assert len(counted) == 5


def test_an_image_that_cannot_be_read_is_named_or_skipped_and_listed(rows, tmp_path):
    (tmp_path / "jpeg" / "i1.jpg").write_bytes(b"no image")
    (tmp_path / "jpeg" / "i4.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"image i1: .*i1.jpg is not an intact JPEG .*; to skip unreadable images, use --on_error=skip"
    ):
        shard_writer.make_shard(make_jobs(rows, tmp_path / "out")[0])
    with pytest.raises(ValueError, match=r"image i4: .*No such file .*i4.jpg'; to skip unreadable"):
        shard_writer.make_shard(make_jobs(rows, tmp_path / "out")[1])
    skipped = []
    for job in make_jobs(rows, tmp_path / "out", "skip"):
        shard_writer.make_shard(job)
        entry = shard_staging.find_finished(job, str(tmp_path / "out"))
        skipped += entry["skipped"]
        part = rows[rows["shard"] == job.shard]
        assert shard_staging.index_rows(entry, part)["image_name"].tolist() == names(entry["staged"])
        assert shard_staging.index_rows(entry, part)["position"].tolist() == list(range(entry["shard"]["records"]))
    assert [row["image_name"] for row in skipped] == ["i1", "i4"]
    assert str(tmp_path) not in json.dumps(skipped)


def test_a_full_disk_is_named_with_the_image_and_always_stops(rows, tmp_path):
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # No file may grow beyond this, as on a disk with so much left.
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limit[1]))
    try:
        with pytest.raises(
            ValueError, match=r"cannot write train00 in .*making-train at image i\d: .*too large; free disk space"
        ):
            shard_writer.make_shard(make_jobs(rows, tmp_path / "out", "skip")[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "out" / ".making-train").iterdir()) == []
