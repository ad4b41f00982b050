import cv2
import numpy as np
import pytest

from isic_tf.image_quality import lesion_contrast

SKIN = (220, 170, 150)


def measure(image):
    return lesion_contrast.lesion_contrast(image, np.ones(image.shape[:2], bool))


def make_skin():
    return np.full((96, 128, 3), SKIN, np.uint8)


def test_contrast_is_the_color_difference_of_lesion_and_skin():
    image = make_skin()
    cv2.circle(image, (64, 48), 12, (150, 100, 80), -1)
    pixels = np.array([[SKIN, (150, 100, 80)]], np.float32) / 255
    skin, lesion = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)[0]
    # The quadratic surface takes up some of it.
    assert measure(image) == pytest.approx(np.linalg.norm(skin - lesion), rel=0.2)


def test_uneven_light_and_hair_are_no_lesion():
    light = np.linspace(0.7, 1, 128)[None, :, None] * np.ones((96, 1, 1))
    image = (make_skin() * light).astype(np.uint8)
    assert measure(image) < 2
    for column in (20, 60, 100):
        cv2.line(image, (column, 0), (column + 15, 95), (40, 30, 20), 1)
    assert measure(image) < 8.5


def test_a_lesion_that_fills_the_frame_is_one():
    # L* of (90, 50, 35) is 24.5, below the 52 of skin.
    assert measure(np.full((96, 128, 3), (90, 50, 35), np.uint8)) == pytest.approx(27.5, abs=1)


@pytest.mark.parametrize("shape", [(1, 128), (128, 1), (32, 32)])
def test_narrow_images_have_no_contrast(shape):
    assert measure(np.full((*shape, 3), SKIN, np.uint8)) == pytest.approx(0, abs=0.1)
