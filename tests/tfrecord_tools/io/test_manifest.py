import json

import pandas as pd
import pytest
import tensorflow as tf

from tfrecord_tools import schema
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
    for text in ("{", "[]", '{"shards": [{"name": "a", "records": "1", "bytes": 1, "sha256": ""}]}'):
        (tmp_path / "train.manifest.json").write_text(text)
        with pytest.raises(ValueError, match=r"train.manifest.json is not a valid manifest .* recreate it with"):
            manifest.read_manifest(str(tmp_path), "train")
    assert str(tmp_path) not in text


@pytest.mark.parametrize("split", ["train", "test"])
def test_built_manifests_and_indexes_agree(record_set, split):
    written = manifest.read_manifest(str(record_set), split)
    found = record_index.read_index(str(record_set), split)
    counts = found.groupby("shard").size()
    assert {shard["name"]: shard["records"] for shard in written["shards"]} == {
        path.rsplit("/", 1)[-1]: count for path, count in counts.items()
    }
    assert (found.groupby("shard")["position"].apply(list) == counts.apply(lambda count: list(range(count)))).all()
