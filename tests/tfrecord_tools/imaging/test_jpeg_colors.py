import re

import numpy as np
import pydicom
import pytest
from dicom_files import made
from image_bytes import SMOOTH, bare_jpeg, raw_rgb_jpeg

from tfrecord_tools.imaging import codec, dicom, jpeg_colors

# A photograph in miniature: three colors that are bright and dark together.
LIKE_SKIN = np.clip(SMOOTH[..., :1] * np.array([0.5, 0.85, 1.0]) + 5, 0, 255).astype(np.uint8)
FLAT = np.full((48, 64, 3), (40, 60, 200), np.uint8)


def decode(frame, header):
    notes = []
    data = made(frame, pydicom.uid.JPEGBaseline8Bit, PhotometricInterpretation=header)
    image, _ = dicom.decode(dicom.read(data, "x.dcm"), "x.dcm", notes=notes)
    return image.astype(int), notes


@pytest.mark.parametrize(
    ("image", "frame", "header", "note"),
    [
        (LIKE_SKIN, bare_jpeg(LIKE_SKIN), "RGB", "x.dcm: the header says RGB, .*; its pixels are YCbCr"),
        (LIKE_SKIN, bare_jpeg(LIKE_SKIN), "YBR_FULL_422", None),
        (LIKE_SKIN, bare_jpeg(LIKE_SKIN, b"\0\1\2"), "RGB", "its pixels are YCbCr"),
        (FLAT, None, "RGB", "its pixels cannot tell; read as RGB"),
        (LIKE_SKIN, None, "RGB", "its pixels are RGB"),
        (LIKE_SKIN, codec.encode(LIKE_SKIN, 95), "RGB", None),
    ],
)
def test_the_pixels_decide_where_the_header_says_rgb_and_the_stream_nothing(image, frame, header, note):
    found, notes = decode(frame or raw_rgb_jpeg(image), header)
    assert np.abs(found - image).mean() < 3
    assert len(notes) == (note is not None)
    if note:
        assert re.search(note, notes[0])


def test_notes_are_counted_with_the_first():
    text = jpeg_colors.describe_notes(3, "x.dcm: its pixels are RGB")
    assert text.startswith("the headers of 3 DICOM files leave open")
    assert "(first: x.dcm: its pixels are RGB)" in text
    assert "first" not in jpeg_colors.describe_notes(3)
