import geometry_reference as reference
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.augmentation import resampling

BOTH = pytest.mark.parametrize("on_tpu", [False, True], ids=["gathers", "products"])
AXES = pytest.mark.parametrize("axis", [1, 2])


def picture(height=7, width=10, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def row(*levels):
    """Words of an image of one row."""
    return resampling.pack(tf.constant(np.uint8(levels).repeat(3).reshape(1, 1, -1, 3)))


def levels_of(words):
    return resampling.unpack(words).numpy()[0, 0, :, 0].tolist()


def zoomed(words, places, axis, on_tpu, unit=1):
    count = places.shape[1]
    weights = resampling.weigh(tf.bitwise.bitwise_and(places, 255))
    if on_tpu:
        return resampling.multiply(words, places, weights, axis, unit)
    fetched = resampling.fetch(words, places, axis)
    return resampling.blend(fetched, tf.expand_dims(weights, 4 - axis), axis, count, count, unit)


def moved(words, offsets, axis, size, limit, on_tpu):
    weights = tf.expand_dims(resampling.weigh(tf.bitwise.bitwise_and(offsets, 255)), 1 + axis)
    found = resampling.move(words, offsets, axis, size, limit, on_tpu)
    return resampling.blend(found, weights, axis, size, step=1)


def test_a_word_has_ten_bits_a_channel():
    image = np.uint8([[[[1, 2, 3], [255, 255, 255]]]])
    words = resampling.pack(tf.constant(image))
    assert words.numpy().tolist() == [[[4 + 8 * 2**10 + 12 * 2**20, 1020 * (1 + 2**10 + 2**20)]]]
    assert np.array_equal(resampling.unpack(words), image)


def test_weights_as_worked_by_hand():
    # At a quarter: 128 times -5/8 1/4 (3/4)^2, the rest, 128 times 0.2441, and 128 times -5/8 (1/4)^2 3/4.
    found = resampling.weigh(tf.constant([0, 64, 128, 192])).numpy().T
    assert found.tolist() == [[0, 128, 0, 0], [-11, 112, 31, -4], [-10, 74, 74, -10], [-4, 31, 112, -11]]


def test_weights_are_keyss_rounded_to_128_parts():
    found = resampling.weigh(tf.range(256)).numpy()
    assert found.dtype == np.float32
    assert np.array_equal(found.T, [reference.weights(part) for part in range(256)])
    assert (found.sum(axis=0) == 128).all()


@BOTH
def test_a_zoomed_row_as_worked_by_hand(on_tpu):
    words = row(0, 100, 200, 200)
    # In the middle of 100 and 200: (74 * 300 - 10 * 200) / 128 = 157.8. Before the first pixel its neighbor is seen:
    # at a quarter, (-11 * 100 + 112 * 0 + 31 * 100 - 4 * 200) / 128 = 9.4.
    places = tf.constant([[0, 64, 256, 384, 768]])
    assert levels_of(zoomed(words, places, 2, on_tpu)) == [0, 9.5, 100, 157.75, 200]
    assert levels_of(zoomed(words, places, 2, on_tpu, unit=4)) == [0, 9, 100, 158, 200]


@BOTH
def test_overshoot_is_clipped(on_tpu):
    # Between two black pixels beside white ones -20 / 128 of white, between two white ones beside a black one 138.
    words = row(255, 0, 0, 255, 255)
    assert levels_of(zoomed(words, tf.constant([[384, 896]]), 2, on_tpu)) == [0, 255]


@BOTH
def test_a_moved_row_as_worked_by_hand(on_tpu):
    words = row(0, 100, 200, 40)
    # Half a pixel further: (74 * 100 - 10 * 200) / 128, (74 * 300 - 10 * 40) / 128,
    # (-10 * 100 + 74 * 240) / 128 and (-10 * 200 + 74 * 40) / 128; beyond the end it is black.
    assert levels_of(moved(words, tf.constant([[128]]), 2, 4, 2, on_tpu)) == [42.25, 170.25, 131, 7.5]
    assert levels_of(moved(words, tf.constant([[-256]]), 2, 4, 2, on_tpu)) == [0, 0, 100, 200]
    # No further than the limit, and only the two pixels in the middle.
    assert levels_of(moved(words, tf.constant([[5 * 256]]), 2, 4, 2, on_tpu)) == [200, 40, 0, 0]
    assert levels_of(moved(words, tf.constant([[256]]), 2, 2, 2, on_tpu)) == [200, 40]


@BOTH
@AXES
@pytest.mark.parametrize("unit", [1, 4])
def test_zooms_equal_the_reference(axis, on_tpu, unit):
    image = picture()
    length = image.shape[axis]
    places = np.random.default_rng(1).integers(0, 256 * (length - 1) + 1, (2, 13), np.int32)
    places[:, :2] = 0, 256 * (length - 1)
    found = resampling.unpack(zoomed(resampling.pack(image), tf.constant(places), axis, on_tpu, unit)).numpy()
    for number, own in enumerate(places):
        weights = [reference.weights(place % 256) for place in own]
        expected = reference.apply_along(
            lambda line, _, own=own, weights=weights: reference.resample(line, own, weights, unit),
            4 * image[number].astype(int),
            axis - 1,
        )
        assert np.array_equal(found[number], expected / 4)


@BOTH
@AXES
@pytest.mark.parametrize(("limit", "margin"), [(1, 0), (3, 2), (9, 0), (20, 4)])
def test_moves_equal_the_reference(axis, on_tpu, limit, margin):
    image = picture()
    size, lines = image.shape[axis] - margin, image.shape[3 - axis]
    offsets = np.random.default_rng(2).integers(-300 * limit, 300 * limit, (2, lines), np.int32)
    found = resampling.unpack(moved(resampling.pack(image), tf.constant(offsets), axis, size, limit, on_tpu)).numpy()
    for number, own in enumerate(offsets):
        expected = reference.apply_along(
            lambda line, place, own=own: reference.shear(line, own[place], size, limit),
            4 * image[number].astype(int),
            axis - 1,
        )
        assert np.array_equal(found[number], expected / 4)


@BOTH
def test_linear_interpolation_equals_the_reference_and_rounds_to_whole_levels(on_tpu):
    # (3 * 10 + 13) / 4 = 10.75, and 11.5 rounds up.
    places = tf.constant([[0, 32, 64, 128]])
    assert levels_of(resampling.interpolate(row(10, 13), places, on_tpu)) == [10, 11, 12, 13]
    image = picture()
    places = np.random.default_rng(3).integers(0, 128 * 9 + 1, (2, 14), np.int32)
    found = resampling.unpack(resampling.interpolate(resampling.pack(image), tf.constant(places), on_tpu)).numpy()
    for number, own in enumerate(places):
        for place, line in enumerate(image[number]):
            assert np.array_equal(found[number, place, :10], reference.bend(4 * line.astype(int), own[:10]) / 4)


def test_weights_of_one_column_add_up():
    columns = [tf.constant([[1, 0]]), tf.constant([[1, 2]])]
    found = resampling.make_matrix(columns, [tf.constant([[2.0, 3.0]]), tf.constant([[5.0]])], 3)
    assert found.numpy().tolist() == [[[0, 7, 0], [3, 0, 5]]]
