import cv2
import numpy as np
import pytest
from image_bytes import exif_block

from tfrecord_tools.imaging import exif

# One row of two pixels.
PAIR = np.array([[[1, 1, 1], [2, 2, 2]]], np.uint8)


@pytest.mark.parametrize("little", [False, True])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_is_read_in_both_byte_orders_and_after_other_entries(orientation, little):
    assert exif.read_orientation(exif_block(orientation, little)) == orientation


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"no TIFF structure",
        exif_block(0),
        exif_block(9),
        exif_block(6)[:30],
        exif_block(6).replace(b"\x01\x12\0\x03", b"\x01\x12\0\x04"),
        b"MM\0*\xff\xff\xff\xff",
    ],
)
def test_a_damaged_block_states_nothing(block):
    assert exif.read_orientation(block) == 1


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, [[1, 2]]),
        (2, [[2, 1]]),
        (3, [[2, 1]]),
        (4, [[1, 2]]),
        (5, [[1], [2]]),
        (6, [[1], [2]]),
        (7, [[2], [1]]),
        (8, [[2], [1]]),
    ],
)
def test_images_are_turned_upright_as_worked_by_hand(orientation, expected):
    assert exif.turn_upright(PAIR, orientation)[..., 0].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_that_of_opencv(orientation):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    png = cv2.imencode(".png", image)[1].tobytes()
    block = exif_block(orientation)
    chunk = len(block).to_bytes(4, "big") + b"eXIf" + block
    checksum = __import__("zlib").crc32(b"eXIf" + block).to_bytes(4, "big")
    data = png[:33] + chunk + checksum + png[33:]
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(exif.turn_upright(image, orientation), expected)
