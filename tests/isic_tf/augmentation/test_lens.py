import cv2
import geometry_reference as reference
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from isic_tf.augmentation import lens, resampling

BOTH = pytest.mark.parametrize("on_tpu", [False, True], ids=["gathers", "products"])


def factor(k, x, y):
    square = x**2 + y**2
    return 1 + k * (square + square**2)


def solve(k, x, v):
    """The least y at which y f is v, from 0 to half the side, in steps too fine to see."""
    y = np.linspace(0, 0.5, 50001)
    reached = np.flatnonzero(y * factor(k, x, y) >= v)
    return y[reached[0]] if len(reached) else 0.5


def test_places_as_worked_by_hand():
    # Of 4 pixels the first is 3/8 of the side from the center, the second 1/8. In the first column, r^2 is 0.28125 and
    # 0.15625, so f is 1.36035 and 1.18066, which is seen 2.04053 and 0.59033 pixels from the center, at 1.5: at
    # -0.54053, mirrored, and 0.90967, in 1/128 pixel 69 and 116.
    _, columns = lens.find_places(tf.constant([1.0]), 4)
    assert columns[0, 0].numpy().tolist() == [69, 116, 384 - 116, 384 - 69]


@pytest.mark.parametrize("size", [12, 17])
@pytest.mark.parametrize("k", [-0.6, -0.3, 0.0, 0.4, 1.0])
def test_places_solve_the_equation_of_the_lens(size, k):
    rows, columns = lens.find_places(tf.constant([k], tf.float32), size)
    assert rows.shape == columns.shape == (1, (size + 1) // 2, size)
    middle = (size - 1) / 2
    for line, along in np.ndindex(*rows.shape[1:]):
        v, x = (middle - line) / size, (along - middle) / size
        expected = size * x * factor(k, x, solve(k, x, v)) + middle
        assert abs(rows[0, line, along] / 128 - reflected(expected, size)) < 1.5 / 128
        expected = size * x * factor(k, x, v) + middle
        assert abs(columns[0, line, along] / 128 - reflected(expected, size)) < 0.6 / 128


def reflected(place, size):
    last = size - 1
    return last - abs(last - abs(place))


@pytest.mark.parametrize("size", [1, 2, 3, 17, 32])
def test_places_of_every_lens_are_within_the_line(size):
    strength = tf.linspace(-1.0, 1.0, 21)
    for places in lens.find_places(strength, size):
        assert places.numpy().min() >= 0
        assert places.numpy().max() <= 128 * (size - 1)


@BOTH
@pytest.mark.parametrize("size", [9, 12])
def test_distorting_twice_equals_the_reference(size, on_tpu):
    image = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    places = lens.find_places(tf.constant([0.8, -0.9, 0.0]), size)
    words = resampling.pack(image)
    for own in places:
        words = lens.distort(words, own, on_tpu)
    found = resampling.unpack(words).numpy()
    for number, plain in enumerate(image):
        expected = 4 * plain.astype(int)
        for own, axis in zip(places, (1, 0), strict=True):
            own = own.numpy()[number]
            expected = reference.apply_along(
                lambda line, n, own=own: reference.bend(line, own[min(n, size - 1 - n)]), expected, axis
            )
        assert np.array_equal(found[number], expected / 4)
    # No lens, no change.
    assert np.array_equal(found[2], image[2])


@pytest.mark.parametrize("size", [48, 63])
def test_the_lens_is_that_of_opencv(size):
    strength = [0.9, 0.3, -0.4, -0.9]
    noise = np.random.default_rng(1).normal(size=(size, size, 3))
    smooth = scipy.ndimage.gaussian_filter(noise, (size / 12, size / 12, 0), mode="mirror")
    smooth = np.uint8(np.round(127.5 + 100 * smooth / np.abs(smooth).max()))
    words = resampling.pack(tf.constant(np.stack([smooth] * len(strength))))
    for places in lens.find_places(tf.constant(strength), size):
        words = lens.distort(words, places, False)
    middle = (size - 1) / 2
    camera = np.array([[size, 0, middle], [0, size, middle], [0, 0, 1]])
    radius = np.hypot(*np.meshgrid(np.arange(size) - middle, np.arange(size) - middle)) / size
    for found, k in zip(resampling.unpack(words).numpy(), strength, strict=True):
        maps = cv2.initUndistortRectifyMap(camera, np.array([k, k, 0, 0]), None, camera, (size, size), cv2.CV_32FC1)
        expected = cv2.remap(smooth, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        inner = radius < 0.35
        assert np.abs(found - expected)[inner].max() <= 2
        # It is a lens: without it, the image is another.
        assert np.abs(smooth.astype(float) - expected)[inner].max() > 5
