import io
import json

import numpy as np
import pytest
from dicom_files import PICTURE, made
from image_bytes import SMOOTH, jpeg, png, unusual_jpeg

from tfrecord_tools.imaging import decode_server

OPTIONS = {"at_least": None, "longest": False, "upright": True}


def answer(kind, data, options):
    output = io.BytesIO()
    decode_server.answer({"kind": kind, "source": "x", "options": options}, data, output)
    head, _, content = output.getvalue().partition(b"\n")
    return json.loads(head), content


@pytest.mark.parametrize(
    ("kind", "data", "options", "expected", "printed"),
    [
        ("file", png(), OPTIONS, SMOOTH, False),
        ("frame", made(), {}, PICTURE[..., ::-1], False),
        ("file", unusual_jpeg(120), OPTIONS, np.full((24, 48, 3), 120, np.uint8), True),
    ],
)
def test_an_image_is_answered_with_its_shape_and_pixels(kind, data, options, expected, printed):
    head, content = answer(kind, data, options)
    height, width, _ = expected.shape
    assert head == {"shape": list(expected.shape), "width": width, "height": height, "printed": printed}
    assert content == np.ascontiguousarray(expected).tobytes()


def test_a_damaged_image_is_answered_with_its_problem():
    head, content = answer("file", jpeg()[:-200], OPTIONS)
    assert "x is truncated" in head["problem"]
    assert content == b""
