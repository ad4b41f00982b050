import shutil
import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.data import decoding, read_errors, record_metadata
from tfrecord_tools import errors
from tfrecord_tools.io import tf_example

PIXELS = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()


@pytest.fixture
def shard(index, tmp_path):
    """Copy of the first shard, with its records' bytes."""
    path = tmp_path / "train00-9.tfrec"
    shutil.copy(index["shard"][0], path)
    return path, list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def test_a_flipped_bit_is_named_with_its_shard_and_position(shard):
    path, serialized = shard
    data = bytearray(path.read_bytes())
    # A record is 8 bytes of length, 4 of its CRC, the data and 4 of its CRC.
    data[len(serialized[0]) + 16 + 12 + 50] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="train00-9.tfrec is corrupt at record 1: the checksum of its data is"):
        record_metadata.list_records([str(path)])


def test_a_truncated_shard_is_named_with_its_position(shard):
    path, serialized = shard
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=f"is corrupt at record {len(serialized) - 1}, byte [0-9]+: its length, "):
        record_metadata.list_records([str(path)])


def test_a_damaged_length_field_ends_in_an_error(shard):
    path, _ = shard
    path.write_bytes(struct.pack("<QI", 2**60, 0) + path.read_bytes()[12:])
    with pytest.raises(ValueError, match="is corrupt at record 0"):
        record_metadata.list_records([str(path)])


def test_an_image_that_does_not_decode_is_named(shard):
    path, serialized = shard
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(serialized[0])
        writer.write(tf_example.to_example(b"no jpeg", "ISIC_1"))
    with (
        pytest.raises(ValueError, match="train00-9.tfrec is corrupt at record 1: "),
        read_errors.explained_read_errors([str(path)]),
    ):
        list(decoding.read([str(path)]).map(lambda one: decoding.decode(decoding.parse(one, False)["image"], 32)))


def test_explain_gives_the_error_back_where_all_records_are_sound(shard):
    error = tf.errors.InvalidArgumentError(None, None, "out of something else")
    assert read_errors.explain_read_error([str(shard[0])], error) is error


def test_a_foreign_schema_is_an_error(tmp_path):
    path = tmp_path / "foreign.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf.train.Example().SerializeToString())
    with pytest.raises(ValueError, match="is corrupt at record 0: lacks image .bytes.; lacks image_name"):
        record_metadata.list_records([str(path)])


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            f"assertion failed: [{read_errors.STALE_LABEL}] [ISIC_7]",
            "index and record disagree on the target of ISIC_7; index the set again, or rebuild it",
        ),
        (
            f"assertion failed: [{read_errors.STALE_NAME}] [ISIC_7]",
            "the shard holds another record where the index has ISIC_7; index the set again, or rebuild it",
        ),
        (
            "Input dataset was expected to contain 5 elements but contained only 3.",
            "the index lists more images than its shards hold; index the set again, or rebuild it",
        ),
    ],
)
def test_an_index_that_does_not_match_its_shards_is_named_without_reading_them(message, expected):
    error = tf.errors.InvalidArgumentError(None, None, message)
    found = read_errors.explain_read_error(["not read"], error)
    assert isinstance(found, errors.CorruptRecordError)
    assert str(found) == expected


def test_an_error_in_the_block_keeps_its_cause(shard):
    path, serialized = shard
    data = bytearray(path.read_bytes())
    data[len(serialized[0]) + 16 + 12 + 50] ^= 1
    path.write_bytes(data)
    with (
        pytest.raises(errors.CorruptRecordError, match="; rebuild or download this shard again") as caught,
        read_errors.explained_read_errors([str(path)]),
    ):
        list(decoding.read(str(path)))
    assert isinstance(caught.value.__cause__, tf.errors.DataLossError)


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        (PNG[:-20], "the image cannot be decoded"),
        (PNG[:60] + b"X" + PNG[61:], "the image cannot be decoded"),
        (cv2.imencode(".bmp", PIXELS)[1].tobytes(), "the image is a BMP file, expected JPEG or PNG"),
        (cv2.imencode(".webp", PIXELS)[1].tobytes(), "the image is a WebP file, expected JPEG or PNG"),
        (b"GIF89a", "the image is a GIF file, expected JPEG or PNG"),
        (b"", "the image is empty, expected JPEG or PNG"),
    ],
)
def test_an_image_that_training_cannot_decode_is_named_with_its_record(shard, image, problem):
    path, serialized = shard
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(serialized[0])
        writer.write(tf_example.to_example(image, "ISIC_1"))
    dataset = decoding.read([str(path)]).map(lambda one: decoding.decode(decoding.parse(one, False)["image"], 32))
    with (
        pytest.raises(errors.CorruptRecordError, match=f"is corrupt at record 1: ISIC_1: {problem}; rebuild"),
        read_errors.explained_read_errors([str(path)]),
    ):
        list(dataset)


def test_errors_that_are_not_of_records_pass_through_the_block():
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="of something else"),
        read_errors.explained_read_errors([]),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "of something else")
    with pytest.raises(ZeroDivisionError), read_errors.explained_read_errors([]):
        raise ZeroDivisionError
