import cv2
import numpy as np
import pytest

from isic_tf.image_quality import sharpness
from tfrecord_tools.imaging import codec


def make_edge(width):
    """A vertical edge that rises from 50 to 200 over a number of pixels."""
    row = np.interp(np.arange(256), [127.5 - width / 2, 127.5 + width / 2], [50, 200]).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (256, 256, 3)))


def test_a_step_loses_what_a_gaussian_of_a_step_loses():
    # Sobel's [1 0 -1] sees a step in two columns, as 150 each: energy 2 * 150^2. Of the blurred step it sees the sum of
    # two neighbors of a Gaussian g of 2 px: the sum of (150 (g(x) + g(x + 1)))^2 is 150^2 (2 G(0) + 2 G(1)), where
    # G(x) = exp(-x^2 / 16) / (4 sqrt(pi)) is g convolved with itself.
    overlap = (1 + np.exp(-1 / 16)) / (4 * np.sqrt(np.pi))
    assert sharpness.reblur_ratio(make_edge(1)) == pytest.approx(np.sqrt(overlap), abs=0.01)


def test_wider_edges_lose_less():
    ratios = [sharpness.reblur_ratio(make_edge(width)) for width in (1, 4, 8, 16, 32)]
    assert ratios == sorted(ratios)
    assert ratios[-1] > 0.9


def test_an_even_image_has_no_blur_and_no_blocks():
    gray = np.full((64, 64, 3), 128, np.uint8)
    assert sharpness.reblur_ratio(gray) == 0
    assert sharpness.blockiness(gray) == 1


def test_contrast_does_not_change_the_blur():
    edge = make_edge(6)
    assert sharpness.reblur_ratio(edge // 2) == pytest.approx(sharpness.reblur_ratio(edge), abs=0.01)


def test_blocks_are_compared_with_what_is_inside_them():
    # Steps of 40 at every eighth pixel of both directions, and none inside.
    tiles = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((8, 8), int))
    image = np.repeat((40 * tiles[..., None]).astype(np.uint8), 3, axis=2)
    assert sharpness.blockiness(image) == pytest.approx((40 + 0.25) / 0.25)
    # Eight pixels wide stripes have steps in one direction only.
    assert sharpness.blockiness(np.ascontiguousarray(image[:8].repeat(8, axis=0))) == 1


def test_blocks_of_a_jpeg_count_in_the_middle_of_a_large_one_too():
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3)).astype(np.uint8)
    smooth = cv2.resize(noise, (1300, 1100), interpolation=cv2.INTER_CUBIC)
    assert sharpness.blockiness(smooth) < 1.1
    assert sharpness.blockiness(codec.decode(codec.encode(smooth, 5), "test")[0]) > 2
