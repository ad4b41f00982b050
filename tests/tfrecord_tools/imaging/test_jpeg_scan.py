import io

import cv2
import numpy as np
import pytest
from image_bytes import SMOOTH, jpeg
from PIL import Image

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, jpeg_markers, jpeg_scan

GRAIN = np.random.default_rng(0).integers(0, 30, (256, 256, 3), np.uint8)
PICTURE = cv2.resize(SMOOTH, (256, 256)) // 2 + GRAIN


def find_zeros(data):
    return jpeg_scan.find_zeros(data, jpeg_markers.read_header(data))


def put_zeros(data, place, count=200):
    return data[:place] + bytes(count) + data[place + count :]


@pytest.mark.parametrize("place", [3000, 4000, 5000])
def test_a_hole_is_found_where_the_decoder_is_silent_too(place):
    data = jpeg(PICTURE)
    hole = put_zeros(data, place)
    assert find_zeros(data) is None
    assert place - 1 <= find_zeros(hole) <= place


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_flat_area_is_no_hole_in_any_encoding(mode, options):
    image = np.full((256, 256, 3), 200, np.uint8)
    image[:8, :8] = 90
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "JPEG", **options)
    assert find_zeros(file.getvalue()) is None


def test_zeros_after_the_image_and_before_it_are_no_hole():
    data = jpeg(PICTURE, after=bytes(500))
    comment = b"\xff\xfe" + (500).to_bytes(2, "big") + bytes(498)
    assert find_zeros(data[:20] + comment + data[20:]) is None


def test_a_hole_of_which_the_decoder_does_not_warn_is_damage():
    data = jpeg(PICTURE, quality=90)
    silent = []
    for place in range(2000, 8000, 500):
        with pytest.raises(errors.CorruptRecordError, match=r"a\.jpg is not an intact") as caught:
            codec.decode(put_zeros(data, place), "a.jpg")
        silent += ["zeros in the place of image data at byte" in str(caught.value)]
    assert any(silent)
