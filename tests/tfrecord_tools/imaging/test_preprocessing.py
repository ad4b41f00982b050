import functools

import cv2
import numpy as np
import PIL.Image
import pytest

from tfrecord_tools.building import build_config
from tfrecord_tools.imaging import codec, dicom, preprocessing

GRADIENT = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), -1).astype(np.uint8)


def square(image, size, **options):
    return preprocessing.resize_to_square(lambda **_: (image, image.shape[1::-1]), size, **options)[0]


def test_stretch_averages_areas_where_it_shrinks():
    image = 4 * np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2)
    # Means of the four 2x2 blocks; the first is (0 + 4 + 16 + 20) / 4.
    assert square(image, 2)[..., 0].tolist() == [[10, 18], [42, 50]]


def test_crop_takes_the_center_and_pad_adds_black():
    image = np.zeros((2, 6, 3), np.uint8)
    image[:, 2:4] = 100
    assert square(image, 2, resize="crop")[..., 0].tolist() == [[100, 100], [100, 100]]
    # 6x2 becomes 3x1 in a 3x3 square, its row in the middle.
    assert square(image, 3, resize="pad")[..., 0].tolist() == [[0, 0, 0], [0, 100, 0], [0, 0, 0]]


@pytest.mark.parametrize("resize", build_config.RESIZE_MODES)
@pytest.mark.parametrize("shape", [(10, 30), (30, 10), (7, 7), (16, 16), (1, 400)])
def test_every_mode_returns_a_square_for_any_shape(shape, resize):
    result = square(np.full((*shape, 3), 77, np.uint8), 16, resize=resize)
    assert result.shape == (16, 16, 3)
    assert set(np.unique(result)) <= ({0, 77} if resize == "pad" else {77})


def framed(shape):
    """Returns a gray picture inside a black circle or frame, with a black lesion in its center."""
    image = np.full((200, 300, 3), 150, np.uint8)
    y, x = np.mgrid[:200, :300]
    if shape == "circle":
        image[np.hypot(x - 150, y - 100) > 98] = 5
    else:
        image[:, :30] = image[:, 260:] = image[:20] = 5
    image[90:110, 140:160] = 0
    return image


@pytest.mark.parametrize("size", [64, 300])
@pytest.mark.parametrize("shape", ["circle", "frame"])
def test_trim_border_keeps_the_picture_and_its_black_lesion(shape, size):
    data = codec.encode(cv2.resize(framed(shape), (1500, 1000), interpolation=cv2.INTER_NEAREST), 95)

    def decode(**scale):
        return codec.decode(data, "x.jpg", **scale)

    result, original = preprocessing.resize_to_square(decode, size, trim_border=True)
    assert original == (1500, 1000)
    assert (result[[0, -1]].max(axis=2) < 60).mean() < 0.08
    assert (result[:, [0, -1]].max(axis=2) < 60).mean() < 0.08
    assert (result.max(axis=2) < 60).any()


def test_find_content_is_exact_for_a_frame_and_leaves_the_square_of_a_circle():
    assert preprocessing.find_content(np.full((50, 80, 3), 150, np.uint8)) == (0, 1, 0, 1)
    found = preprocessing.find_content(framed("frame"))
    assert np.allclose(found, (20 / 200, 1, 30 / 300, 260 / 300), atol=0.016)
    top, bottom, left, right = preprocessing.find_content(framed("circle"))
    # The square in a circle of radius 98 has a side of 139; an edge may be black for a twentieth.
    assert 139 <= (bottom - top) * 200 < 160
    assert 139 <= (right - left) * 300 < 160


def test_two_fifths_of_a_side_always_stay():
    top, bottom, left, right = preprocessing.find_content(np.zeros((40, 60, 3), np.uint8))
    assert 0.4 <= bottom - top < 0.5
    assert 0.4 <= right - left < 0.5


def test_shades_of_gray_removes_the_color_of_the_light_and_keeps_its_brightness():
    image = np.tile(np.array([50, 100, 200], np.uint8), (4, 4, 1))
    # A single color is all light: every channel becomes the root mean square, sqrt((2500 + 10000 + 40000) / 3) = 132.3.
    assert np.unique(preprocessing.shades_of_gray(image)).tolist() == [132]
    gray = GRADIENT[..., :1].repeat(3, 2)
    assert np.array_equal(preprocessing.shades_of_gray(gray), gray)
    assert not preprocessing.shades_of_gray(np.zeros((2, 2, 3), np.uint8)).any()


def test_the_light_of_two_levels_is_worked_by_hand():
    # Means of order 6: of (0, 128) 128 / 2^(1/6) = 114.0, of (128, 128) 128; their root mean square is 123.5.
    image = np.array([[[0, 128, 128], [128, 128, 128]]], np.uint8)
    assert preprocessing.shades_of_gray(image).tolist() == [[[0, 124, 124], [139, 124, 124]]]


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.realdata
@pytest.mark.parametrize("resize", build_config.RESIZE_MODES)
def test_scaled_decodes_of_real_images_are_within_40_db_of_a_lanczos_resize(real_data, resize):
    for path in sorted((real_data / "isic2020" / "dicom").glob("*/*.dcm")):
        dataset = dicom.read(path.read_bytes(), path.name)
        decode = functools.partial(dicom.decode, dataset, path.name)
        ours = codec.decode(codec.encode(preprocessing.resize_to_square(decode, 1024, resize)[0], 95), path.name)[0]
        full = decode()[0]
        height, width = full.shape[:2]
        if resize == "crop":
            side = min(height, width)
            full = full[(height - side) // 2 :, (width - side) // 2 :][:side, :side]
        shape = (1024, 1024)
        if resize == "pad":
            shape = tuple(round(side * 1024 / max(height, width)) for side in (width, height))
        expected = np.asarray(PIL.Image.fromarray(full).resize(shape, PIL.Image.Resampling.LANCZOS))
        assert psnr(ours, preprocessing.pad(expected, 1024)) > 40, path.name
