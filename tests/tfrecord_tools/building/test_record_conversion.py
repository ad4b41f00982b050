import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from dicom_files import PICTURE, made
from harness import CONVERT

from tfrecord_tools.building import record_conversion
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import tf_example, tfrecord


def row(path, integers=None, offset=0, length=0):
    return {"image_name": "a", "path": str(path), "offset": offset, "length": length, "integers": integers or {}}


def features(record):
    found, problems = tfrecord.parse(record)
    assert not problems
    return found


def test_an_image_file_gives_its_size_and_a_square_jpeg(tmp_path):
    (tmp_path / "a.png").write_bytes(codec.cv2.imencode(".png", PICTURE)[1].tobytes())
    record, tags = record_conversion.to_record(row(tmp_path / "a.png", {"sex": 1}), CONVERT)
    found = features(record)
    assert (found["width"], found["height"], found["sex"], tags) == (64, 48, 1, None)
    assert codec.jpeg_header(found["image"])[:2] == (32, 32)


def test_tags_that_differ_are_listed_and_no_tag_reaches_the_record(tmp_path):
    tags = {"PatientName": "Doe^Jane", "PatientID": "secret", "PatientSex": "F", "PatientAge": "050Y"}
    (tmp_path / "a.dcm").write_bytes(made(**tags, BodyPartExamined="TORSO"))
    integers = {"sex": 1, "age_approx": 55, "anatom_site_general_challenge": 3, "patient_id": 0}
    record, differing = record_conversion.to_record(row(tmp_path / "a.dcm", integers), CONVERT)
    assert differing == ["age_approx"]
    assert {name: value for name, value in features(record).items() if name in integers} == integers
    assert not [word for word in (b"Doe", b"Jane", b"secret", b"050Y") if word in record]
    names = set(tf.train.Example.FromString(record).features.feature)
    assert names == {"image", "image_name", "width", "height", *integers}


def test_dicom_is_recognized_by_its_bytes(tmp_path):
    (tmp_path / "a.jpg").write_bytes(made())
    record, differing = record_conversion.to_record(row(tmp_path / "a.jpg"), CONVERT)
    assert differing == []
    assert features(record)["width"] == 64


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "train00-1.tfrec"
    jpeg = codec.encode(np.ascontiguousarray(PICTURE[:32, :32]), 70)
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf_example.to_example(jpeg, "a", target=1, width=6000, height=4000))
    offset, length, found = next(tfrecord.read(str(path)))
    return row(path, {"target": 1, "width": 6000, "height": 4000}, offset, length), jpeg, found


def test_a_record_of_the_right_size_keeps_its_jpeg(shard):
    source, jpeg, found = shard
    record, _ = record_conversion.to_record(source, CONVERT)
    assert features(record) == found
    assert features(record)["image"] == jpeg


@pytest.mark.parametrize(
    "change", [{"image_size": 16}, {"trim_border": True}, {"color_constancy": "shades_of_gray"}], ids=str
)
def test_a_record_whose_pixels_change_is_encoded_again_and_keeps_the_originals_size(shard, change):
    source, jpeg, _ = shard
    found = features(record_conversion.to_record(source, dataclasses.replace(CONVERT, **change))[0])
    assert found["image"] != jpeg
    assert (found["width"], found["height"]) == (6000, 4000)
    assert codec.jpeg_header(found["image"])[0] == change.get("image_size", 32)
