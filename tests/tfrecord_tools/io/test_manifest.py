import hashlib
import json
import re

import pandas as pd
import pytest
import tensorflow as tf

from tfrecord_tools import errors, schema
from tfrecord_tools.io import manifest, record_index


def test_an_index_of_other_peoples_records_is_read_back(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "train00-2071.tfrec")) as writer:
        writer.write(b"any")
    rows = [("train00-2071.tfrec", 0, "a", "p", "1", ""), ("train00-2071.tfrec", 1, "b", "", "", "4")]
    manifest.write_index(str(tmp_path), "train", pd.DataFrame(rows, columns=schema.INDEX_COLUMNS))
    found = record_index.read_index(str(tmp_path), "train")
    assert found["patient_id"].tolist() == ["p", ""]
    assert found[["target", "fold"]].to_numpy().tolist() == [[1, -1], [-1, 4]]


def test_a_shard_is_described_by_its_bytes(tmp_path):
    (tmp_path / ".tmp-1").write_bytes(b"abc")
    found = manifest.describe_shard(str(tmp_path / ".tmp-1"), "test00-3.tfrec", 3)
    # SHA-256 of "abc", FIPS 180-2.
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert found == {"name": "test00-3.tfrec", "records": 3, "bytes": 3, "sha256": digest}


def test_a_manifest_counts_its_records_and_holds_no_path_of_the_machine(tmp_path):
    shards = [{"name": f"train0{number}-2.tfrec", "records": 2, "bytes": 9, "sha256": "x"} for number in (0, 1)]
    manifest.write_manifest(str(tmp_path), "train", shards, image_size=64)
    text = (tmp_path / "train.manifest.json").read_text()
    written = json.loads(text)
    assert written["records"] == 4
    assert written["image_size"] == 64
    assert written["schema_version"] == schema.VERSION
    assert manifest.read_manifest(str(tmp_path), "train") == written


def test_a_manifest_may_be_absent_but_not_damaged(tmp_path):
    assert manifest.read_manifest(str(tmp_path), "train") is None
    for text in (
        "{",
        "[]",
        '{"shards": [{"name": "a", "records": "1", "bytes": 1, "sha256": ""}]}',
        '{"shards": [], "index_sha256": 7}',
    ):
        (tmp_path / "train.manifest.json").write_text(text)
        with pytest.raises(ValueError, match=r"train.manifest.json is not a valid manifest .* recreate it with"):
            manifest.read_manifest(str(tmp_path), "train")
    assert str(tmp_path) not in text


@pytest.mark.parametrize(
    ("facts", "name"), [({"resize": "stretch\n--epochs=1"}, "train00-1.tfrec"), ({}, "train00\r-1.tfrec")]
)
def test_a_line_break_in_a_fact_is_refused(tmp_path, facts, name):
    shard = {"name": name, "records": 1, "bytes": 9, "sha256": "x"}
    manifest.write_manifest(str(tmp_path), "train", [shard], **facts)
    with pytest.raises(errors.CorruptRecordError, match="text without control characters, reads '(stretch|train)"):
        manifest.read_manifest(str(tmp_path), "train")


@pytest.mark.parametrize("split", ["train", "test"])
def test_built_manifests_and_indexes_agree(record_set, split):
    written = manifest.read_manifest(str(record_set), split)
    found = record_index.read_index(str(record_set), split)
    counts = found.groupby("shard").size()
    assert {shard["name"]: shard["records"] for shard in written["shards"]} == {
        path.rsplit("/", 1)[-1]: count for path, count in counts.items()
    }
    assert (found.groupby("shard")["position"].apply(list) == counts.apply(lambda count: list(range(count)))).all()


def write_set(folder):
    """Writes an index of one record and its manifest; returns the path of the index."""
    (folder / "train00-1.tfrec").write_bytes(b"the bytes of one record")
    shard = manifest.describe_shard(str(folder / "train00-1.tfrec"), "train00-1.tfrec", 1)
    index = pd.DataFrame([("train00-1.tfrec", 0, "a", "p", "1", "4")], columns=schema.INDEX_COLUMNS)
    manifest.write_manifest_and_index(str(folder), "train", [shard], index)
    return folder / "train.index.csv"


def test_the_manifest_holds_the_checksum_of_the_index(tmp_path):
    path = write_set(tmp_path)
    written = manifest.read_manifest(str(tmp_path), "train")
    assert written["index_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.find_index_problem(str(tmp_path), "train") == ""
    assert record_index.read_index(str(tmp_path), "train")["fold"].tolist() == [4]


@pytest.mark.parametrize("change", [("p,1,4", "p,1,3"), ("a,p", "a,q"), ("p,1,4", "p,0,4")])
def test_an_index_that_was_changed_is_refused(tmp_path, change):
    path = write_set(tmp_path)
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    message = "train.index.csv is not the index that train.manifest.json was written with: .* with tfrecord_tools.index"
    assert re.search(message, manifest.find_index_problem(str(tmp_path), "train"))
    with pytest.raises(errors.CorruptRecordError, match=message):
        record_index.read_index(str(tmp_path), "train")


def test_an_index_of_a_manifest_of_release_0_1_is_read_as_it_is(tmp_path):
    path = write_set(tmp_path)
    facts = json.loads((tmp_path / "train.manifest.json").read_text())
    del facts["index_sha256"]
    (tmp_path / "train.manifest.json").write_text(json.dumps(facts))
    path.write_text(path.read_text().replace("p,1,4", "p,1,3"))
    assert record_index.read_index(str(tmp_path), "train")["fold"].tolist() == [3]


def test_columns_whose_codes_no_table_confirmed_are_found_by_shard(tmp_path):
    files = [f"{tmp_path}/{name}" for name in ("train00-1.tfrec", "test00-1.tfrec")]
    assert manifest.find_unconfirmed(files, ["sex"]) == {}
    manifest.write_manifest(str(tmp_path), "train", [], unconfirmed_codes=["sex", "diagnosis"])
    manifest.write_manifest(str(tmp_path), "test", [], unconfirmed_codes=["diagnosis"])
    assert manifest.find_unconfirmed(files, ["sex", "age_approx"]) == {files[0]: ["sex"]}
    assert manifest.find_unconfirmed(files, ["diagnosis"]) == {file: ["diagnosis"] for file in files}
    manifest.write_manifest(str(tmp_path), "train", [], unconfirmed_codes="sex")
    with pytest.raises(errors.CorruptRecordError, match="unconfirmed_codes reads 'sex'"):
        manifest.find_unconfirmed(files, ["sex"])
    # Where no code is used, the manifest is not asked.
    assert manifest.find_unconfirmed(files, ["age_approx"]) == {}


def test_an_index_that_is_written_in_blocks_is_the_same_text(tmp_path, monkeypatch):
    rows = [("train00-5.tfrec", place, f"=a{place}", "p", "1", "") for place in range(5)]
    index = pd.DataFrame(rows, columns=schema.INDEX_COLUMNS)
    for name, block in (("whole", 5), ("blocks", 2)):
        monkeypatch.setattr(manifest, "_BLOCK_ROWS", block)
        manifest.write_manifest_and_index(str(tmp_path / name), "train", [], index)
    for name in ("train.index.csv", "train.manifest.json"):
        assert (tmp_path / "blocks" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    lines = (tmp_path / "blocks" / "train.index.csv").read_text().splitlines()
    assert lines[0] == "shard,position,image_name,patient_id,target,fold,lesion_id,image_digest"
    assert lines[1:] == [f"train00-5.tfrec,{place},'=a{place},p,1,,," for place in range(5)]


def test_an_index_is_not_put_in_place_without_its_manifest(tmp_path):
    path = write_set(tmp_path)
    before = path.read_bytes()
    other = pd.DataFrame([("train00-1.tfrec", 0, "b", "p", "1", "4")], columns=schema.INDEX_COLUMNS)
    with pytest.raises(TypeError):
        manifest.write_manifest_and_index(str(tmp_path), "train", [], other, source=object())
    assert path.read_bytes() == before
    assert manifest.find_index_problem(str(tmp_path), "train") == ""
