import pytest
import tensorflow as tf

from tfrecord_tools.io import tf_example

FEATURES = {"image": b"\xff\xd8", "image_name": b"ISIC_0000001", "target": 1, "age_approx": -1, "width": 2**40}


def test_bytes_equal_those_of_tensorflows_message():
    features = {}
    for name, value in FEATURES.items():
        if isinstance(value, bytes):
            features[name] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        else:
            features[name] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    expected = tf.train.Example(features=tf.train.Features(feature=features))
    assert tf_example.serialize(FEATURES) == expected.SerializeToString(deterministic=True)


def test_messages_of_tensorflow_are_parsed():
    written = tf.train.Example(
        features=tf.train.Features(
            feature={
                "a": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5, 2])),
                "b": tf.train.Feature(int64_list=tf.train.Int64List(value=[-1, 3])),
                "c": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"x"])),
                "d": tf.train.Feature(),
            }
        )
    )
    found = tf_example.Example.FromString(written.SerializeToString()).features.feature
    assert list(found["a"].float_list.value) == [0.5, 2]
    assert list(found["b"].int64_list.value) == [-1, 3]
    assert list(found["c"].bytes_list.value) == [b"x"]
    assert [found[name].WhichOneof("kind") for name in "abcd"] == ["float_list", "int64_list", "bytes_list", None]


def test_tensorflow_reads_the_bytes():
    spec = {
        name: tf.io.FixedLenFeature([], tf.string if isinstance(v, bytes) else tf.int64) for name, v in FEATURES.items()
    }
    parsed = tf.io.parse_single_example(tf_example.serialize(FEATURES), spec)
    assert {name: value.numpy() for name, value in parsed.items()} == FEATURES


def test_other_values_are_refused():
    with pytest.raises(TypeError):
        tf_example.serialize({"a": 0.5})


def test_an_example_keeps_every_feature_and_its_bytes_do_not_depend_on_the_order_of_arguments():
    integers = {"sex": 1, "age_approx": 45, "target": 1, "width": 6000, "height": 4000, "patient_id": 7}
    serialized = tf_example.to_example(b"jpeg", "ISIC_1", **integers)
    assert serialized == tf_example.to_example(b"jpeg", "ISIC_1", **dict(reversed(integers.items())))
    record = tf.io.parse_single_example(serialized, tf_example.parse_spec(labeled=True))
    assert record["image"] == b"jpeg"
    assert record["image_name"] == b"ISIC_1"
    assert {name: int(record[name]) for name in integers} == integers
    assert int(record["diagnosis"]) == -1


def test_the_label_of_a_test_record_is_never_parsed():
    serialized = tf_example.to_example(b"jpeg", "ISIC_1", target=1)
    assert "target" not in tf.io.parse_single_example(serialized, tf_example.parse_spec(labeled=False))


def test_to_example_refuses_a_feature_outside_the_schema():
    with pytest.raises(ValueError, match=r"expected features .*, got PatientName"):
        tf_example.to_example(b"jpeg", "ISIC_1", PatientName=3)
