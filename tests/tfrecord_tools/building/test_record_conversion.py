import dataclasses

import image_bytes
import numpy as np
import pytest
import tensorflow as tf
from dicom_files import PICTURE, made
from harness import CONVERT

from tfrecord_tools import errors
from tfrecord_tools.building import record_conversion
from tfrecord_tools.imaging import codec, limits
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


def record_of(path, image):
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf_example.to_example(image, "a"))
    offset, length, _ = next(tfrecord.read(str(path)))
    return row(path, {}, offset, length)


SQUARE = np.ascontiguousarray(PICTURE[:32, :32])


def test_a_record_that_keeps_its_jpeg_loses_exif_comments_and_what_follows(tmp_path):
    private = image_bytes.segment(0xE1, b"Exif\0\0" + image_bytes.exif_block(1) + b"Jane Doe")
    source = record_of(
        tmp_path / "a", image_bytes.jpeg(SQUARE, 70, private + image_bytes.segment(0xFE, b"Doe"), b"Doe")
    )
    record, _ = record_conversion.to_record(source, CONVERT)
    assert features(record)["image"] == image_bytes.jpeg(SQUARE, 70)


def test_a_record_that_is_stored_sideways_is_turned(tmp_path):
    source = record_of(tmp_path / "a", image_bytes.rotated_jpeg(6, SQUARE))
    found = features(record_conversion.to_record(source, CONVERT)[0])["image"]
    upright, _ = codec.decode(image_bytes.rotated_jpeg(6, SQUARE), "a")
    assert b"Exif" not in found
    assert np.abs(codec.decode(found, "a")[0] - upright.astype(int)).mean() < 3


def test_damage_inside_the_data_of_a_record_is_found_although_its_jpeg_would_be_kept(tmp_path):
    data = image_bytes.jpeg(SQUARE, 70)
    source = record_of(tmp_path / "a", data[:-60] + bytes(40) + data[-20:])
    message = "a at byte 0 is not an intact .*: Corrupt JPEG data.*; leave out the record with .*verify --quarantine$"
    with pytest.raises(errors.CorruptRecordError, match=message):
        record_conversion.to_record(source, CONVERT)


def test_limits_and_open_colors_reach_the_conversion(tmp_path):
    path = tmp_path / "a.dcm"
    path.write_bytes(made(image_bytes.raw_rgb_jpeg(PICTURE), "1.2.840.10008.1.2.4.50"))
    _, differing = record_conversion.to_record(row(path), CONVERT)
    assert differing == [record_conversion.COLORS]
    with pytest.raises(errors.CorruptRecordError, match="expected sides of at most 40"):
        record_conversion.to_record(row(path), CONVERT, limits.ImageLimits(max_image_side=40))
