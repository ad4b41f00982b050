import contextlib
import json
import os

import numpy as np
import pytest

from tfrecord_tools import errors, schema
from tfrecord_tools.io import record_index


def write_index(folder, *lines):
    (folder / "train.index.csv").write_text("\n".join([",".join(schema.INDEX_COLUMNS), *lines]) + "\n")
    (folder / "train00-2.tfrec").touch()


def test_read_index_returns_numbers_paths_and_minus_one_for_blanks(tmp_path):
    write_index(tmp_path, "train00-2.tfrec,0,007,IP_1,1,3", "train00-2.tfrec,1,008,,,")
    index = record_index.read_index(str(tmp_path), "train")
    assert index["shard"].tolist() == [str(tmp_path / "train00-2.tfrec")] * 2
    assert index["image_name"].tolist() == ["007", "008"]
    assert index[["position", "target", "fold"]].to_numpy().tolist() == [[0, 1, 3], [1, -1, -1]]
    assert index["fold"].dtype == np.int64


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["../train00-2.tfrec,0,a,,1,0"], "must name shards by file name alone"),
        (["train00-2.tfrec,0,a,,1,zero"], "the column fold must hold whole numbers or blanks"),
        (["train00-2.tfrec,0,a,,1,0", "train00-2.tfrec,1,a,,1,0"], "lists 1 image names twice, for example a"),
        (["train01-2.tfrec,0,a,,1,0"], r"lists 1 shards that do not exist, for example .*train01-2.tfrec"),
        (
            ["train00-2.tfrec,1000000000,a,,1,0"],
            "position of train00-2.tfrec once, from 0 to 0 at most, got 1000000000",
        ),
        (["train00-2.tfrec,,a,,1,0"], "position of train00-2.tfrec once, from 0 to 0 at most, got -1"),
        (["train00-2.tfrec,0,a,,1,0", "train00-2.tfrec,0,b,,1,0"], "from 0 to 1 at most, got 0; recreate it with"),
    ],
)
def test_read_index_refuses_a_damaged_index(tmp_path, lines, message):
    write_index(tmp_path, *lines)
    with pytest.raises(ValueError, match=message):
        record_index.read_index(str(tmp_path), "train")


def test_positions_are_those_of_their_own_shard(tmp_path):
    (tmp_path / "train01-1.tfrec").touch()
    lines = ["train01-1.tfrec,0,a,,1,0", "train00-2.tfrec,0,b,,1,0", "train00-2.tfrec,1,c,,1,0"]
    write_index(tmp_path, *lines)
    index = record_index.read_index(str(tmp_path), "train")
    assert index["position"].tolist() == [0, 0, 1]
    assert [os.path.basename(shard) for shard in index["shard"]] == [line.partition(",")[0] for line in lines]
    # The first shard of the index comes first in the error, wherever the wrong row is.
    write_index(tmp_path, "train01-1.tfrec,0,a,,1,0", "train00-2.tfrec,9,b,,1,0", "train01-1.tfrec,7,c,,1,0")
    with pytest.raises(errors.CorruptRecordError, match="position of train01-1.tfrec once, from 0 to 1 at most, got 7"):
        record_index.read_index(str(tmp_path), "train")


@pytest.mark.parametrize(("listed", "refused"), [(3, False), (2, True)])
def test_positions_are_below_the_number_of_records_that_the_manifest_states(tmp_path, listed, refused):
    write_index(tmp_path, "train00-2.tfrec,2,a,,1,0")
    shard = {"name": "train00-2.tfrec", "records": listed, "bytes": 0, "sha256": ""}
    (tmp_path / "train.manifest.json").write_text(json.dumps({"shards": [shard]}))
    message = "train00-2.tfrec once, from 0 to 1 at most, got 2"
    with pytest.raises(errors.CorruptRecordError, match=message) if refused else contextlib.nullcontext():
        assert record_index.read_index(str(tmp_path), "train")["position"].tolist() == [2]


def test_read_index_names_a_missing_index(tmp_path):
    with pytest.raises(ValueError, match=r"test.index.csv not found; create it with `python -m tfrecord_tools.index`"):
        record_index.read_index(str(tmp_path), "test")


def test_what_is_no_directory_of_records_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "train.csv").touch()
    for data_dir, message in {
        "demo/train.csv": "as --data_dir wants it, got demo/train.csv, which is a file; write demo$",
        "demo/*": r"as --data_dir wants it, got demo/\*, which is a pattern; write demo$",
        "none": "expected the directory of a record set, got none, which does not exist; check it",
    }.items():
        with pytest.raises(errors.IsicError, match=message):
            record_index.check_index(data_dir, "train")


def test_match_shards_returns_each_shard_of_several_patterns_once_in_order(tmp_path):
    for name in ("train01-9.tfrec", "train00-9.tfrec", "train.index.csv", "train.manifest.json"):
        (tmp_path / name).touch()
    (tmp_path / "train.d").mkdir()
    found = record_index.match_shards(f"{tmp_path}/train01*,{tmp_path}/train*")
    assert found == [f"{tmp_path}/train00-9.tfrec", f"{tmp_path}/train01-9.tfrec"]


def test_match_shards_names_the_pattern_and_the_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"no shards match 'none.*.tfrec' in {os.getcwd()}; quote the pattern"):
        record_index.match_shards("none*.tfrec")


def test_a_directory_in_place_of_a_pattern_is_an_error_with_the_pattern(tmp_path):
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "train00-2.tfrec").touch()
    for pattern in (f"{tmp_path}/records", f"{tmp_path}/records/train*,{tmp_path}/records/"):
        with pytest.raises(errors.IsicError, match=r"records/?, which is a directory; write '.*/records/\*.tfrec'$"):
            record_index.match_shards(pattern)


def test_a_named_pipe_or_a_broken_link_among_shards_is_named(tmp_path):
    (tmp_path / "train00-2.tfrec").touch()
    os.mkfifo(tmp_path / "train01-2.tfrec")
    (tmp_path / "train02-2.tfrec").symlink_to(tmp_path / "none")
    for pattern, name in (("train0[01]*", "train01"), ("train0[02]*", "train02")):
        with pytest.raises(errors.IsicError, match=f"expected files as shards, got .*{name}.*, which is a broken link"):
            record_index.match_shards(f"{tmp_path}/{pattern}")


def test_shards_in_a_directory_with_a_comma_and_brackets_are_matched(tmp_path):
    folder = tmp_path / "ham, 2018 [v1]"
    folder.mkdir()
    for name in ("train00-1.tfrec", "train01-1.tfrec"):
        (folder / name).touch()
    (tmp_path / "test00-1.tfrec").touch()
    found = record_index.match_shards(f"{folder}/train*.tfrec,{tmp_path}/test*.tfrec")
    assert found == [f"{folder}/train00-1.tfrec", f"{folder}/train01-1.tfrec", f"{tmp_path}/test00-1.tfrec"]
