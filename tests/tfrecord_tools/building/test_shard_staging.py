import json
import shutil

import pytest
from harness import make_jobs

from tfrecord_tools.building import shard_staging, shard_writer
from tfrecord_tools.io import tfrecord


def names(path):
    return [features["image_name"] for _, _, features in tfrecord.read(path)]


def test_nothing_is_in_place_before_put_in_place_and_then_nothing_else_is(rows, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    for old in ("train00-9.tfrec", "train01-2.tfrec", "test00-9.tfrec"):
        (output / old).write_bytes(b"old")
    for job in make_jobs(rows, output):
        shard_writer.make_shard(job)
    assert (output / "train01-2.tfrec").read_bytes() == b"old"
    entries = [shard_staging.find_finished(job, str(output)) for job in make_jobs(rows, output)]
    shard_staging.put_in_place(str(output), "train", entries)
    assert sorted(path.name for path in output.iterdir()) == ["test00-9.tfrec", "train00-3.tfrec", "train01-2.tfrec"]
    assert names(str(output / "train01-2.tfrec")) == ["i3", "i4"]


def test_a_finished_shard_is_found_again_staged_or_in_place_unless_anything_changed(rows, tmp_path):
    output = tmp_path / "out"
    job = make_jobs(rows, output)[0]
    assert shard_staging.find_finished(job, str(output)) is None
    shard_writer.make_shard(job)
    entry = shard_staging.find_finished(job, str(output))
    assert entry["shard"]["records"] == 3
    for changed in (make_jobs(rows, output, quality=80)[0], make_jobs(rows.assign(integers=[{}] * 5), output)[0]):
        assert shard_staging.find_finished(changed, str(output)) is None
    shutil.move(entry["staged"], output / entry["shard"]["name"])
    assert shard_staging.find_finished(job, str(output)) == entry
    (output / entry["shard"]["name"]).write_bytes(b"damaged")
    assert shard_staging.find_finished(job, str(output)) is None


def test_a_replaced_image_makes_its_shard_anew(rows, tmp_path):
    shard_writer.make_shard(make_jobs(rows, tmp_path / "out")[0])
    (tmp_path / "jpeg" / "i1.jpg").write_bytes((tmp_path / "jpeg" / "i4.jpg").read_bytes())
    assert shard_staging.find_finished(make_jobs(rows, tmp_path / "out")[0], str(tmp_path / "out")) is None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": 1}'])
def test_a_damaged_entry_makes_its_shard_anew(rows, tmp_path, text):
    job = make_jobs(rows, tmp_path / "out")[0]
    shard_writer.make_shard(job)
    entry = json.loads((tmp_path / "out" / ".making-train" / "train00.json").read_text())
    text = text.replace("1", json.dumps(entry["fingerprint"]))
    (tmp_path / "out" / ".making-train" / "train00.json").write_text(text)
    assert shard_staging.find_finished(job, str(tmp_path / "out")) is None


def test_leftovers_of_other_runs_are_cleared_and_finished_shards_stay(rows, tmp_path):
    job = make_jobs(rows, tmp_path / "out")[0]
    shard_writer.make_shard(job)
    staging = tmp_path / "out" / ".making-train"
    before = sorted(staging.iterdir())
    for leftover in (".tmp-7-train01-0000.tfrec", "train00-deadbeef.tfrec", "train01.json"):
        (staging / leftover).touch()
    for leftover in (".tmp-7-0badcafe-train.manifest.json", ".tmp-7-train.index.csv", ".tmp-7-test.index.csv"):
        (tmp_path / "out" / leftover).touch()
    shard_staging.clear_leftovers(
        str(tmp_path / "out"), "train", [shard_staging.find_finished(job, str(tmp_path / "out"))]
    )
    assert sorted(staging.iterdir()) == before
    # Another run may be at work on the other split.
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == [".tmp-7-test.index.csv"]


def test_foreign_shards_are_not_overwritten(tmp_path):
    (tmp_path / "train00-2071.tfrec").touch()
    with pytest.raises(ValueError, match=r"holds train shards without a manifest \(first: train00-2071.tfrec\)"):
        shard_staging.refuse_foreign_shards(str(tmp_path), "train")
    shard_staging.refuse_foreign_shards(str(tmp_path), "test")


def test_shards_of_a_split_are_listed_by_their_names(tmp_path):
    for name in ("train01-2.tfrec", "train00-3.tfrec", "test00-1.tfrec", "train.index.csv", ".tmp-1-train00-3.tfrec"):
        (tmp_path / name).touch()
    assert shard_staging.list_shards(str(tmp_path), "train") == ["train00-3.tfrec", "train01-2.tfrec"]
    assert shard_staging.list_shards(str(tmp_path / "nowhere"), "train") == []


def test_the_index_counts_positions_past_skipped_images(rows):
    entry = {"skipped": [{"image_name": "i1", "problem": "damaged"}], "shard": {"name": "train00-2.tfrec"}}
    entry["digests"] = ["0a", "0b"]
    assert shard_staging.index_rows(entry, rows.iloc[:3]).to_dict("list") == {
        "shard": ["train00-2.tfrec"] * 2,
        "position": [0, 1],
        "image_name": ["i0", "i2"],
        "patient_id": ["p", "p"],
        "target": ["0", "0"],
        "fold": [0, 0],
        "lesion_id": ["", ""],
        "image_digest": ["0a", "0b"],
    }
