import cv2
import numpy as np
import pytest

from tfrecord_tools.imaging import codec

GRADIENT = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), -1).astype(np.uint8)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_decode_returns_a_png_exactly():
    image, size = codec.decode(png(GRADIENT), "x.png", at_least=8)
    assert np.array_equal(image, GRADIENT)
    assert size == (48, 64)


def test_decode_converts_gray_and_transparent_files_to_color():
    assert codec.decode(png(GRADIENT[..., 0]), "x.png")[0].shape == (64, 48, 3)
    assert codec.decode(png(np.dstack([GRADIENT, GRADIENT[..., 0]])), "x.png")[0].shape == (64, 48, 3)


def test_encode_keeps_a_smooth_image_within_two_levels():
    decoded = codec.decode(codec.encode(GRADIENT, 95), "x.jpg")[0].astype(int)
    assert np.abs(decoded - GRADIENT).mean() < 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (codec.encode(GRADIENT, 95)[:-200], "x.jpg is truncated"),
        (b"", "not an intact JPEG or PNG file"),
        (b"GIF89a" + bytes(100), "not an intact JPEG or PNG file"),
        (png(GRADIENT)[:60], "not an intact JPEG or PNG file"),
    ],
)
def test_decode_names_a_damaged_file(data, message):
    with pytest.raises(ValueError, match=message):
        codec.decode(data, "x.jpg")


def test_data_after_the_end_of_an_image_are_ignored():
    data = codec.encode(GRADIENT, 95)
    assert np.array_equal(codec.decode(data + bytes(5000), "x.jpg")[0], codec.decode(data, "x.jpg")[0])


def test_decode_refuses_more_pixels_than_its_limit(monkeypatch):
    monkeypatch.setattr(codec, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="x.png has 48x64 pixels, more than 1000"):
        codec.decode(png(GRADIENT), "x.png")


def test_decode_refuses_the_size_in_a_header_before_it_allocates_memory():
    data = bytearray(codec.encode(GRADIENT, 95))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="x.jpg has 65535x65535 pixels, more than 268435456; shrink it"):
        codec.decode(bytes(data), "x.jpg")


@pytest.mark.parametrize(
    ("at_least", "longest", "shape"),
    [
        (None, False, (600, 1001)),
        (301, False, (600, 1001)),
        (300, False, (300, 501)),
        (150, False, (150, 251)),
        (10, False, (75, 126)),
        (2000, False, (600, 1001)),
        (251, True, (150, 251)),
    ],
)
def test_decode_picks_the_smallest_scale_that_is_large_enough(at_least, longest, shape):
    data = codec.encode(cv2.resize(GRADIENT, (1001, 600)), 95)
    image, size = codec.decode(data, "x.jpg", at_least, longest)
    assert image.shape == (*shape, 3)
    assert size == (1001, 600)


def rotated_by_exif(data, orientation):
    """Adds an EXIF block with nothing but an orientation to a JPEG."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


@pytest.mark.parametrize("at_least", [None, 100])
def test_decode_rotates_upright_and_returns_the_upright_size(at_least):
    data = rotated_by_exif(codec.encode(cv2.resize(GRADIENT, (400, 200)), 95), 6)
    image, size = codec.decode(data, "x.jpg", at_least)
    assert image.shape[0] == 2 * image.shape[1]
    assert size == (200, 400)
    assert codec.decode(data, "x.jpg", at_least, upright=False)[1] == (400, 200)


def test_a_header_declares_its_size_and_color_space():
    jpeg = codec.encode(GRADIENT, 95)
    assert codec.jpeg_header(jpeg) == (48, 64, True)
    # Without its JFIF marker, and with component identifiers 0, 1, 2, nothing distinguishes YCbCr from RGB.
    bare = bytearray(jpeg[:2] + jpeg[2 + 2 + int.from_bytes(jpeg[4:6], "big") :])
    start = bare.index(b"\xff\xc0")
    assert codec.jpeg_header(bytes(bare)) == (48, 64, True)
    bare[start + 10 : start + 19 : 3] = b"\0\1\2"
    assert codec.jpeg_header(bytes(bare)) == (48, 64, False)
    assert codec.jpeg_header(png(GRADIENT)) is None
    assert codec.jpeg_header(jpeg[:20]) is None
