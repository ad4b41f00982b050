import hashlib

import pytest
from shard_files import write_shard

from tfrecord_tools.building import record_scan


def test_scan_returns_places_sizes_and_integers(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a", "patient_id": 3, "target": 1, "sex": -1},
                                                       {"image_name": "b"}])  # fmt: skip
    table, entries = record_scan.scan_records([shard], "train")
    assert table["patient_id"].tolist() == ["3", ""]
    assert table["target"].tolist() == ["1", ""]
    assert table["integers"].tolist() == [{"patient_id": 3, "target": 1, "sex": -1}, {}]
    assert table["offset"].tolist() == [0, table["length"][0] + 16]
    assert table["size"].tolist() == [(64, 48)] * 2
    assert entries[0]["records"] == 2
    assert record_scan.scan_records([shard], "test")[0]["integers"].tolist() == [{"patient_id": 3, "sex": -1}, {}]


def test_scan_takes_patients_from_an_index_beside_the_shards(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a", "patient_id": 3}, {"image_name": "b"}])
    (tmp_path / "train.index.csv").write_text("shard,position,image_name,patient_id,target,fold\nx,0,a,IP_7,,\n")
    assert record_scan.scan_records([shard], "train")[0]["patient_id"].tolist() == ["IP_7", ""]


def test_scan_refuses_a_name_that_occurs_twice(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a"}, {"image_name": "a"}])
    with pytest.raises(ValueError, match="must hold every image once, but repeats 1, for example a"):
        record_scan.scan_records([shard], "train")


def test_scan_lists_images_that_are_not_jpegs_without_a_size(tmp_path):
    shard = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "a"}], jpegs=[b"not a JPEG"])
    table, entries = record_scan.scan_records([shard], "train")
    assert table["size"].tolist() == [()]
    content = (tmp_path / "train00-1.tfrec").read_bytes()
    expected = {"name": "train00-1.tfrec", "records": 1, "bytes": len(content)}
    assert entries == [{**expected, "sha256": hashlib.sha256(content).hexdigest()}]


def test_scan_ignores_labels_of_test_records(tmp_path):
    rows = [{"image_name": "a", "target": 1, "diagnosis": 2, "age_approx": 45}]
    shard = write_shard(tmp_path, "test00-1.tfrec", rows)
    table, _ = record_scan.scan_records([shard], "test")
    assert table["integers"].tolist() == [{"age_approx": 45}]
    assert table["target"].tolist() == [""]
