"""Geometric augmentation: flips, quarter turns, rotation, shear, zoom, shift and distortion.

An image is resampled along one axis at a time (see `resampling`), which needs no gathers on a TPU. The lens comes first
(see `lens`). The grid and the affine map follow: an exchange of the axes, which moves pixels without interpolation, a
zoom of each axis with its flip and shift, and three shears of the zoomed image (Unser, Thevenaz and Yaroslavsky,
Convolution-based interpolation for fast, high-quality rotation of images, IEEE Transactions on Image Processing 4,
1995). What rotates by more than 45 degrees is turned by right angles as far as possible.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from isic_tf.augmentation import affine, lens, resampling

# Cells of the grid distortion along a side, as in albumentations.
CELLS = 5
_AXES = {1: "y", 2: "x"}
# What the zoom along each axis rounds to: the one along y comes first, and the one along x takes whole gray levels.
_UNITS = {1: resampling.LEVEL, 2: 1}

Params = dict[str, tf.Tensor]
Stage = Callable[[tf.Tensor, Params], tf.Tensor]


def locate(params: Params, policy: dict[str, Any], size: int) -> Params:
    """Computes where pixels come from, in the whole numbers that `resampling` takes.

    Args:
        params: See `random_parameters.sample_parameters`.
        policy: See `list_stages`.
        size: Side S of the images in pixels.

    Returns:
        `places_lens_x` and `places_lens_y` if there are lenses, see `lens.find_places`; `swap`, bool `[b]`, whether x
        and y are exchanged after that; `places_y` and `places_x` of the zooms, and the weights of the pixels around
        them, `weights_y` and `weights_x`, see `resampling.fetch`; and, if there are shears, their `offsets_0` to
        `offsets_2`, see `resampling.move`.
    """
    fill, reach = policy.get("fill", "reflect"), affine.find_reach(policy)
    split, canvas = affine.split_map(affine.limit_params(params, reach)), reach.find_canvas(size)
    found: Params = {"swap": split["swap"]}
    if "lens" in params:
        found["places_lens_x"], found["places_lens_y"] = lens.find_places(params["lens"], size)
    for name in "yx":
        found[f"places_{name}"], found[f"weights_{name}"] = _find_places(params, split, name, size, canvas, fill)
    lines = {"offsets_2": canvas, "offsets_1": canvas, "offsets_0": size} if canvas > size else {}
    for name, count in lines.items():
        shear = affine.SHEARS[int(name[-1])]
        distance = tf.range(count, dtype=tf.float32) - (count - 1) / 2
        found[name] = tf.cast(tf.round(split[shear][:, None] * distance * resampling.PARTS), tf.int32)
    return found


def list_stages(policy: dict[str, Any], size: int, on_tpu: bool) -> list[Stage]:
    """Lists the functions that, one after the other, change the geometry of images.

    Args:
        policy: See `policies`. Its `fill` is what lies beyond the border: the mirrored image (`reflect`, if left out),
            its border pixels (`edge`) or black (`constant`).
        size: Side S of the images in pixels.
        on_tpu: See `resampling`.

    Returns:
        Functions from words (int32 `[b, H, W]`, see `resampling.pack`) and what `locate` returns to words. The first
        takes images, uint8 `[b, S, S, 3]`, and the last returns `[b, S, S]`. Each is to be compiled by itself on a CPU,
        where a compiler would otherwise gather a pixel again for each that it is blended into.
    """
    reach = affine.find_reach(policy)
    canvas = reach.find_canvas(size)

    def distort(words: tf.Tensor, found: Params, axis: int) -> tf.Tensor:
        return lens.distort(words, found[f"places_lens_{_AXES[axis]}"], on_tpu)

    def turn(words: tf.Tensor, found: Params) -> tf.Tensor:
        return tf.where(found["swap"][:, None, None], tf.transpose(words, [0, 2, 1]), words)

    def multiply(words: tf.Tensor, found: Params, axis: int) -> tf.Tensor:
        places, weights = (found[f"{kind}_{_AXES[axis]}"] for kind in ("places", "weights"))
        return resampling.multiply(words, places, weights, axis, _UNITS[axis])

    def fetch(words: tf.Tensor, found: Params, axis: int) -> tf.Tensor:
        return resampling.fetch(words, found[f"places_{_AXES[axis]}"], axis)

    def blend_zoomed(words: tf.Tensor, found: Params, axis: int) -> tf.Tensor:
        weights = tf.expand_dims(found[f"weights_{_AXES[axis]}"], 4 - axis)
        return resampling.blend(words, weights, axis, canvas, canvas, _UNITS[axis])

    def move(words: tf.Tensor, found: Params, number: int, axis: int, length: int) -> tf.Tensor:
        limit = reach.find_limit(number, size)
        return resampling.move(words, found[f"offsets_{number}"], axis, length, limit, on_tpu)

    def blend_moved(words: tf.Tensor, found: Params, number: int, axis: int, length: int) -> tf.Tensor:
        fraction = tf.bitwise.bitwise_and(found[f"offsets_{number}"], resampling.PARTS - 1)
        weights = tf.expand_dims(resampling.weigh(fraction), 1 + axis)
        return resampling.blend(words, weights, axis, length, step=1)

    stages: list[Stage] = [lambda images, found: resampling.pack(images)]
    if "lens" in policy:
        stages += [functools.partial(distort, axis=axis) for axis in (2, 1)]
    stages.append(turn)
    for axis in (1, 2):
        zooms = [multiply] if on_tpu else [fetch, blend_zoomed]
        stages += [functools.partial(stage, axis=axis) for stage in zooms]
    # The third shear is nearest to the input.
    shears = ((2, 2, canvas), (1, 1, size), (0, 2, size)) if canvas > size else ()
    for number, axis, length in shears:
        stages += [functools.partial(stage, number=number, axis=axis, length=length) for stage in (move, blend_moved)]
    return stages


def _find_places(
    params: Params, split: Params, name: str, size: int, canvas: int, fill: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds where in the image the pixels of the canvas come from along an axis, `x` or `y`.

    Returns:
        Places, int32 `[b, canvas]`, and the weights of the pixels around them, float32 `[4, b, canvas]`.
    """
    middle = (size - 1) / 2
    distance = tf.range(canvas, dtype=tf.float32) - (canvas - 1) / 2
    place = split[f"scale_{name}"][:, None] * distance + size * split[f"move_{name}"][:, None]
    place *= split[f"sign_{name}"][:, None]
    # Fades within one pixel.
    inside = tf.clip_by_value((size + 1) / 2 - tf.abs(place), 0.0, 1.0) if fill == "constant" else 1.0
    place = _mirror(place + middle, size) if fill == "reflect" else tf.clip_by_value(place + middle, 0.0, size - 1.0)
    if "grid" in params:
        own, other = tf.unstack(params["grid"] if name == "x" else params["grid"][:, ::-1], axis=1)
        slopes = tf.where(split["swap"][:, None], other, own)
        place = _mirror(_bend(place - middle, slopes, size) + middle, size)
    places = tf.cast(tf.round(place * resampling.PARTS), tf.int32)
    weights = resampling.weigh(tf.bitwise.bitwise_and(places, resampling.PARTS - 1))
    return places, tf.floor(weights * inside + 0.5)


def _bend(position: tf.Tensor, slopes: tf.Tensor, size: int) -> tf.Tensor:
    """Maps positions, relative to the center, by a line of `CELLS` pieces that keeps the first border."""
    cells = (position / size + 0.5) * CELLS
    pieces = [slopes[:, cell, None] * tf.clip_by_value(cells - cell, 0.0, 1.0) for cell in range(CELLS)]
    return (tf.add_n(pieces) / CELLS - 0.5) * size


def _mirror(position: tf.Tensor, size: int) -> tf.Tensor:
    """Folds positions back into [0, size - 1], without repeating the border pixel."""
    span = size - 1
    return span - tf.abs(tf.math.floormod(position, 2.0 * span) - span)
