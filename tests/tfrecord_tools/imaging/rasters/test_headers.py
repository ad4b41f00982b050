import io
import struct

import numpy as np
import pytest
from PIL import Image

from tfrecord_tools.imaging.rasters import headers

PICTURE = Image.fromarray(np.zeros((40, 60, 3), np.uint8))


def encode(form, **options):
    buffer = io.BytesIO()
    PICTURE.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (headers.read_bmp, encode("BMP")),
        (headers.read_webp, encode("WEBP", lossless=True)),
        (headers.read_webp, encode("WEBP", quality=80)),
        (headers.read_webp, encode("WEBP", exif=Image.Exif())),
    ],
    ids=["bmp", "lossless webp", "lossy webp", "webp with exif"],
)
def test_the_size_is_read(read, data):
    header = read(data)
    assert (header.width, header.height, header.problem) == (60, 40, "")
    assert read(data[:20]) is None


def test_rows_from_top_to_bottom_and_the_oldest_header_are_known():
    data = bytearray(encode("BMP"))
    data[22:26] = struct.pack("<i", -40)
    assert headers.read_bmp(bytes(data)).height == 40
    data[14:22] = struct.pack("<IHH", 12, 60, 40)
    assert headers.read_bmp(bytes(data)) == headers.Header(width=60, height=40)


def test_an_orientation_and_an_animation_are_seen():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert headers.read_webp(encode("WEBP", exif=exif)).orientation == 6
    animation = encode("WEBP", save_all=True, append_images=[Image.fromarray(np.full((40, 60, 3), 9, np.uint8))])
    assert headers.read_webp(animation).problem.startswith("is an animation, expected one image; save the image to use")
    assert headers.read_webp(b"RIFF....WEBPJUNK" + bytes(30)) is None
