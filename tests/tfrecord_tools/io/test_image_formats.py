import cv2
import numpy as np
import pytest

from tfrecord_tools.io import image_formats

IMAGE = np.full((5, 7, 3), 90, np.uint8)


def encode(extension):
    return cv2.imencode(extension, IMAGE)[1].tobytes()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (encode(".jpg"), "JPEG"),
        (encode(".png"), "PNG"),
        (encode(".bmp"), "BMP"),
        (encode(".webp"), "WebP"),
        (encode(".tiff"), "TIFF"),
        (b"GIF89a", "GIF"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (b"\xff\x0a", "JPEG XL"),
        (b"\0\0\0\x18ftypheic", "HEIF"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"no image", ""),
        (b"", ""),
    ],
)
def test_a_format_is_recognized(data, name):
    assert image_formats.find_format(data) == name


def test_only_jpeg_and_png_may_be_part_of_a_record():
    assert image_formats.describe_format(encode(".jpg")) == ""
    assert image_formats.describe_format(encode(".png")[:8]) == ""
    assert image_formats.describe_format(encode(".bmp")) == "is a BMP file, expected JPEG or PNG"
    assert image_formats.describe_format(b"no image") == "has an unknown format, expected JPEG or PNG"
    assert image_formats.describe_format(b"") == "is empty, expected JPEG or PNG"
