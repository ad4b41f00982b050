import colorsys
import functools
import math

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from isic_tf.augmentation import color, stateless_rng

# What changes nothing, for one image.
NEUTRAL = {
    "hue": 0.0,
    "saturation": 1.0,
    "saturation_shift": 0.0,
    "value_shift": 0.0,
    "local_contrast": 0.0,
    "gain": 1.0,
    "contrast": 1.0,
    "brightness": 0.0,
}
# Two images' parameters that leave nothing out and clip little.
MIXED = {
    "hue": [20, -95],
    "saturation": [0.7, 1.3],
    "saturation_shift": [0.1, -0.2],
    "value_shift": [-0.05, 0.04],
    "local_contrast": [1, 0.4],
    "gain": [0.8, 1.1],
    "contrast": [1.2, 0.7],
    "brightness": [0.1, -0.05],
}
SEEDS = tf.constant([[1, 2], [3, -(2**60)]], tf.int64)


def picture(size=16, count=2, low=0.0, high=1.0):
    return np.random.default_rng(0).uniform(low, high, (count, size, size, 3)).astype(np.float32)


def tissue(size=16):
    """Like skin: red above green above blue, none of them near another."""
    image = np.random.default_rng(1).uniform(-0.08, 0.08, (2, size, size, 3)) + (0.8, 0.6, 0.4)
    return image.astype(np.float32)


def params(**changes):
    return {name: tf.constant(np.broadcast_to(np.float32(value), 2)) for name, value in changes.items()}


def recoloured(image, **changes):
    return color.adjust_color(tf.constant(image), params(**changes)).numpy()


def local_mean(plane):
    """Means of 8x8 tiles, between whose middles it is interpolated linearly; constant beyond the outer ones."""
    size = len(plane)
    tile = [[place for place in range(size) if number <= (place + 0.5) * 8 / size < number + 1] for number in range(8)]
    means = np.array([[np.mean([plane[y, x] for y in down for x in across]) for across in tile] for down in tile])
    middles = (np.arange(8) + 0.5) * size / 8 - 0.5
    rows = np.array([np.interp(np.arange(size), middles, row) for row in means])
    return np.array([np.interp(np.arange(size), middles, column) for column in rows.T]).T


def reference_recolour(image, given):
    """One image's colours in NumPy, step by step in the order of the docstring; clipped at the end alone."""
    given, result = {**NEUTRAL, **given}, np.zeros(image.shape)
    for place in np.ndindex(image.shape[:2]):
        hue, saturation, value = colorsys.rgb_to_hsv(*image[place].astype(np.float64))
        if saturation:
            saturation = min(max(saturation * given["saturation"] + given["saturation_shift"], 0), 1)
        value = min(max(value + given["value_shift"], 0), 1)
        result[place] = colorsys.hsv_to_rgb((hue + given["hue"] / 360) % 1, saturation, value)
    luma = result @ (0.299, 0.587, 0.114)
    near = local_mean(luma) if given["local_contrast"] else 0.5
    # Within a neighbourhood contrast is raised, and the neighbourhood itself drawn to mid-grey by 0.23 of that.
    result += given["local_contrast"] * (luma - near + 0.23 * (0.5 - near))[..., None]
    result *= given["gain"]
    mean = result.mean(axis=(0, 1))
    return np.clip((result - mean) * given["contrast"] + mean + given["brightness"], 0, 1)


def assert_recolours_as_the_reference(image, tolerance=1e-4, **changes):
    found = recoloured(image, **changes)
    for number, one in enumerate(found):
        own = {name: np.broadcast_to(value, 2)[number] for name, value in changes.items()}
        assert np.abs(one - reference_recolour(image[number], own)).max() < tolerance


def test_colours_as_worked_by_hand():
    image = np.zeros((2, 1, 2, 3), np.float32)
    image[:, 0, 0] = (0.8, 0.4, 0.2)
    image[:, 0, 1] = (0.4, 0.4, 0.4)
    # The largest channel stays 0.8; half the saturation halves the others' distances from it. Grey stays.
    found = recoloured(image, saturation=0.5)
    assert np.allclose(found[0, 0], [(0.8, 0.6, 0.5), (0.4, 0.4, 0.4)], atol=1e-6)
    # Saturation 0.75, 0.25 less of it: two thirds of the distances.
    found = recoloured(image, saturation_shift=-0.25)
    assert np.allclose(found[0, 0], [(0.8, 0.8 - 0.4 * 2 / 3, 0.4), (0.4, 0.4, 0.4)], atol=1e-6)
    # A value of 0.6 for 0.8, all channels in proportion.
    found = recoloured(image, value_shift=-0.2)
    assert np.allclose(found[0, 0], [(0.6, 0.3, 0.15), (0.2, 0.2, 0.2)], atol=1e-6)
    # A turn of a third moves each channel to the next: red becomes green.
    found = recoloured(image, hue=120)
    assert np.allclose(found[0, 0], [(0.2, 0.8, 0.4), (0.4, 0.4, 0.4)], atol=1e-6)
    # Red: mean 0.6, so 0.6 + 1.5 * 0.2 = 0.9 and 0.3; then 0.2 added, clipped at 1.
    found = recoloured(image, contrast=1.5, brightness=0.2)
    assert np.allclose(found[0, 0, :, 0], (1.0, 0.5), atol=1e-6)
    # Brightened before the contrast is raised, red would be 1.4 * 0.9 and 0.7 * 0.9: the gain comes first.
    found = recoloured(image, gain=0.5, contrast=0.5)
    assert np.allclose(found[0, 0, :, 0], (0.35, 0.25), atol=1e-6)


@pytest.mark.parametrize("hue", [-180, -120, -77, -20, 0, 5, 60, 90, 120, 180])
def test_hue_is_that_of_tensorflow(hue):
    image = picture()
    expected = tf.image.adjust_hue(image, hue / 360)
    assert np.abs(recoloured(image, hue=hue) - expected).max() < 1e-5


def test_hue_holds_where_channels_tie():
    # All colours of 0, 0.5 and 1: two or three channels are alike in most, as in JPEGs.
    levels = np.float32([0, 0.5, 1])
    image = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, 9, 3, 3).repeat(2, 0)
    assert_recolours_as_the_reference(image, hue=[25, -140])
    assert_recolours_as_the_reference(image, hue=[60, 180], saturation_shift=[-0.3, 0.2], value_shift=[0.2, -0.1])


@pytest.mark.parametrize("factor", [0, 0.4, 1, 1.7, 10])
def test_saturation_contrast_and_gain_are_those_of_tensorflow(factor):
    image = picture()
    assert np.abs(recoloured(image, saturation=factor) - tf.image.adjust_saturation(image, factor)).max() < 1e-5
    expected = np.clip(tf.image.adjust_contrast(image, factor), 0, 1)
    assert np.abs(recoloured(image, contrast=factor) - expected).max() < 1e-5
    assert np.abs(recoloured(image, gain=factor) - np.clip(factor * image, 0, 1)).max() < 1e-6


@pytest.mark.parametrize("delta", [-1, -0.3, 0, 0.2, 1])
def test_brightness_is_that_of_tensorflow(delta):
    image = picture()
    expected = np.clip(tf.image.adjust_brightness(image, delta), 0, 1)
    assert np.abs(recoloured(image, brightness=delta) - expected).max() < 1e-6


@pytest.mark.parametrize(
    "changes",
    [
        {"hue": [33, -170]},
        {"saturation": [0.3, 2.5]},
        {"saturation_shift": [0.3, -0.4]},
        {"value_shift": [0.3, -0.4]},
        {"hue": [10, -10], "value_shift": [-0.5, 0.5]},
        {"saturation": [1.5, 0.5], "saturation_shift": [-0.2, 0.3]},
        {"local_contrast": [1, -0.5]},
        {"gain": [0.6, 1.4]},
        {"contrast": [1.8, 0.2]},
        {"brightness": [0.3, -0.2]},
        {"saturation_shift": [0.5, 0.3], "gain": [1.2, 0.8], "brightness": [0.1, -0.3]},
        MIXED,
    ],
    ids=lambda changes: ",".join(changes),
)
def test_colours_equal_the_numpy_reference_value_by_value(changes):
    assert_recolours_as_the_reference(picture(), **changes)
    assert_recolours_as_the_reference(tissue(), **changes)


@pytest.mark.parametrize("size", [8, 12, 20, 24])
def test_local_contrast_equals_its_reference_where_tiles_differ_by_a_pixel(size):
    # Of 12 pixels a tile has one or two; of 8 one each.
    assert_recolours_as_the_reference(picture(size, low=0.3, high=0.7), local_contrast=[1, 0.3])


def test_local_contrast_as_worked_by_hand():
    # An even picture: no contrast within, and 0.23 of the way to mid-grey, in all channels alike.
    found = recoloured(np.full((2, 16, 16, 3), 0.3, np.float32), local_contrast=[1, 0.5])
    assert np.allclose(found[0], 0.3 + 0.23 * 0.2, atol=1e-6)
    assert np.allclose(found[1], 0.3 + 0.115 * 0.2, atol=1e-6)
    # Tiles of two: in columns 0.4, 0.6, 0.4, 0.6, ... every tile's mean is mid-grey, so that differences double.
    image = np.broadcast_to(np.tile(np.float32([0.4, 0.6]), 8)[:, None], (2, 16, 16, 3))
    assert np.allclose(recoloured(image, local_contrast=1)[0, 3, :2, 0], (0.3, 0.7), atol=1e-6)
    # Only the luma counts, and is added to all channels alike: 0.114 * 0.1 for a blue that is 0.1 off.
    image = np.full((2, 16, 16, 3), 0.5, np.float32)
    image[..., ::2, 2] += 0.1
    image[..., 1::2, 2] -= 0.1
    found = recoloured(image, local_contrast=1)[0, 0, :2]
    assert np.allclose(found, [(0.5114, 0.5114, 0.6114), (0.4886, 0.4886, 0.3886)], atol=1e-6)
    # A tile's mean holds at its middle, so that beyond the outer middles nothing else is mixed in: the first pixel of
    # a side of 24 sees its own tile alone. Left tile 0.5, all others 0.8.
    image = np.full((2, 24, 24, 3), 0.8, np.float32)
    image[:, :, :3] = 0.5
    found = recoloured(image, local_contrast=1)[0, 12, :5, 0]
    # Middles at columns 1 and 4: 0.5, 0.5, 0.6, 0.7, 0.8.
    near = np.array([0.5, 0.5, 0.6, 0.7, 0.8])
    expected = 2 * np.array([0.5, 0.5, 0.5, 0.8, 0.8]) - near + 0.23 * (0.5 - near)
    assert np.allclose(found, expected, atol=1e-6)


def test_grey_stays_grey_and_black_gets_no_colour():
    grey = np.broadcast_to(np.linspace(0, 1, 16, dtype=np.float32)[:, None], (2, 16, 16, 3))
    found = recoloured(grey, hue=[70, -40], saturation=[3, 0.2], saturation_shift=[0.5, -0.5])
    assert np.array_equal(found, grey)
    found = recoloured(grey, hue=[70, -40], saturation_shift=0.5, value_shift=[0.2, -0.3])
    assert np.ptp(found, axis=-1).max() < 1e-6
    assert np.allclose(found[0, 0, 0], 0.2)
    # The first column is black.
    assert not recoloured(grey, saturation=5, hue=100, saturation_shift=1, gain=3)[:, :, 0].any()


@pytest.mark.parametrize("changes", [{}, *({name: value} for name, value in NEUTRAL.items()), NEUTRAL])
def test_neutral_colours_leave_images_unchanged(changes):
    image = picture()
    assert np.abs(recoloured(image, **changes) - image).max() < 1e-6


def test_colours_ignore_the_parameters_of_others():
    image = picture()
    assert np.array_equal(recoloured(image, zoom_x=3, noise=0.4, hue=15), recoloured(image, hue=15))


@pytest.mark.parametrize("name", [name for name in NEUTRAL if name != "saturation"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_colours_stay_within_0_and_1(name, sign):
    value = 4 if NEUTRAL[name] else sign
    found = recoloured(picture(), **{name: value})
    assert found.min() >= 0
    assert found.max() <= 1


def gaussian(sigma, radius):
    weights = [math.exp(-((offset / sigma) ** 2) / 2) for offset in range(-radius, radius + 1)]
    weights = np.round(np.array(weights) / sum(weights) * 256) / 256
    weights[radius] += 1 - sum(weights)
    return weights


# Twice the widest deviation, rounded up: 0.96, 1.2 and 2.04 pixels; at a size of 12 it is a pixel, and little is seen.
@pytest.mark.parametrize(("size", "radius"), [(12, 1), (80, 1), (100, 2), (170, 3)])
@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("on_tpu", [False, True])
def test_blur_equals_scipys_correlation_with_a_mirrored_border(size, radius, axis, on_tpu):
    image, sigma = picture(size), np.array([0.006, 0.005], np.float32)
    found = color.blur(image, tf.constant(sigma), axis, on_tpu).numpy()
    for number in (0, 1):
        weights = gaussian(float(sigma[number]) * size, radius)
        expected = scipy.ndimage.correlate1d(image[number].astype(np.float64), weights, axis - 1, mode="mirror")
        assert np.abs(found[number] - expected).max() < 1e-5
        assert size == 12 or np.abs(found[number] - image[number]).max() > 0.02


def test_weights_of_the_blur_are_in_256_parts():
    # At 100 pixels, a deviation of 0.5: 1, 0.1353 and 0.0003 over their sum with both sides, 1.2713: 201.4, 27.3 and
    # 0.07 parts, of which the middle one gets the rest.
    point = np.zeros([1, 100, 100, 3], np.float32)
    point[0, 50, 50] = 1
    for on_tpu in (False, True):
        found = color.blur(point, tf.constant([0.005]), 2, on_tpu).numpy()[0, 50, 47:54, 1]
        assert np.array_equal(found * 256, [0, 0, 27, 202, 27, 0, 0])


def test_blur_down_then_across_equals_both():
    size = 100
    image = picture(size)
    sigma = tf.constant([0.006, 0.004])
    found = color.blur(color.blur(image, sigma, 1), sigma, 2).numpy()
    for number in (0, 1):
        weights = gaussian(float(sigma[number]) * size, 2)
        kernel = np.outer(weights, weights)[..., None]
        expected = scipy.ndimage.correlate(image[number].astype(np.float64), kernel, mode="mirror")
        assert np.abs(found[number] - expected).max() < 1e-5


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("on_tpu", [False, True])
def test_a_blur_of_0_leaves_images_unchanged(dtype, on_tpu):
    image = tf.cast(picture(100), dtype)
    for axis in (1, 2):
        assert np.array_equal(color.blur(image, tf.zeros(2), axis, on_tpu), image)


def test_added_noise_is_the_drawn_noise_times_its_strength():
    image, strength = picture(low=0.4, high=0.6), np.array([0.1, 0.02], np.float32)
    found = color.add_noise(image, tf.constant(strength), SEEDS).numpy()
    noise = stateless_rng.noise(SEEDS, 16, stateless_rng.PIXELS).numpy()
    assert np.abs(found - (image + noise * strength[:, None, None, None])).max() < 1e-6


def test_added_noise_has_its_strength_everywhere_and_differs_by_seed():
    count = 100
    grey = np.full((count, 16, 16, 3), 0.5, np.float32)
    strength = np.linspace(0.01, 0.1, count, dtype=np.float32)
    seeds = tf.stack([tf.range(count, dtype=tf.int64), tf.ones(count, tf.int64)], axis=1)
    added = color.add_noise(grey, tf.constant(strength), seeds).numpy() - 0.5
    scaled = added / strength[:, None, None, None]
    # 768 numbers an image: standard error of its deviation 0.024, of the mean 0.036.
    assert np.abs(scaled.std(axis=(1, 2, 3)) - 1).max() < 0.12
    assert np.abs(scaled.mean(axis=(1, 2, 3))).max() < 0.15
    # 100 numbers a channel of a pixel: no place or channel is spared.
    assert scaled.std(axis=0).min() > 0.7
    assert len({one.tobytes() for one in scaled.round(3)}) == count
    channels = np.corrcoef(scaled.reshape(-1, 3).T) - np.eye(3)
    assert np.abs(channels).max() < 0.03


def test_added_noise_is_clipped():
    ends = np.zeros((2, 16, 16, 3), np.float32)
    ends[:, :8] = 1
    found = color.add_noise(ends, tf.constant([0.5, 0.1]), SEEDS).numpy()
    assert found.min() == 0
    assert found.max() == 1
    # Half of the noise points inwards.
    for number in (0, 1):
        assert 0.4 < (found[number, :8] < 1).mean() < 0.6
        assert 0.4 < (found[number, 8:] > 0).mean() < 0.6


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_noise_of_strength_0_leaves_images_unchanged(dtype):
    image = tf.cast(picture(), dtype)
    assert np.array_equal(color.add_noise(image, tf.zeros(2), SEEDS), image)


def every_change(images, large, given, sigma, strength, seeds):
    return {
        "recolour": color.adjust_color(images, given),
        # No hue: a branch of its own.
        "no hue": color.adjust_color(images, {name: value for name, value in given.items() if name != "hue"}),
        # Of small pictures there is nothing to blur.
        "blur down": color.blur(large, sigma, 1),
        "blur across": color.blur(large, sigma, 2, on_tpu=True),
        "noise": color.add_noise(images, strength, seeds),
    }


CHANGES = ("recolour", "no hue", "blur down", "blur across", "noise")
GIVEN = (params(**MIXED), tf.constant([0.006, 0.004]), tf.constant([0.05, 0.2]), SEEDS)


@functools.cache
def changed(way, image, dtype):
    function = tf.function(every_change, jit_compile=True) if way == "xla" else every_change
    create = {"tissue": tissue, "random": picture}[image]
    found = function(*(tf.cast(create(size), dtype) for size in (16, 100)), *GIVEN)
    assert all(one.dtype == dtype for one in found.values())
    return {name: tf.cast(one, tf.float32).numpy() for name, one in found.items()}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("image", ["tissue", "random"])
def test_changes_are_the_same_under_xla(name, image):
    expected = changed("eager", image, tf.float32)[name]
    assert np.abs(changed("xla", image, tf.float32)[name] - expected).max() < 1e-5


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("image", ["tissue", "random"])
@pytest.mark.parametrize("way", ["eager", "xla"])
def test_changes_in_half_precision_come_near(name, image, way):
    expected = changed("eager", image, tf.float32)[name]
    assert np.abs(changed(way, image, tf.bfloat16)[name] - expected).max() < 0.03


@pytest.mark.parametrize("number", [0, 1])
def test_images_of_a_batch_are_changed_separately(number):
    whole = changed("eager", "random", tf.float32)
    only = slice(number, number + 1)
    images = [picture(size)[only] for size in (16, 100)]
    alone = every_change(*images, *tf.nest.map_structure(lambda value: value[only], GIVEN))
    other = slice(1 - number, 2 - number)
    mistaken = every_change(*images, *tf.nest.map_structure(lambda value: value[other], GIVEN))
    for name in CHANGES:
        assert np.allclose(alone[name][0], whole[name][number], atol=1e-6)
        # As its own parameters say: with the other image's the result is another.
        assert np.abs(mistaken[name][0] - whole[name][number]).max() > 0.01
