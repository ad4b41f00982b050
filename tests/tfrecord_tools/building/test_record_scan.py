import hashlib

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from shard_files import JPEG, write_shard

from tfrecord_tools import errors, schema
from tfrecord_tools.building import record_scan
from tfrecord_tools.io import identity, manifest, tf_example


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


def test_scan_reads_the_size_of_a_png(tmp_path):
    png = cv2.imencode(".png", np.zeros((5, 7, 3), np.uint8))[1].tobytes()
    shard = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "a"}], jpegs=[png])
    assert record_scan.scan_records([shard], "train")[0]["size"].tolist() == [(7, 5)]


@pytest.mark.parametrize(("image", "kind"), [(b"BM", "BMP"), (b"GIF89a", "GIF"), (b"RIFF....WEBP", "WebP")])
def test_scan_refuses_formats_that_training_does_not_decode(tmp_path, image, kind):
    rows = [{"image_name": "a"}, {"image_name": "b"}]
    shard = write_shard(tmp_path, "train00-2.tfrec", rows, jpegs=[b"", image])
    message = rf"the image of record 1 \(b\) of {shard} is a {kind} file, expected JPEG or PNG; leave it out with"
    with pytest.raises(errors.IsicError, match=message):
        record_scan.scan_records([shard], "train")


@pytest.mark.parametrize(("compression", "remedy"), [("GZIP", "gunzip < "), ("ZLIB", "for example with zlib")])
def test_scan_names_a_compressed_shard(tmp_path, compression, remedy):
    path = str(tmp_path / "train00-1.tfrec")
    with tf.io.TFRecordWriter(path, compression) as writer:
        writer.write(tf_example.to_example(b"jpeg", "a"))
    with pytest.raises(
        errors.CorruptRecordError, match=f"{path} is compressed by {compression}; decompress it.*{remedy}"
    ):
        record_scan.scan_records([path], "train")


def test_scan_ignores_labels_of_test_records(tmp_path):
    rows = [{"image_name": "a", "target": 1, "diagnosis": 2, "age_approx": 45}]
    shard = write_shard(tmp_path, "test00-1.tfrec", rows)
    table, _ = record_scan.scan_records([shard], "test")
    assert table["integers"].tolist() == [{"age_approx": 45}]
    assert table["target"].tolist() == [""]


def test_scan_digests_images_and_takes_lesions_from_an_index_beside_the_shards(tmp_path):
    rows = [{"image_name": name} for name in "abc"]
    shard = write_shard(tmp_path, "train00-3.tfrec", rows, jpegs=[JPEG, b"another", JPEG])
    table = record_scan.scan_records([shard], "train")[0]
    assert table["lesion_id"].tolist() == ["", "", ""]
    assert table["image_digest"].tolist() == [identity.image_digest(jpeg) for jpeg in (JPEG, b"another", JPEG)]
    (tmp_path / "train.index.csv").write_text(
        "shard,position,image_name,patient_id,target,fold,lesion_id,image_digest\nx,0,b,,,,L1,old\n"
    )
    scanned = record_scan.scan_records([shard], "train")[0]
    assert scanned["lesion_id"].tolist() == ["", "L1", ""]
    assert scanned["image_digest"].tolist() == table["image_digest"].tolist()


def test_scan_notes_an_index_that_was_changed(tmp_path, capsys):
    shard = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "a"}])
    index = pd.DataFrame([("train00-1.tfrec", 0, "a", "p", "", "")], columns=schema.INDEX_COLUMNS)
    manifest.write_manifest_and_index(str(tmp_path), "train", [], index)
    record_scan.scan_records([shard], "train")
    assert "note" not in capsys.readouterr().out
    manifest.write_index(str(tmp_path), "train", index.assign(patient_id="q"))
    assert record_scan.scan_records([shard], "train")[0]["patient_id"].tolist() == ["q"]
    assert "train.manifest.json was written with: patients, lesions" in capsys.readouterr().out
