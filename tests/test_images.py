import cv2
import numpy as np
import pytest

from tfrecord_tools import images

GRADIENT = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), -1).astype(np.uint8)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_decode_gives_png_back_exactly():
    assert np.array_equal(images.decode(png(GRADIENT), "x.png"), GRADIENT)


def test_decode_takes_grey_and_transparent_files_as_colour():
    assert images.decode(png(GRADIENT[..., 0]), "x.png").shape == (64, 48, 3)
    assert images.decode(png(np.dstack([GRADIENT, GRADIENT[..., 0]])), "x.png").shape == (64, 48, 3)


def test_encode_keeps_a_smooth_image_within_two_levels():
    decoded = images.decode(images.encode(GRADIENT, 95), "x.jpg").astype(int)
    assert np.abs(decoded - GRADIENT).mean() < 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (images.encode(GRADIENT, 95)[:-200], "x.jpg is truncated"),
        (b"", "no whole JPEG or PNG file"),
        (b"GIF89a" + bytes(100), "no whole JPEG or PNG file"),
        (png(GRADIENT)[:60], "no whole JPEG or PNG file"),
    ],
)
def test_decode_names_a_damaged_file(data, message):
    with pytest.raises(ValueError, match=message):
        images.decode(data, "x.jpg")


def test_data_after_the_end_of_an_image_are_ignored():
    data = images.encode(GRADIENT, 95)
    assert np.array_equal(images.decode(data + bytes(5000), "x.jpg"), images.decode(data, "x.jpg"))


def test_decode_refuses_more_pixels_than_its_limit(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="x.png has 48x64 pixels, more than 1000"):
        images.decode(png(GRADIENT), "x.png")


def test_resize_averages_areas_where_it_shrinks():
    image = 4 * np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2)
    # Means of the four 2x2 blocks; the first is (0 + 4 + 16 + 20) / 4.
    assert images.resize(image, 2)[..., 0].tolist() == [[10, 18], [42, 50]]


@pytest.mark.parametrize("shape", [(10, 30), (30, 10), (7, 7), (16, 16)])
def test_resize_gives_a_square_whatever_comes(shape):
    image = np.full((*shape, 3), 77, np.uint8)
    assert np.array_equal(images.resize(image, 16), np.full((16, 16, 3), 77))
