import functools
import math

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.augmentation import occlusion, policies

SEEDS = tf.stack([tf.range(300, dtype=tf.int64), tf.range(300, dtype=tf.int64) * 2**33], axis=1)
# x, y, angle, half the length, curvature, half the width, red, opacity; wide, as the pictures are small.
HAIRS = np.array(
    [
        [
            [0.5, 0.4, 0.3, 0.3, 0.8, 0.06, 0.1, 0.9],
            [0.2, 0.7, -1.2, 0.5, -1.1, 0.03, 0.04, 0.7],
            [0.9, 0.1, 2.5, 0.6, 0.2, 0.1, 0.2, 0.97],
        ],
        [
            [0.1, 0.1, 5.9, 0.15, 1.2, 0.08, 0.3, 0.8],
            [0.4, 0.6, 3.3, 0.4, -0.6, 0.002, 0.15, 0.95],
            [0.6, 0.5, 1.6, 0.55, 0.0, 0.04, 0.07, 0.75],
        ],
    ],
    np.float32,
)
TINT = np.array([1, 0.78, 0.62])
MIDDLES = np.array([[[0.3, 0.42], [0.97, 0.1]], [[0.61, 0.68], [0.13, 0.55]]], np.float32)


def picture(size=20, count=2, low=0.0, high=1.0):
    return np.random.default_rng(0).uniform(low, high, (count, size, size, 3)).astype(np.float32)


def middles(size):
    """The pixels' middles, x and y, in shares of the side."""
    axis = (np.arange(size) + 0.5) / size
    return np.meshgrid(axis, axis)


def reference_hair(image, count, hairs):
    """One image's hairs in NumPy by their geometry: arcs y = bend x^2, seen from their middle and along their way."""
    size, result = len(image), image.astype(np.float64)
    x, y = middles(size)
    for middle_x, middle_y, angle, length, bend, width, red, opacity in hairs.astype(np.float64)[: math.ceil(count)]:
        # As a complex number, turned back by the hair's angle.
        place = ((x - middle_x) + 1j * (y - middle_y)) * np.exp(-1j * angle)
        along, across = place.real, place.imag
        # First order: the equation's value by the length of its gradient, (-2 bend x, 1).
        distance = np.abs(across - bend * along**2) / np.hypot(1, 2 * bend * along)
        # Half as thick at the ends. Covered is what of a pixel, as a strip a pixel wide, lies within the hair.
        thick = width * (1 - 0.5 * np.abs(along) / length)
        strips = [np.clip(size * distance + edge, -size * thick, size * thick) for edge in (-0.5, 0.5)]
        cover = (strips[1] - strips[0]) * (np.abs(along) < length) * opacity
        result = result * (1 - cover[..., None]) + np.minimum(result, red * TINT) * cover[..., None]
    return result


@pytest.mark.parametrize("size", [20, 23])
@pytest.mark.parametrize("counts", [(1, 3), (2, 0), (3, 2)])
def test_hairs_equal_the_numpy_reference_value_by_value(size, counts):
    # Brighter than any hair.
    image = picture(size, low=0.31)
    found = occlusion.hair(image, tf.constant(counts, tf.float32), tf.constant(HAIRS)).numpy()
    for number in (0, 1):
        expected = reference_hair(image[number], counts[number], HAIRS[number])
        assert np.abs(found[number] - expected).max() < 1e-4


def test_a_hair_as_worked_by_hand():
    # A straight one across a white picture of 20: its middle on the line between rows 9 and 10, as wide as both.
    hairs = np.tile(np.float32([0.5, 0.5, 0, 0.4, 0, 0.05, 0.1, 0.8]), (2, 1, 1))
    # The other picture's goes down.
    hairs[1, 0, 2] = math.pi / 2
    white = np.ones((2, 20, 20, 3), np.float32)
    found = occlusion.hair(white, tf.ones(2), tf.constant(hairs)).numpy()
    changed = np.any(found < 1, axis=-1)
    # It ends after 0.4 of the side: 8 pixels to each side, whose middles are nearer.
    assert not changed[0, :, :2].any()
    assert not changed[0, :, 18:].any()
    assert changed[0, 9:11, 2:18].all()
    # All that is dark is within its half width and half a pixel's edge.
    assert not changed[0, :8].any()
    assert not changed[0, 12:].any()
    # Half a pixel from the line where it is a pixel thick, but for the taper of a 32nd at 0.025: 0.8 * (1 - 1 / 32).
    cover = 0.8 * (0.5 + 20 * (0.05 * (1 - 0.5 * 0.025 / 0.4) - 0.025))
    assert np.allclose(found[0, 9:11, 9:11], 1 - cover + cover * 0.1 * TINT, atol=1e-5)
    assert np.allclose(found[1], found[0].swapaxes(0, 1), atol=1e-5)


def test_a_positive_curvature_bends_downwards_where_the_hair_runs_right():
    hairs = np.tile(np.float32([0.5, 0.325, 0, 0.45, 2, 0.04, 0.1, 0.9]), (2, 1, 1))
    hairs[1, 0, 4] = -1
    found = occlusion.hair(np.ones((2, 20, 20, 3), np.float32), tf.ones(2), tf.constant(hairs)).numpy()
    darkest = found[..., 0].argmin(axis=1)
    # In the middle 6.5 pixels down, in columns 1 and 18 20 * (0.325 + 2 * 0.425^2) = 13.7, or 2.9 for -1.
    assert darkest[0, [1, 9, 10, 18]].tolist() == [13, 6, 6, 13]
    assert darkest[1, [1, 9, 10, 18]].tolist() == [2, 6, 6, 2]


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_no_hairs_leave_images_unchanged(dtype):
    image = tf.cast(picture(), dtype)
    assert np.array_equal(occlusion.hair(image, tf.zeros(2), tf.constant(HAIRS)), image)
    assert np.array_equal(occlusion.hair(image, tf.zeros(2), occlusion.sample_hairs(SEEDS[:2], 24)), image)


@pytest.mark.parametrize("low", [0.31, 0.0], ids=["on skin", "on black"])
def test_hairs_darken_only(low):
    image = picture(24, low=low)
    found = occlusion.hair(image, tf.constant([24.0, 9.0]), occlusion.sample_hairs(SEEDS[:2], 24)).numpy()
    assert (found < image - 0.1).any(axis=(1, 2, 3)).all()
    assert (found - image).max() < 1e-6
    assert found.min() >= 0


@pytest.mark.parametrize("most", [1, 5, policies.MAX_HAIRS])
def test_drawn_hairs_stay_within_their_ranges(most):
    hairs = occlusion.sample_hairs(SEEDS, most).numpy()
    assert hairs.shape == (300, most, 8)
    assert hairs.dtype == np.float32
    x, y, angle, length, bend, width, red, opacity = np.moveaxis(hairs, -1, 0)
    # In units of the side: somewhere in the picture, up to longer than it, as thin as hairs are.
    for values, low, high in (
        (x, 0, 1),
        (y, 0, 1),
        (length, 0.15, 0.6),
        (bend, -1.2, 1.2),
        (width, 0.0012, 0.003),
        (red, 0.04, 0.3),
        (opacity, 0.7, 0.97),
    ):
        margin = 0.02 * (high - low)
        assert low <= values.min() < low + margin
        assert high - margin < values.max() <= high
        # Evenly: the quarters of 300 hairs or more, standard error 0.025 of the range at most.
        quarters = (np.quantile(values, [0.25, 0.5, 0.75]) - low) / (high - low)
        assert np.abs(quarters - [0.25, 0.5, 0.75]).max() < 0.12
    assert angle.min() >= -0.5
    assert angle.max() <= 2 * math.pi + 0.5


def test_an_images_hairs_mostly_run_one_way_and_images_differ():
    angle = occlusion.sample_hairs(SEEDS, 12).numpy()[..., 2]
    # Half a radian to each side of the image's own way.
    assert np.ptp(angle, axis=1).max() <= 1
    assert np.ptp(angle, axis=1).mean() > 0.7
    way = angle.mean(axis=1)
    assert np.abs(np.histogram(way, 4, (0, 2 * math.pi))[0] / 300 - 0.25).max() < 0.1


def test_hairs_differ_from_one_another_and_by_seed_and_repeat():
    hairs = occlusion.sample_hairs(SEEDS, 6).numpy()
    assert len(np.unique(hairs.reshape(-1, 8), axis=0)) == 1800
    # What a hair has of one is independent of what it has of another; the angle is partly the image's.
    assert np.abs(np.corrcoef(hairs.reshape(-1, 8).T) - np.eye(8)).max() < 0.1
    assert np.array_equal(occlusion.sample_hairs(SEEDS[7:9], 6), hairs[7:9])


def test_drawn_hairs_are_the_same_under_xla():
    compiled = tf.function(lambda seeds: occlusion.sample_hairs(seeds, 6), jit_compile=True)
    assert np.abs(compiled(SEEDS) - occlusion.sample_hairs(SEEDS, 6)).max() < 1e-6


def reference_vignette(image, radius, middle_x, middle_y):
    """Seen within the radius about the field's middle; the edge fades over a hundredth of the side."""
    x, y = middles(len(image))
    distance = np.hypot(x - (0.5 + middle_x), y - (0.5 + middle_y))
    seen = np.interp(distance, [radius - 0.005, radius + 0.005], [1, 0])
    return image * seen[..., None]


@pytest.mark.parametrize("size", [20, 64])
@pytest.mark.parametrize("radius", [(0.45, 0.3), (0.55, 0.7)])
def test_vignette_equals_the_numpy_reference_value_by_value(size, radius):
    image, x, y = picture(size), (0.05, -0.04), (-0.03, 0.02)
    found = occlusion.vignette(image, *(tf.constant(values) for values in (radius, x, y))).numpy()
    for number in (0, 1):
        expected = reference_vignette(image[number], radius[number], x[number], y[number])
        assert np.abs(found[number] - expected).max() < 1e-4
        assert (found[number] == 0).any()
        assert (found[number] == image[number]).any()


def test_the_vignettes_middle_is_right_and_down():
    found = occlusion.vignette(
        np.ones((2, 20, 20, 3), np.float32), tf.fill(2, 0.3), tf.constant([0.1, 0]), tf.constant([0.05, 0])
    ).numpy()
    # Its middle of mass is the field's: at 0.6 and 0.55 of the side.
    x, y = middles(20)
    mass = found[0, ..., 0] / found[0, ..., 0].sum()
    assert abs((mass * x).sum() - 0.6) < 0.01
    assert abs((mass * y).sum() - 0.55) < 0.01
    assert np.allclose(found[1], found[1, ::-1, ::-1], atol=1e-5)


@pytest.mark.parametrize("radius", [0.8, 1.0])
@pytest.mark.parametrize("off", [0.0, 0.05])
def test_a_vignettes_field_beyond_the_corners_changes_nothing(radius, off):
    image = picture(64)
    # Off by up to a twentieth, as `random_parameters.sample_parameters` draws it.
    found = occlusion.vignette(image, tf.fill(2, radius), tf.constant([off, -off]), tf.constant([-off, -off]))
    assert np.array_equal(found, image)


def reference_dropout(image, side, holes):
    """Pixel by pixel: black if its middle is within a hole's half side of the hole's middle in x and in y."""
    result, size = image.copy(), len(image)
    for row, column in np.ndindex(image.shape[:2]):
        place = np.array([(column + 0.5) / size, (row + 0.5) / size])
        if any(np.abs(place - hole).max() < side / 2 for hole in holes):
            result[row, column] = 0
    return result


@pytest.mark.parametrize("holes", [0, 1, 2, policies.MAX_HOLES])
def test_dropout_equals_the_numpy_reference_value_by_value(holes):
    image = picture(low=0.1)
    places = np.random.default_rng(2).uniform(0, 1, (2, holes, 2)).astype(np.float32)
    found = occlusion.dropout(image, tf.constant([0.317, 0.153]), tf.constant(places)).numpy()
    for number, side in enumerate((0.317, 0.153)):
        assert np.array_equal(found[number], reference_dropout(image[number], side, places[number]))
        assert (found[number] == 0).any() == (holes > 0)


def test_holes_as_worked_by_hand():
    white = np.ones((2, 20, 20, 3), np.float32)
    # 4 pixels wide about (0.5, 0.25), and one cut off by the corner at the lower left.
    places = np.array([[[0.5, 0.25], [0.5, 0.25]], [[0.0, 1.0], [0.5, 0.25]]], np.float32)
    found = occlusion.dropout(white, tf.constant([0.21, 0.21]), tf.constant(places)).numpy()
    expected = np.ones_like(white)
    expected[:, 3:7, 8:12] = 0
    expected[1, 18:, :2] = 0
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_holes_without_a_side_leave_images_unchanged(dtype):
    image = tf.cast(picture(), dtype)
    # At pixels' middles too.
    places = tf.constant([[[0.525, 0.525]], [[0.3, 0.2]]])
    assert np.array_equal(occlusion.dropout(image, tf.zeros(2), places), image)


def test_a_hole_of_the_whole_side_blackens_all():
    found = occlusion.dropout(picture(low=0.1), tf.constant([1.0, 1.0]), tf.constant([[[0.5, 0.5]], [[1.0, 0.5]]]))
    assert not np.any(found[0])
    assert not np.any(found[1, :, 10:])
    assert np.all(found[1, :, :10])


def every_occlusion(images, count, hairs, radius, x, y, side, places):
    return {
        "hair": occlusion.hair(images, count, hairs),
        "vignette": occlusion.vignette(images, radius, x, y),
        "dropout": occlusion.dropout(images, side, places),
    }


GIVEN = tuple(
    tf.constant(value, tf.float32)
    for value in ([2, 3], HAIRS, [0.4, 0.52], [0.03, -0.05], [0.01, 0.04], [0.317, 0.153], MIDDLES)
)
NAMES = ("hair", "vignette", "dropout")


@functools.cache
def occluded(way, dtype):
    function = tf.function(every_occlusion, jit_compile=True) if way == "xla" else every_occlusion
    found = function(tf.cast(picture(), dtype), *GIVEN)
    assert all(one.dtype == dtype for one in found.values())
    return {name: tf.cast(one, tf.float32).numpy() for name, one in found.items()}


@pytest.mark.parametrize("name", NAMES)
def test_occlusions_are_the_same_under_xla(name):
    expected = occluded("eager", tf.float32)[name]
    assert np.abs(occluded("xla", tf.float32)[name] - expected).max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", ["eager", "xla"])
def test_occlusions_in_half_precision_come_near(name, way):
    expected = occluded("eager", tf.float32)[name]
    assert np.abs(occluded(way, tf.bfloat16)[name] - expected).max() < 0.03


@pytest.mark.parametrize("number", [0, 1])
def test_images_of_a_batch_are_occluded_separately(number):
    own, other = ([value[place : place + 1] for value in GIVEN] for place in (number, 1 - number))
    image = picture()[number : number + 1]
    alone, mistaken = every_occlusion(image, *own), every_occlusion(image, *other)
    for name, whole in occluded("eager", tf.float32).items():
        assert np.allclose(alone[name][0], whole[number], atol=1e-6)
        assert np.abs(mistaken[name][0] - whole[number]).max() > 0.1
