import numpy as np
import pytest
import tensorflow as tf
from image_bytes import SMOOTH, cmyk_jpeg, exif_block, jpeg, png, rotated_jpeg, rotated_png, segment

from tfrecord_tools.imaging import codec, exif, graph_codec

ONE_FILE = [tf.TensorSpec([], tf.string)]


@tf.function(input_signature=ONE_FILE, autograph=False)
def decode_jpeg(file):
    return graph_codec.turn_jpeg_upright(file, tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE"))


@tf.function(input_signature=ONE_FILE, autograph=False)
def decode_png(file):
    return graph_codec.turn_png_upright(file, tf.io.decode_png(file, channels=3))


@pytest.mark.parametrize("orientation", range(10))
def test_files_are_turned_as_codec_turns_them(orientation):
    for decode, data in (
        (decode_jpeg, rotated_jpeg(orientation)),
        (decode_jpeg, rotated_jpeg(orientation, little=True)),
        (decode_png, rotated_png(orientation)),
    ):
        assert np.array_equal(decode(data)[..., ::-1], codec.decode(data, "x")[0])


def test_files_without_an_orientation_are_left_as_they_are():
    assert np.array_equal(decode_jpeg(jpeg())[..., ::-1], codec.decode(jpeg(), "x")[0])
    assert np.array_equal(decode_png(png())[..., ::-1], SMOOTH)


@pytest.mark.parametrize("before", [segment(0xFE, b"text"), segment(0xE2, bytes(5000)), b"\xff\xff\xff"])
def test_the_orientation_is_found_behind_other_segments(before):
    data = jpeg(segments=before + segment(0xE1, b"Exif\0\0" + exif_block(6)))
    assert decode_jpeg(data).shape == (64, 48, 3)


def test_damaged_exif_blocks_are_read_as_codec_reads_them():
    rng = np.random.default_rng(0)
    for number in range(60):
        block = bytearray(exif_block(6, little=bool(number % 2)))
        block[rng.integers(len(block))] = rng.integers(256)
        data = jpeg(segments=segment(0xE1, b"Exif\0\0" + bytes(block[: rng.integers(4, len(block) + 1)])))
        assert np.array_equal(decode_jpeg(data)[..., ::-1], codec.decode(data, "x")[0]), bytes(block)
    assert exif.read_orientation(exif_block(6)) == 6


def test_cmyk_gets_the_marker_that_it_lacks():
    marked = cmyk_jpeg(marked=True)
    assert graph_codec.mark_cmyk(tf.constant(marked)).numpy() == marked
    found = graph_codec.mark_cmyk(tf.constant(cmyk_jpeg(marked=False))).numpy()
    assert tf.io.decode_jpeg(found, channels=3)[8, 8].numpy().tolist() == [200, 255, 255]
    assert graph_codec.add_adobe_marker(cmyk_jpeg(marked=False)) == found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (jpeg(), True),
        (rotated_jpeg(6), False),
        (cmyk_jpeg(marked=True), False),
        (jpeg(segments=segment(0xE2, bytes(2000))), False),
        (png(), False),
        (b"", False),
        (b"\xff\xd8", False),
    ],
)
def test_a_plain_jpeg_is_told_from_other_files(data, expected):
    assert bool(graph_codec.is_plain_jpeg(tf.constant(data))) is expected
