import cv2
import numpy as np
import pytest
from image_bytes import SMOOTH, cmyk_jpeg, jpeg, segment

from tfrecord_tools.imaging import codec, jpeg_metadata

PRIVATE = b"Jane Doe"


def test_a_jpeg_without_metadata_keeps_its_bytes():
    for data in (jpeg(), cmyk_jpeg(marked=True)):
        assert jpeg_metadata.strip_metadata(data) == data
    progressive = cv2.imencode(".jpg", SMOOTH, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1]
    assert jpeg_metadata.strip_metadata(progressive.tobytes()) == progressive.tobytes()


@pytest.mark.parametrize("marker", [0xE0, 0xE1, 0xE2, 0xED, 0xEF, 0xFE])
def test_application_segments_and_comments_are_removed_and_the_image_data_kept(marker):
    data = jpeg(segments=segment(marker, PRIVATE) + segment(0xFE, b"\xff\xd9"))
    assert jpeg_metadata.strip_metadata(data) == jpeg()


def test_what_follows_the_image_or_stands_between_its_scans_is_removed():
    assert jpeg_metadata.strip_metadata(jpeg(after=PRIVATE)) == jpeg()
    data = cmyk_jpeg(marked=True)
    last = data.rindex(b"\xff\xda")
    assert jpeg_metadata.strip_metadata(data[:last] + segment(0xFE, PRIVATE) + data[last:]) == data


def test_the_thumbnail_of_a_jfif_marker_is_removed_and_adobes_marker_shortened():
    data = jpeg()
    thumbnail = segment(0xE0, data[6:18] + b"\1\1" + b"RGB")
    assert jpeg_metadata.strip_metadata(data[:2] + thumbnail + data[20:]) == data[:18] + b"\0\0" + data[20:]
    data = cmyk_jpeg(marked=True)
    assert data[2:4] == b"\xff\xee"
    assert jpeg_metadata.strip_metadata(data[:2] + segment(0xEE, data[6:18] + PRIVATE) + data[18:]) == data


def test_the_pixels_are_the_same():
    data = jpeg(segments=segment(0xE1, PRIVATE))
    stripped = jpeg_metadata.strip_metadata(data)
    assert np.array_equal(codec.decode(stripped, "x.jpg")[0], codec.decode(data, "x.jpg")[0])


@pytest.mark.parametrize("data", [b"", b"\x89PNG", jpeg()[:-2], jpeg()[:100], b"\xff\xd8 no marker"])
def test_a_file_whose_segments_cannot_be_told_apart_is_left_to_the_decoder(data):
    assert jpeg_metadata.strip_metadata(data) is None
