import io
import json

import numpy as np
import pytest
from dicom_files import PICTURE, made
from image_bytes import SMOOTH, jpeg, png, unusual_jpeg
from tiff_bytes import make_tiff

from tfrecord_tools.imaging import decode_server

OPTIONS = {"at_least": None, "longest": False, "upright": True}


def answer(kind, data, options):
    output = io.BytesIO()
    decode_server.answer({"kind": kind, "source": "x", "options": options}, data, output)
    head, _, content = output.getvalue().partition(b"\n")
    return json.loads(head), content


@pytest.mark.parametrize(
    ("kind", "data", "options", "expected", "damage"),
    [
        ("file", png(), OPTIONS, SMOOTH, ""),
        ("frame", made(), {}, PICTURE[..., ::-1], ""),
        ("raster", make_tiff(PICTURE), {}, PICTURE[..., ::-1], "TIFF_Error|JPEGLib|Decode:"),
        ("file", unusual_jpeg(120), OPTIONS, np.full((24, 48, 3), 120, np.uint8), "."),
    ],
)
def test_an_image_is_answered_with_its_shape_and_pixels(kind, data, options, expected, damage):
    head, content = answer(kind, data, options)
    height, width, _ = expected.shape
    assert head == {"shape": list(expected.shape), "width": width, "height": height, "damage": damage}
    assert content == np.ascontiguousarray(expected).tobytes()


def test_a_damaged_image_is_answered_with_its_problem():
    head, content = answer("file", jpeg()[:-200], OPTIONS)
    assert "x is truncated" in head["problem"]
    assert content == b""
