import functools
import itertools
import math

import cv2
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.augmentation import geometric

NEUTRAL = {
    "transpose": 0.0,
    "flip_x": 0.0,
    "flip_y": 0.0,
    "rotate90": 0.0,
    "rotation": 0.0,
    "shear": 0.0,
    "zoom_x": 1.0,
    "zoom_y": 1.0,
    "shift_x": 0.0,
    "shift_y": 0.0,
}
# Two images' parameters that leave nothing out.
MIXED = {
    "transpose": [1, 0],
    "flip_x": [0, 1],
    "flip_y": [1, 0],
    "rotate90": [3, 1],
    "rotation": [200, -33],
    "shear": [-20, 12],
    "zoom_x": [0.7, 0.6],
    "zoom_y": [1.4, 0.5],
    "shift_x": [0.3, -0.2],
    "shift_y": [-0.2, 0.1],
}
LENS = np.array([0.8, -0.6], np.float32)
GRID = np.random.default_rng(4).uniform(0, 2, (2, 2, 5)).astype(np.float32)
DISTORTIONS = {"none": {}, "lens": {"lens": LENS}, "grid": {"grid": GRID}}


def picture(size=9, count=2):
    return np.random.default_rng(0).uniform(0, 1, (count, size, size, 3)).astype(np.float32)


def params(**changes):
    """Parameters of two images, or of as many as the changes are for."""
    count = max([np.size(value) for value in changes.values() if np.ndim(value)], default=2)
    full = {**NEUTRAL, **changes}
    return {name: tf.constant(np.broadcast_to(np.float32(value), count)) for name, value in full.items()}


def warped(image, fill="reflect", **changes):
    return geometric.warp(tf.constant(image), geometric.matrices(params(**changes)), fill).numpy()


def sampled(image, fill, u, v):
    """Bilinear value at (u, v) pixels from the first pixel's middle, in the picture continued by `fill`."""
    far = 6 * len(image)
    left, top = math.floor(u), math.floor(v)
    result = np.zeros(3)
    for row, column in itertools.product((top, top + 1), (left, left + 1)):
        assert -far <= min(row, column) <= max(row, column) < len(image) + far
        weight = (1 - abs(u - column)) * (1 - abs(v - row))
        result += weight * padded(image.tobytes(), len(image), fill)[row + far, column + far]
    return result


@functools.cache
def padded(content, size, fill):
    image = np.frombuffer(content).reshape(size, size, 3)
    return np.pad(image, [(6 * size, 6 * size), (6 * size, 6 * size), (0, 0)], fill)


def resampled(image, place, fill="reflect"):
    """A picture that shows at (x, y) from its middle what `image` has at `place(x, y)`."""
    image, middle = image.astype(np.float64), (len(image) - 1) / 2
    result = np.zeros_like(image)
    for row, column in np.ndindex(image.shape[:2]):
        u, v = place(column - middle, row - middle)
        result[row, column] = sampled(image, fill, u + middle, v + middle)
    return result


def affine(matrix, size):
    return lambda x, y: np.asarray(matrix, np.float64) @ (x, y, size)


def reference_warp(image, matrix, fill="reflect"):
    """The affine warp of one image in NumPy, pixel by pixel."""
    return resampled(image, affine(matrix, len(image)), fill)


def distortion(name, number, size):
    """Place of a pixel before the lens or the grid of `DISTORTIONS`."""

    def lens(x, y):
        r = math.hypot(x, y) / size
        factor = 1 + LENS[number] * (r**2 + r**4)
        return factor * x, factor * y

    def grid(x, y):
        borders = np.linspace(-size / 2, size / 2, 6)
        ends = [np.concatenate([[0], np.cumsum(slopes)]) * size / 5 - size / 2 for slopes in GRID[number]]
        return np.interp(x, borders, ends[0]), np.interp(y, borders, ends[1])

    return {"lens": lens, "grid": grid}[name]


def reference_matrix(transpose, flip_x, flip_y, rotate90, rotation, shear, zoom_x, zoom_y, shift_x, shift_y):
    """Where an input pixel goes to, step by step in the picture, and the inverse of that."""
    steps = [
        [[0, 1], [1, 0]] if transpose else np.eye(2),
        np.diag([1 - 2 * flip_x, 1 - 2 * flip_y]),
        turned(90 * rotate90),
        turned(rotation),
        np.linalg.inv([[1, math.sin(math.radians(shear))], [0, math.cos(math.radians(shear))]]),
        np.diag([zoom_x, zoom_y]),
    ]
    forward = functools.reduce(lambda done, step: np.asarray(step) @ done, steps)
    inverse = np.linalg.inv(forward)
    return np.concatenate([inverse, -inverse @ [[shift_x], [shift_y]]], axis=1)


def turned(degrees):
    """A counter-clockwise turn takes the point on the right up, where y points down."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos, sin], [-sin, cos]])


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_right_angles_and_flips_move_pixels_exactly(quarters):
    image = picture()
    assert np.array_equal(warped(image, rotate90=quarters), np.rot90(image, quarters, (1, 2)))
    assert np.array_equal(warped(image, rotate90=quarters, flip_x=1), np.rot90(image[:, :, ::-1], quarters, (1, 2)))
    assert np.array_equal(warped(image, rotate90=quarters, flip_y=1), np.rot90(image[:, ::-1], quarters, (1, 2)))
    assert np.array_equal(
        warped(image, rotate90=quarters, transpose=1), np.rot90(image.swapaxes(1, 2), quarters, (1, 2))
    )


@pytest.mark.parametrize("size", [9, 12])
@pytest.mark.parametrize("fill", geometric.FILLS)
def test_transpose_then_flips_then_turn_for_all_of_their_combinations(size, fill):
    choices = np.array(list(itertools.product((0, 1), (0, 1), (0, 1), range(4))))
    image = picture(size, len(choices))
    names = ("transpose", "flip_x", "flip_y", "rotate90")
    found = warped(image, fill, **dict(zip(names, choices.T, strict=True)))
    for one, plain, (transpose, flip_x, flip_y, rotate90) in zip(found, image, choices, strict=True):
        expected = plain.swapaxes(0, 1) if transpose else plain
        expected = expected[:, ::-1] if flip_x else expected
        expected = expected[::-1] if flip_y else expected
        assert np.array_equal(one, np.rot90(expected, rotate90))


@pytest.mark.parametrize("fill", geometric.FILLS)
@pytest.mark.parametrize("size", [9, 16])
def test_the_identity_leaves_images_unchanged(size, fill):
    image = picture(size)
    assert np.array_equal(warped(image, fill), image)
    still = tf.constant([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]] * 2)
    assert np.array_equal(geometric.warp(image, still, fill), image)
    assert np.array_equal(geometric.warp(image, still, fill, lens=tf.zeros(2)), image)
    assert np.abs(geometric.warp(image, still, fill, grid=tf.ones([2, 2, 5])) - image).max() < 1e-5


def test_a_shift_is_right_and_down_and_mirrors_the_border():
    image = picture(size=10)
    moved = warped(image, shift_x=0.2, shift_y=0.1)
    # Two pixels right: columns 2.. come from 0..; column 1 mirrors column 1 about column 0, and column 0 column 2.
    assert np.allclose(moved[:, 1:, 2:], image[:, :-1, :-2], atol=1e-5)
    assert np.allclose(moved[:, 1:, 0], image[:, :-1, 2], atol=1e-5)
    assert np.allclose(moved[:, 0, 2:], image[:, 1, :-2], atol=1e-5)


@pytest.mark.parametrize(
    ("fill", "beyond"), [("reflect", [3, 2, 1]), ("edge", [0, 0, 0]), ("constant", [None, None, None])]
)
def test_what_a_shift_by_whole_pixels_shows_beyond_the_border(fill, beyond):
    image = picture(size=12)
    moved = warped(image, fill, shift_x=0.25)
    assert np.allclose(moved[:, :, 3:], image[:, :, :9], atol=1e-5)
    for column, origin in enumerate(beyond):
        expected = np.zeros_like(image[:, :, 0]) if origin is None else image[:, :, origin]
        assert np.allclose(moved[:, :, column], expected, atol=1e-5)


def test_zooms_about_the_middle_along_each_axis():
    # Brightness runs along one axis, so that it shows where a pixel came from.
    ramp = np.broadcast_to(np.linspace(0, 1, 13, dtype=np.float32)[:, None], (2, 13, 13, 3))
    # Zoomed by 2, 13 pixels show 6 steps: those from the third to the ninth, by halves.
    halves = np.linspace(3 / 12, 9 / 12, 13)[:, None]
    assert np.allclose(warped(ramp, zoom_x=2), halves, atol=1e-5)
    assert np.allclose(warped(ramp, zoom_y=2), ramp, atol=1e-5)
    assert np.allclose(warped(ramp.swapaxes(1, 2), zoom_y=2)[0], halves[:, None], atol=1e-5)


def test_matrices_compose_as_worked_by_hand():
    # Zoomed by 2 and moved right by a quarter: output x = 2 * input x + 0.25, so input x = (output x - 0.25) / 2.
    found = geometric.matrices(params(zoom_x=2, zoom_y=2, shift_x=0.25))[0]
    assert np.allclose(found, [[0.5, 0, -0.125], [0, 0.5, 0]], atol=1e-7)
    # A counter-clockwise turn by 30 degrees carries the input's (1, 0) to (cos 30, -sin 30), y pointing down.
    inverse = geometric.matrices(params(rotation=30))[0, :, :2].numpy()
    assert np.allclose(inverse @ [math.sqrt(3) / 2, -0.5], [1, 0], atol=1e-6)
    # A shear by 30 degrees leaves the x axis; what is seen at (0, 1) comes from as far away, 30 degrees off.
    found = geometric.matrices(params(shear=30))[0]
    assert np.allclose(found, [[1, 0.5, 0], [0, math.sqrt(3) / 2, 0]], atol=1e-6)
    # First transposed, then moved: the output's (x, y) shows the input's (y, x - 0.25).
    found = geometric.matrices(params(transpose=1, shift_x=0.25))[0]
    assert np.allclose(found, [[0, 1, 0], [1, 0, -0.25]], atol=1e-7)
    # First turned by 90 degrees, then twice as wide: the point shown on the right, at (1, 0), was half as far down.
    found = geometric.matrices(params(rotate90=1, zoom_x=2))[0]
    assert np.allclose(found, [[0, -1, 0], [0.5, 0, 0]], atol=1e-7)


def test_matrices_take_every_step_in_the_order_of_the_docstring():
    random = np.random.default_rng(5)
    ranges = {
        "rotation": (-720, 720),
        "shear": (-50, 50),
        "zoom_x": (0.3, 3),
        "zoom_y": (0.3, 3),
        "shift_x": (-1, 1),
        "shift_y": (-1, 1),
    }
    drawn = {name: random.integers(0, 2, 40) for name in ("transpose", "flip_x", "flip_y")}
    drawn |= {"rotate90": random.integers(0, 4, 40)} | {
        name: random.uniform(*ends, 40) for name, ends in ranges.items()
    }
    found = geometric.matrices(params(**drawn)).numpy()
    assert found.shape == (40, 2, 3)
    assert found.dtype == np.float32
    for number, matrix in enumerate(found):
        expected = reference_matrix(**{name: values[number] for name, values in drawn.items()})
        assert np.abs(matrix - expected).max() < 2e-5


@pytest.mark.parametrize("size", [12, 15])
@pytest.mark.parametrize("fill", geometric.FILLS)
def test_warp_equals_its_numpy_reference_value_by_value(fill, size):
    image = picture(size)
    matrices = geometric.matrices(params(**MIXED))
    found = geometric.warp(image, matrices, fill).numpy()
    for one, matrix, plain in zip(found, matrices.numpy(), image, strict=True):
        assert np.abs(one - reference_warp(plain, matrix, fill)).max() < 1e-4


@pytest.mark.parametrize("fill", geometric.FILLS)
def test_warp_holds_far_outside(fill):
    # Up to five sides away, where the mirrored picture repeats every 22 pixels.
    matrices = np.array([[[3.1, 0.2, 2.2], [0.1, 2.7, -3.1]], [[-2.3, 0.4, -1.7], [0.5, 3.3, 2.6]]], np.float32)
    image = picture(12)
    found = geometric.warp(image, tf.constant(matrices), fill).numpy()
    for one, matrix, plain in zip(found, matrices, image, strict=True):
        assert np.abs(one - reference_warp(plain, matrix, fill)).max() < 1e-4


def test_the_constant_fill_is_black_from_a_pixel_beyond_the_border_and_nothing_inside():
    matrix = reference_matrix(**{name: values[1] for name, values in MIXED.items()})
    image = picture(12)
    found = geometric.warp(image, tf.constant(np.stack([matrix, matrix]), tf.float32), "constant").numpy()
    mirrored = reference_warp(image[0], matrix)
    seen = set()
    for row, column in np.ndindex(12, 12):
        furthest = np.abs(affine(matrix, 12)(column - 5.5, row - 5.5)).max()
        if furthest < 5.5:
            assert np.abs(found[0, row, column] - mirrored[row, column]).max() < 1e-4
        if furthest > 6.5:
            assert not found[:, row, column].any()
        seen.add((furthest < 5.5, furthest > 6.5))
    assert {(True, False), (False, True)} <= seen


@pytest.mark.parametrize("name", ["lens", "grid"])
@pytest.mark.parametrize("size", [12, 17])
def test_distortions_equal_their_numpy_reference_value_by_value(name, size):
    image = picture(size)
    found = geometric.warp(image, geometric.matrices(params()), **DISTORTIONS[name]).numpy()
    for number in (0, 1):
        expected = resampled(image[number], distortion(name, number, size))
        assert np.abs(found[number] - expected).max() < 1e-4


@pytest.mark.parametrize("fill", ["edge", "constant"])
@pytest.mark.parametrize("name", ["lens", "grid"])
def test_a_distortion_mirrors_the_border_whatever_the_fill(name, fill):
    image, still = picture(12), geometric.matrices(params())
    mirrored = geometric.warp(image, still, **DISTORTIONS[name])
    assert np.array_equal(geometric.warp(image, still, fill, **DISTORTIONS[name]), mirrored)


def test_the_lens_is_that_of_opencv():
    size = 16
    image = picture(size)
    camera = np.array([[size, 0, (size - 1) / 2], [0, size, (size - 1) / 2], [0, 0, 1]], np.float64)
    found = geometric.warp(image, geometric.matrices(params()), lens=LENS).numpy()
    for number in (0, 1):
        coefficients = np.array([LENS[number], LENS[number], 0, 0], np.float64)
        maps = cv2.initUndistortRectifyMap(camera, coefficients, None, camera, (size, size), cv2.CV_32FC1)
        middle = (size - 1) / 2

        def place(x, y, maps=maps, middle=middle):
            index = round(y + middle), round(x + middle)
            return maps[0][index] - middle, maps[1][index] - middle

        assert np.abs(found[number] - resampled(image[number], place)).max() < 1e-4
        # OpenCV's own sampling rounds places to 1/32 pixel.
        remapped = cv2.remap(image[number], *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        assert np.abs(found[number] - remapped).max() < 0.05


def test_the_grid_as_worked_by_hand():
    # Ten pixels, two a cell. Slope 2 in the first cell along x: the edge stays, pixel 0, half a pixel from it, shows
    # what is a pixel from it, and slope 0 next stops at the fourth pixel's edge; then all is as it was.
    ramp = np.broadcast_to(np.arange(10, dtype=np.float32)[:, None] / 10, (1, 10, 10, 3))
    grid = tf.constant([[[2.0, 0.0, 1.0, 1.0, 1.0], [1.0] * 5]])
    found = geometric.warp(ramp, geometric.matrices(params(rotate90=[0])), grid=grid).numpy()
    assert np.allclose(found[0, :, :, 0], np.array([0.5, 2.5, 3.5, 3.5, 4, 5, 6, 7, 8, 9]) / 10, atol=1e-5)
    upright = geometric.warp(ramp.swapaxes(1, 2), geometric.matrices(params(rotate90=[0])), grid=grid[:, ::-1]).numpy()
    assert np.allclose(upright, found.swapaxes(1, 2), atol=1e-6)


@pytest.mark.parametrize("fill", geometric.FILLS)
@pytest.mark.parametrize("neutral", [{"lens": tf.zeros(2)}, {"grid": tf.ones([2, 2, 5])}], ids=["lens", "grid"])
def test_a_distortion_that_is_none_leaves_the_fill(fill, neutral):
    image, matrices = picture(12), geometric.matrices(params(shift_x=0.3, rotation=20))
    assert np.abs(geometric.warp(image, matrices, fill, **neutral) - geometric.warp(image, matrices, fill)).max() < 1e-4


@pytest.mark.parametrize("name", ["lens", "grid"])
def test_images_are_distorted_and_then_warped_affinely(name):
    # Compared where no border is seen, so that only the order counts: what a lens shows is turned and moved.
    size = 16
    image, matrices = picture(size), geometric.matrices(params(zoom_x=1.5, zoom_y=1.5, rotation=30, shift_x=0.2))
    found = geometric.warp(image, matrices, **DISTORTIONS[name]).numpy()
    middle = (size - 1) / 2
    for number, matrix in enumerate(matrices.numpy()):
        before, then = affine(matrix, size), distortion(name, number, size)
        expected = resampled(image[number], lambda x, y, before=before, then=then: then(*before(x, y)))
        places = list(np.ndindex(size, size))
        inner = [place for place in places if max(map(abs, before(*(np.flip(place) - middle)))) <= middle]
        assert len(inner) > size**2 / 2
        for place in inner:
            assert np.abs(found[number][place] - expected[place]).max() < 1e-4


def every_warp(images, matrices):
    return [
        geometric.warp(images, matrices, fill, **given) for fill in geometric.FILLS for given in DISTORTIONS.values()
    ]


def test_warps_are_the_same_under_xla():
    image, matrices = picture(12), geometric.matrices(params(**MIXED))
    compiled = tf.function(every_warp, jit_compile=True)
    for found, expected in zip(compiled(image, matrices), every_warp(image, matrices), strict=True):
        assert found.shape == expected.shape == (2, 12, 12, 3)
        assert np.abs(found - expected).max() < 1e-4
    given = params(**MIXED)
    assert np.abs(tf.function(geometric.matrices, jit_compile=True)(given) - matrices).max() < 1e-5


def test_flips_stay_exact_under_xla():
    image = picture(12)
    given = params(flip_x=1, rotate90=1)
    found = tf.function(lambda x, given: geometric.warp(x, geometric.matrices(given)), jit_compile=True)(image, given)
    assert np.array_equal(found, np.rot90(image[:, :, ::-1], 1, (1, 2)))


@pytest.mark.parametrize("compile_it", [False, True], ids=["eager", "xla"])
def test_warps_in_half_precision_come_near(compile_it):
    image, matrices = picture(12), geometric.matrices(params(**MIXED))
    halved = tf.function(every_warp, jit_compile=True) if compile_it else every_warp
    for found, expected in zip(halved(tf.cast(image, tf.bfloat16), matrices), every_warp(image, matrices), strict=True):
        assert found.dtype == tf.bfloat16
        assert np.abs(tf.cast(found, tf.float32) - expected).max() < 0.03


def test_images_of_a_batch_are_warped_separately():
    image, matrices = picture(12), geometric.matrices(params(**MIXED))
    for name, (fill, given) in enumerate(itertools.product(geometric.FILLS, DISTORTIONS.values())):
        whole = every_warp(image, matrices)[name]
        for number in (0, 1):
            own = {key: value[number : number + 1] for key, value in given.items()}
            alone = geometric.warp(image[number : number + 1], matrices[number : number + 1], fill, **own)
            assert np.allclose(whole[number], alone[0], atol=1e-6)
