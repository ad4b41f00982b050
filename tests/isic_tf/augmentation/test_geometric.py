import dataclasses
import functools
import itertools

import cv2
import geometry_reference as reference
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from augmentation_samples import SEEDS, draw, params

from isic_tf.augmentation import affine, geometric, policies, presets, random_parameters, resampling

BOTH = pytest.mark.parametrize("on_tpu", [False, True], ids=["gathers", "products"])
FILLS = pytest.mark.parametrize("fill", policies.FILLS)
# With all that moves pixels, by as much as possible without zooms of 5.
EXTREME = {
    "rotation": {"uniform": [-180, 180]},
    "shear": {"uniform": [-60, 60]},
    "zoom_x": {"uniform": [0.6, 1.7]},
    "zoom_y": {"uniform": [0.6, 1.7]},
    "shift_x": {"uniform": [-0.5, 0.5]},
    "shift_y": {"uniform": [-0.5, 0.5]},
}
SWITCHES = {"transpose": {"p": 0.5}, "flip_x": {"p": 0.5}, "flip_y": {"p": 0.5}, "rotate90": {}}
DISTORTIONS = {
    "lens": {"p": 0.5, "instead": "distortion", "uniform": [-1, 1]},
    "grid": {"p": 0.5, "instead": "distortion", "uniform": [1, 1]},
}
CASES = {
    "light": presets.light(),
    "deotte": presets.deotte(),
    "winner": presets.winner(),
    "strong": presets.strong(),
    "switches": SWITCHES,
    "lens": {"lens": {"uniform": [-1, 1]}},
    "zooms": {"fill": "edge", "zoom_x": {"uniform": [0.2, 5]}, "zoom_y": {"uniform": [0.2, 5]}},
    **{f"extreme, {fill}": {**EXTREME, **SWITCHES, **DISTORTIONS, "fill": fill} for fill in policies.FILLS},
}
GEOMETRY = {*random_parameters.GEOMETRY, "zoom", "aspect", "lens", "grid"}


def picture(size=9, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def smooth_picture(size=48):
    """Without details that interpolations treat differently."""
    noise = np.random.default_rng(1).normal(size=(size, size, 3))
    smooth = scipy.ndimage.gaussian_filter(noise, (size / 12, size / 12, 0), mode="mirror")
    return np.uint8(np.round(127.5 + 100 * smooth / np.abs(smooth).max()))


def transform(images, given, policy, on_tpu=False):
    size = images.shape[1]
    found = geometric.locate(given, policy, size)
    for stage in geometric.list_stages(policy, size, on_tpu):
        images = stage(images, found)
    return resampling.unpack(images)


def changed(image, fill="reflect", on_tpu=False, policy=EXTREME, **changes):
    return transform(tf.constant(image), params(**changes), {**policy, "fill": fill}, on_tpu).numpy()


@functools.cache
def sample(name, count):
    seeds = SEEDS[100 : 100 + count]
    return random_parameters.sample_parameters(
        seeds, {key: entry for key, entry in CASES[name].items() if key in GEOMETRY}
    )


@FILLS
@BOTH
@pytest.mark.parametrize("size", [9, 12, 16])
def test_identity_transposition_flips_and_right_angles_are_exact(size, fill, on_tpu):
    choices = np.array(list(itertools.product((0, 1), (0, 1), (0, 1), range(4), (-180, 0, 90, 450))))
    image = picture(size, len(choices))
    names = ("transpose", "flip_x", "flip_y", "rotate90", "rotation")
    found = changed(image, fill, on_tpu, **dict(zip(names, choices.T, strict=True)))
    for one, plain, (transpose, flip_x, flip_y, rotate90, rotation) in zip(found, image, choices, strict=True):
        expected = plain.swapaxes(0, 1) if transpose else plain
        expected = expected[:, ::-1] if flip_x else expected
        expected = expected[::-1] if flip_y else expected
        assert np.array_equal(one, np.rot90(expected, rotate90 + rotation // 90))


@FILLS
@BOTH
@pytest.mark.parametrize("neutral", [{"lens": tf.zeros(2)}, {"grid": tf.ones([2, 2, 5])}], ids=["lens", "grid"])
def test_a_distortion_that_is_none_changes_nothing(fill, on_tpu, neutral):
    policy = {**EXTREME, **{name: DISTORTIONS[name] for name in neutral}, "fill": fill}
    found = transform(tf.constant(picture(12)), params() | neutral, policy, on_tpu)
    assert np.array_equal(found, picture(12))


@pytest.mark.parametrize(
    ("fill", "beyond"), [("reflect", [3, 2, 1]), ("edge", [0, 0, 0]), ("constant", [None, None, None])]
)
@pytest.mark.parametrize("policy", [EXTREME, {"shift_x": EXTREME["shift_x"]}], ids=["sheared", "not sheared"])
def test_a_shift_by_whole_pixels(fill, beyond, policy):
    image = picture(size=12)
    moved = changed(image, fill, policy=policy, shift_x=0.25)
    assert np.array_equal(moved[:, :, 3:], image[:, :, :9])
    for column, origin in enumerate(beyond):
        expected = np.zeros_like(image[:, :, 0]) if origin is None else image[:, :, origin]
        assert np.array_equal(moved[:, :, column], expected)
    down = changed(image.swapaxes(1, 2), fill, policy={**policy, "shift_y": EXTREME["shift_y"]}, shift_y=0.25)
    assert np.array_equal(down, moved.swapaxes(1, 2))


def test_zooms_about_the_middle_along_each_axis():
    # Zoomed by 2, 13 pixels show 6 steps: those from the third to the ninth, by halves.
    ramp = np.uint8(np.broadcast_to(20 * np.arange(13)[:, None], (2, 13, 13, 3)))
    halves = 10 * np.arange(6, 19)[:, None]
    assert np.array_equal(changed(ramp, zoom_x=2), np.broadcast_to(halves, ramp.shape))
    assert np.array_equal(changed(ramp, zoom_y=2), ramp)
    assert np.array_equal(changed(ramp.swapaxes(1, 2), zoom_y=2)[0], np.broadcast_to(halves[:, None], (13, 13, 3)))


def test_the_grid_as_worked_by_hand():
    # Ten pixels, two a cell. Slope 2 in the first cell along x: the edge stays, pixel 0, half a pixel from it, shows
    # what is a pixel from it, and slope 0 next stops at the fourth pixel's edge; then all is as it was.
    image = np.uint8(np.broadcast_to(20 * np.arange(10)[:, None], (1, 10, 10, 3)))
    grid = tf.constant([[[2.0, 0.0, 1.0, 1.0, 1.0], [1.0] * 5]])
    policy = {"grid": DISTORTIONS["grid"]}
    found = geometric.locate(params(shear=[0]) | {"grid": grid}, policy, 10)
    places = np.array([0.5, 2.5, 3.5, 3.5, 4, 5, 6, 7, 8, 9])
    assert np.array_equal(found["places_x"][0] / 256, places)
    assert np.array_equal(found["places_y"][0] / 256, np.arange(10))
    moved = transform(tf.constant(image), params(shear=[0]) | {"grid": grid}, policy)
    # Between pixels of a ramp its own value is seen, but for the first, beside which the image is mirrored:
    # (-10 * 20 + 74 * 20 - 10 * 40) / 128 = 6.875.
    assert moved[0, 4, :, 0].numpy().tolist() == [7.0, *(20 * places[1:])]
    # What is first transposed is distorted before that.
    swapped = transform(tf.constant(image), params(transpose=[1]) | {"grid": grid}, policy)
    assert np.array_equal(swapped, tf.transpose(moved, [0, 2, 1, 3]))


@pytest.mark.parametrize("size", [9, 12])
@pytest.mark.parametrize("fill", policies.FILLS)
def test_places_are_those_of_the_affine_map(size, fill):
    drawn = draw(20, 20, 1.5)
    # As a matrix, so that only the scales are taken from the code.
    policy, given = {**EXTREME, "fill": fill}, params(**drawn)
    split = {name: value.numpy().astype(np.float64) for name, value in affine.split_map(given).items()}
    found = {name: value.numpy() for name, value in geometric.locate(given, policy, size).items()}
    canvas = affine.find_reach(policy).find_canvas(size)
    assert (canvas - size) % 2 == 0
    middle = (size - 1) / 2
    for number, (name, place) in itertools.product(range(20), itertools.product("xy", range(canvas))):
        exact = split[f"scale_{name}"][number] * (place - (canvas - 1) / 2) + size * split[f"move_{name}"][number]
        exact *= split[f"sign_{name}"][number]
        inside = min(max((size + 1) / 2 - abs(exact), 0), 1) if fill == "constant" else 1
        exact += middle
        if fill == "reflect":
            exact %= 2 * (size - 1)
            exact = min(exact, 2 * (size - 1) - exact)
        at = found[f"places_{name}"][number, place]
        # In float32.
        assert abs(at / 256 - min(max(exact, 0), size - 1)) < 0.51 / 256
        weights = inside * np.array(reference.weights(at % 256))
        assert np.abs(found[f"weights_{name}"][:, number, place] - weights).max() < 0.51
    for number, (name, count) in enumerate((("first", size), ("second", canvas), ("third", canvas))):
        distance = np.arange(count) - (count - 1) / 2
        exact = split[name][:, None] * distance
        assert np.abs(found[f"offsets_{number}"] / 256 - exact).max() < 0.51 / 256


@pytest.mark.parametrize("size", [9, 12])
@pytest.mark.parametrize("name", CASES)
def test_both_implementations_equal_the_reference_eager_and_compiled(name, size):
    policy, given = CASES[name], sample(name, 3)
    image = tf.constant(picture(size, 3))
    found = geometric.locate(given, policy, size)
    reach = affine.find_reach(policy)
    each = [{key: value[:, n] if "weights" in key else value[n] for key, value in found.items()} for n in range(3)]
    each = [{key: value.numpy() for key, value in own.items()} for own in each]
    expected = [reference.change(one.numpy(), own, reach) for one, own in zip(image, each, strict=True)]
    for on_tpu in (False, True):

        def whole(words, found, on_tpu=on_tpu):
            for stage in geometric.list_stages(policy, size, on_tpu):
                words = stage(words, found)
            return resampling.unpack(words)

        assert np.array_equal(whole(image, found), expected)
        # Compiling takes longer than all else.
        if size == 9 and name in ("deotte", "extreme, constant"):
            assert np.array_equal(tf.function(whole, jit_compile=True)(image, found), expected)


@FILLS
@pytest.mark.parametrize("size", [1, 2, 3, 17])
def test_images_of_few_pixels_have_both_implementations_alike(size, fill):
    policy, image = CASES[f"extreme, {fill}"], tf.constant(picture(size, 5))
    given = sample(f"extreme, {fill}", 5)
    found, other = (transform(image, given, policy, on_tpu).numpy() for on_tpu in (False, True))
    assert found.shape == image.shape
    assert np.isfinite(found).all()
    assert np.array_equal(found, other)


@pytest.mark.parametrize(("fill", "border"), [("reflect", cv2.BORDER_REFLECT_101), ("edge", cv2.BORDER_REPLICATE)])
def test_smooth_images_are_warped_as_by_opencv(fill, border):
    count = 12
    drawn = draw(count, 10, 1.2) | {"shift_x": np.linspace(-0.2, 0.2, count), "shift_y": np.linspace(0.1, -0.1, count)}
    plain = smooth_picture()
    size = len(plain)
    policy = {**EXTREME, "shear": {"uniform": [-10, 10]}}
    found = changed(plain[None].repeat(count, 0), fill, policy=policy, **drawn)
    middle = (size - 1) / 2
    for number, one in enumerate(found):
        matrix = reference.inverse(**{name: values[number] for name, values in drawn.items()})
        offset = size * matrix[:, 2] + middle - matrix[:, :2] @ [middle, middle]
        matrix = np.concatenate([matrix[:, :2], offset[:, None]], axis=1)
        expected = cv2.warpAffine(
            plain, matrix, (size, size), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=border
        )
        # OpenCV rounds places to 1/32 pixel and values to gray levels; the image's steps are up to 12 levels.
        assert np.abs(one - expected).max() < 4
        assert np.abs(one - expected).mean() < 0.6


@FILLS
def test_images_of_a_batch_are_changed_separately(fill):
    policy, image = CASES[f"extreme, {fill}"], tf.constant(picture(12, 4))
    given = sample(f"extreme, {fill}", 4)
    whole = transform(image, given, policy).numpy()
    for number in range(4):
        own = {name: value[number : number + 1] for name, value in given.items()}
        assert np.array_equal(transform(image[number : number + 1], own, policy)[0], whole[number])


def list_extremes():
    """Parameters at the ends of `EXTREME`, and at angles between them."""
    rotation, shear = [-180, -75, -45, -20, 0, 10, 30, 45, 60, 135, 180], [-60, -30, 0, 60]
    cases = itertools.product(rotation, shear, EXTREME["zoom_x"]["uniform"], EXTREME["zoom_y"]["uniform"])
    return params(**dict(zip(("rotation", "shear", "zoom_x", "zoom_y"), np.array(list(cases)).T, strict=True)))


@pytest.mark.parametrize("name", ["light", "deotte", "winner", "strong", "ends"])
def test_the_canvas_has_room_for_what_is_sampled(name, monkeypatch):
    size = 32
    policy, given = (EXTREME, list_extremes()) if name == "ends" else (CASES[name], sample(name, 300))
    count = given["rotation"].shape[0]
    policy, image = {**policy, "fill": "reflect"}, tf.constant(picture(size, 1).repeat(count, 0))
    found = transform(image, given, policy).numpy()
    reach = affine.find_reach(policy)
    offsets = tuple(3 * offset for offset in reach.offsets)
    wide = dataclasses.replace(reach, offsets=offsets, canvas=reach.canvas + 1)
    monkeypatch.setattr(affine, "find_reach", lambda _: wide)
    assert np.array_equal(found, transform(image, given, policy))


@pytest.mark.parametrize("size", [12, 13])
def test_the_constant_fill_is_black_from_a_pixel_beyond_the_border_and_nothing_inside(size):
    white = tf.fill([1, size, size, 3], tf.constant(255, tf.uint8))
    own = {"rotation": 0.0, "zoom_x": 0.6, "zoom_y": 0.7, "shift_x": 0.1}
    found = transform(white, params(**{name: [value] for name, value in own.items()}), {**EXTREME, "fill": "constant"})
    matrix = reference.inverse(**{**reference.PARAMETERS, **own})
    seen = set()
    for row, column in np.ndindex(size, size):
        place = size * matrix @ ((column - (size - 1) / 2) / size, (row - (size - 1) / 2) / size, 1)
        furthest = np.abs(place).max()
        if furthest <= (size - 1) / 2:
            assert (found[0, row, column].numpy() == 255).all()
            seen.add("inside")
        if furthest >= (size + 1) / 2:
            assert not found[0, row, column].numpy().any()
            seen.add("outside")
    assert seen == {"inside", "outside"}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "policy"),
    [("rotation", {"rotation": {"uniform": [-180, 180]}}), ("deotte", policies.read_policy("deotte"))],
)
def test_real_images_keep_the_details_that_one_bilinear_resampling_keeps(real_data, name, policy):
    size = 128
    paths = sorted(real_data.rglob("*.jpg"))
    paths = [paths[place] for place in np.random.default_rng(0).permutation(len(paths))[:16]]
    images = np.stack([cv2.resize(cv2.imread(str(path)), (size, size), interpolation=cv2.INTER_AREA) for path in paths])
    given = {key: entry for key, entry in policy.items() if key in GEOMETRY}
    drawn = random_parameters.sample_parameters(SEEDS[: len(images)], given)
    found = transform(tf.constant(images), drawn, policy).numpy()
    border = cv2.BORDER_REPLICATE if policy.get("fill") == "edge" else cv2.BORDER_REFLECT_101
    once = [
        warp_bilinearly(
            image, reference.inverse(**{key: float(drawn[key][number]) for key in reference.PARAMETERS}), border
        )
        for number, image in enumerate(images)
    ]
    assert np.mean(highest_octave(found) / highest_octave(np.stack(once))) >= 0.9


def warp_bilinearly(image, matrix, border):
    size, middle = len(image), (len(image) - 1) / 2
    x, y = np.meshgrid(np.arange(size) - middle, np.arange(size) - middle)
    places = [np.float32(row[0] * x + row[1] * y + size * row[2] + middle) for row in matrix]
    return cv2.remap(np.float32(image), *places, cv2.INTER_LINEAR, borderMode=border)


def highest_octave(images):
    """Energy of each image from a quarter to half a cycle per pixel, under a window."""
    size = images.shape[1]
    window = (np.hanning(size)[:, None] * np.hanning(size))[..., None]
    power = np.abs(np.fft.fft2((images - images.mean((1, 2), keepdims=True)) * window, axes=(1, 2))) ** 2
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.fftfreq(size))
    return power[:, (radius >= 0.25) & (radius <= 0.5)].sum((1, 2))


@BOTH
def test_the_number_of_images_need_not_be_known_before(on_tpu):
    # As with several workers, whose batches have no static size.
    policy, given = CASES["extreme, edge"], sample("extreme, edge", 2)
    signature = (
        tf.TensorSpec([None, 9, 9, 3], tf.uint8),
        tf.nest.map_structure(lambda value: tf.TensorSpec([None, *value.shape[1:]], value.dtype), given),
    )
    unknown = tf.function(lambda images, own: transform(images, own, policy, on_tpu), input_signature=signature)
    image = tf.constant(picture())
    assert np.array_equal(unknown(image, given), transform(image, given, policy, on_tpu))
