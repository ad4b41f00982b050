import json
import resource
import shutil
import signal

import pytest
from harness import make_jobs

from tfrecord_tools.building import shard_writer
from tfrecord_tools.io import tfrecord


def names(path):
    return [features["image_name"] for _, _, features in tfrecord.read(path)]


def test_a_shard_holds_its_rows_in_order_and_says_what_it_is(rows, tmp_path):
    counted = []
    for job in make_jobs(rows, tmp_path / "out"):
        shard_writer.make_shard(job, lambda: counted.append(1))
    entries = [shard_writer.find_finished(job, str(tmp_path / "out")) for job in make_jobs(rows, tmp_path / "out")]
    assert [entry["shard"]["name"] for entry in entries] == ["train00-3.tfrec", "train01-2.tfrec"]
    assert [names(entry["staged"]) for entry in entries] == [["i0", "i1", "i2"], ["i3", "i4"]]
    assert [entry["skipped"] for entry in entries] == [[], []]
    assert len(counted) == 5


def test_nothing_is_in_place_before_put_in_place_and_then_nothing_else_is(rows, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    for old in ("train00-9.tfrec", "train01-2.tfrec", "test00-9.tfrec"):
        (output / old).write_bytes(b"old")
    for job in make_jobs(rows, output):
        shard_writer.make_shard(job)
    assert (output / "train01-2.tfrec").read_bytes() == b"old"
    entries = [shard_writer.find_finished(job, str(output)) for job in make_jobs(rows, output)]
    shard_writer.put_in_place(str(output), "train", entries)
    assert sorted(path.name for path in output.iterdir()) == ["test00-9.tfrec", "train00-3.tfrec", "train01-2.tfrec"]
    assert names(str(output / "train01-2.tfrec")) == ["i3", "i4"]


def test_a_finished_shard_is_found_again_staged_or_in_place_unless_anything_changed(rows, tmp_path):
    output = tmp_path / "out"
    job = make_jobs(rows, output)[0]
    assert shard_writer.find_finished(job, str(output)) is None
    shard_writer.make_shard(job)
    entry = shard_writer.find_finished(job, str(output))
    assert entry["shard"]["records"] == 3
    for changed in (make_jobs(rows, output, quality=80)[0], make_jobs(rows.assign(integers=[{}] * 5), output)[0]):
        assert shard_writer.find_finished(changed, str(output)) is None
    shutil.move(entry["staged"], output / entry["shard"]["name"])
    assert shard_writer.find_finished(job, str(output)) == entry
    (output / entry["shard"]["name"]).write_bytes(b"damaged")
    assert shard_writer.find_finished(job, str(output)) is None


def test_a_replaced_image_makes_its_shard_anew(rows, tmp_path):
    shard_writer.make_shard(make_jobs(rows, tmp_path / "out")[0])
    (tmp_path / "jpeg" / "i1.jpg").write_bytes((tmp_path / "jpeg" / "i4.jpg").read_bytes())
    assert shard_writer.find_finished(make_jobs(rows, tmp_path / "out")[0], str(tmp_path / "out")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": 1}'])
def test_a_damaged_entry_makes_its_shard_anew(rows, tmp_path, text):
    job = make_jobs(rows, tmp_path / "out")[0]
    shard_writer.make_shard(job)
    entry = json.loads((tmp_path / "out" / ".making-train" / "train00.json").read_text())
    text = text.replace("1", json.dumps(entry["fingerprint"]))
    (tmp_path / "out" / ".making-train" / "train00.json").write_text(text)
    assert shard_writer.find_finished(job, str(tmp_path / "out")) is None


def test_leftovers_of_other_runs_are_cleared_and_finished_shards_stay(rows, tmp_path):
    job = make_jobs(rows, tmp_path / "out")[0]
    shard_writer.make_shard(job)
    staging = tmp_path / "out" / ".making-train"
    before = sorted(staging.iterdir())
    for leftover in (".tmp-7-train01-0000.tfrec", "train00-deadbeef.tfrec", "train01.json"):
        (staging / leftover).touch()
    for leftover in (".tmp-7-train.manifest.json", ".tmp-7-train.index.csv", ".tmp-7-test.index.csv"):
        (tmp_path / "out" / leftover).touch()
    shard_writer.clear_leftovers(
        str(tmp_path / "out"), "train", [shard_writer.find_finished(job, str(tmp_path / "out"))]
    )
    assert sorted(staging.iterdir()) == before
    # Another run may be at work on the other split.
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == [".tmp-7-test.index.csv"]


def test_an_image_that_cannot_be_read_is_named_or_skipped_and_listed(rows, tmp_path):
    (tmp_path / "jpeg" / "i1.jpg").write_bytes(b"no image")
    (tmp_path / "jpeg" / "i4.jpg").unlink()
    with pytest.raises(
        ValueError, match=r"image i1: .*i1.jpg is no whole JPEG .*; or leave such out by --on_error=skip"
    ):
        shard_writer.make_shard(make_jobs(rows, tmp_path / "out")[0])
    with pytest.raises(ValueError, match=r"image i4: .*No such file .*i4.jpg'; or leave such out"):
        shard_writer.make_shard(make_jobs(rows, tmp_path / "out")[1])
    skipped = []
    for job in make_jobs(rows, tmp_path / "out", "skip"):
        shard_writer.make_shard(job)
        entry = shard_writer.find_finished(job, str(tmp_path / "out"))
        skipped += entry["skipped"]
        part = rows[rows["shard"] == job["shard"]]
        assert shard_writer.positions(entry, part)["image_name"].tolist() == names(entry["staged"])
        assert shard_writer.positions(entry, part)["position"].tolist() == list(range(entry["shard"]["records"]))
    assert [row["image_name"] for row in skipped] == ["i1", "i4"]
    assert str(tmp_path) not in json.dumps(skipped)


def test_a_full_disk_is_named_with_the_image_and_always_stops(rows, tmp_path):
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # No file may grow beyond this, as on a disk with so much left.
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, limit[1]))
    try:
        with pytest.raises(ValueError, match=r"cannot write train00 in .*making-train at image i\d: .*too large; free"):
            shard_writer.make_shard(make_jobs(rows, tmp_path / "out", "skip")[0])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "out" / ".making-train").iterdir()) == []


def test_foreign_shards_are_not_overwritten(tmp_path):
    (tmp_path / "train00-2071.tfrec").touch()
    with pytest.raises(ValueError, match="holds train shards without a manifest, as train00-2071.tfrec"):
        shard_writer.refuse_foreign(str(tmp_path), "train")
    shard_writer.refuse_foreign(str(tmp_path), "test")
