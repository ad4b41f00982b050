"""Geometric augmentation: flips, quarter turns, rotation, shear, zoom, shift and distortion.

An image is resampled along one axis at a time (see `resampling`), which needs no gathers on a TPU. The lens comes first
(see `lens`). The grid and the affine map follow: an exchange of the axes, which moves pixels without interpolation, a
zoom of each axis with its flip and shift, and three shears of the zoomed image (Unser, Thevenaz and Yaroslavsky,
Convolution-based interpolation for fast, high-quality rotation of images, IEEE Transactions on Image Processing 4,
1995). What rotates by more than 45 degrees is turned by right angles as far as possible.
"""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.augmentation import lens, resampling

FILLS = ("reflect", "edge", "constant")
# Cells of the grid distortion along a side, as in albumentations.
CELLS = 5
# Standard deviations of a normally distributed value for which the canvas has room; what lies beyond it is black.
_DEVIATIONS = 2
# Pixels that a place is interpolated from lie up to so many pixels beyond it.
_MARGIN = 2
# Smallest zoom and aspect of an axis, see `policies.OPERATIONS`.
_MIN_FACTOR = 0.2
_SHEARS = ("first", "second", "third")
_AXES = {1: "y", 2: "x"}
# What the zoom along each axis rounds to: the one along y comes first, and the one along x takes whole gray levels.
_UNITS = {1: resampling.LEVEL, 2: 1}

Params = dict[str, tf.Tensor]
Stage = Callable[[tf.Tensor, Params], tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far the shears of a policy move pixels.

    Args:
        offsets: Farthest that the first shear (along x), the second (along y) and the third (along x) move a pixel that
            is seen, in sides of the image.
        canvas: Side of the canvas that is sheared, in sides of the image; 1 without rotation and shear.
    """

    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    canvas: float = 1.0

    def find_canvas(self, size: int) -> int:
        """Returns the side of the canvas of images of a size, both in pixels, which differ by an even number."""
        return size + 2 * (math.ceil(size * (self.canvas - 1) / 2) + _MARGIN) if self.canvas > 1 else size

    def find_limit(self, number: int, size: int) -> int:
        """Returns the largest offset of the first, second or third shear (0 to 2) of images of a size, in pixels."""
        return math.ceil(self.offsets[number] * (size + 2 * _MARGIN))


def find_reach(policy: dict[str, Any]) -> Reach:
    """Finds how far the shears of a policy move pixels.

    Args:
        policy: See `policies`.

    Returns:
        `Reach`. It has room for all values of uniform distributions, and for normal ones up to two standard deviations
        from the mean in each operation.
    """
    rotation, shear = (_most(policy, name, 0.0) for name in ("rotation", "shear"))
    if not rotation and not shear:
        return Reach()
    aspect = math.prod(_most(policy, name, 1.0) for name in ("aspect", "zoom_x", "zoom_y"))
    middles = np.linspace(-1, 1, 9) * min(45.0, rotation + shear / 2)
    cases = itertools.product(middles, (-shear, 0.0, shear), (1 / aspect, 1.0, aspect))
    factors = [_factor(middle + angle / 2, angle, ratio**0.5, ratio**-0.5) for middle, angle, ratio in cases]
    offsets, canvases = zip(*map(_measure, factors), strict=True)
    return Reach(tuple(np.max(offsets, axis=0)), float(np.max(canvases)))


def _measure(factors: dict[str, Any]) -> tuple[list[float], float]:
    """Returns the largest offset of each shear, and the canvas, see `Reach`."""
    # Farthest from the middle, in halves of the side: along x after the first shear, then along y, then along x.
    places = [1 + abs(factors["first"])]
    places += [(abs(factors[f"{row}x"]) + abs(factors[f"{row}y"])) / factors[f"scale_{row}"] for row in "yx"]
    offsets = [abs(factors[name]) * place / 2 for name, place in zip(_SHEARS, [1.0, *places], strict=False)]
    return offsets, max(places)


def _most(policy: dict[str, Any], name: str, neutral: float) -> float:
    """Returns the largest magnitude of a value, or the largest factor either way of one whose neutral value is 1."""
    entry = policy.get(name)
    if entry is None:
        return neutral
    if "normal" in entry:
        mean, deviation = entry["normal"]
        low, high = mean - _DEVIATIONS * deviation, mean + _DEVIATIONS * deviation
    else:
        low, high = entry["uniform"]
    if neutral:
        return max(high, 1 / max(low, _MIN_FACTOR))
    return max(abs(low), abs(high))


def _factor(rotation: Any, shear: Any, zoom_x: Any, zoom_y: Any) -> dict[str, Any]:
    """Factors the affine map of an output pixel to the input into a scale of each axis and three shears.

    With scales d and e and shears a, b and c, the map is diag(d, e) [1 c; 0 1] [1 0; b 1] [1 a; 0 1]. The scales are
    those of the zooms where there is no rotation; the nearer it is to 45 degrees, the less they differ, since an image
    that is stretched along one axis would have to be sheared further than one that is not.

    Args:
        rotation: Degrees, such that rotation - shear / 2 is from -45 to 45: float, or float32 `[b]`.
        shear: Degrees from -60 to 60.
        zoom_x: Factor.
        zoom_y: Factor.

    Returns:
        Dict of the map's elements `xx`, `xy`, `yx` and `yy`, the scales `scale_x` and `scale_y`, and the shears
        `first` (a, along x), `second` (b, along y) and `third` (c, along x).
    """
    library = tf.experimental.numpy if tf.is_tensor(rotation) else np
    one, two = (angle * (math.pi / 180) for angle in (rotation, rotation - shear))
    xx, yx = library.cos(one) / zoom_x, library.sin(one) / zoom_x
    xy, yy = -library.sin(two) / zoom_y, library.cos(two) / zoom_y
    area = xx * yy - xy * yx
    # How much of the difference of the zooms the shears take, and half the logarithm of that.
    share = library.sin(2 * one) ** 2
    stretch = share * library.log(zoom_x / zoom_y) / 2
    ratio = xx / yy * library.exp(2 * stretch)
    scale_x, scale_y = (area * ratio) ** 0.5, (area / ratio) ** 0.5
    second = yx / scale_y
    # The shears along x are (e' - 1) / b and (d' - 1) / b, where d' and e' are the diagonal of the product of the
    # shears. Neither has to be 0 where b is, so each is the sum of two parts that are small there.
    kept = (xx * yy / area) ** 0.5
    common = xy / scale_x / (1 + kept)
    # Where the second shear is 0, so is the stretch.
    safe = library.where(second == 0, 1.0, second)
    return {
        **{"xx": xx, "xy": xy, "yx": yx, "yy": yy, "scale_x": scale_x, "scale_y": scale_y, "second": second},
        "first": common + kept * library.expm1(stretch) / safe,
        "third": common + kept * library.expm1(-stretch) / safe,
    }


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
    fill, reach = policy.get("fill", "reflect"), find_reach(policy)
    split, canvas = _split(params), reach.find_canvas(size)
    found: Params = {"swap": split["swap"]}
    if "lens" in params:
        found["places_lens_x"], found["places_lens_y"] = lens.find_places(params["lens"], size)
    for name in "yx":
        found[f"places_{name}"], found[f"weights_{name}"] = _find_places(params, split, name, size, canvas, fill)
    lines = {"offsets_2": canvas, "offsets_1": canvas, "offsets_0": size} if canvas > size else {}
    for name, count in lines.items():
        shear = _SHEARS[int(name[-1])]
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
    reach = find_reach(policy)
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


def _split(params: Params) -> Params:
    """Splits the affine map into a signed permutation of the axes and the rest.

    The image is transposed, flipped, rotated by right angles, rotated, sheared, zoomed and shifted, in this order.

    Args:
        params: See `random_parameters.sample_parameters`.

    Returns:
        What `_factor` returns, `swap` (bool `[b]`, whether the axes are exchanged), `sign_x` and `sign_y` (1 or -1,
        afterwards), and `move_x` and `move_y`, offsets in sides, before the signs. All but `swap` are float32 `[b]`.
    """
    rotation, shear = params["rotation"], params["shear"]
    turns = tf.round((rotation - shear / 2) / 90)
    quarters = tf.cast(turns + params["rotate90"], tf.int32) % 4
    odd = tf.bitwise.bitwise_and(quarters, 1) > 0
    factors = _factor(rotation - 90 * turns, shear, params["zoom_x"], params["zoom_y"])
    # A turn by 90 degrees exchanges the axes, then negates x; one by 270 negates y, one by 180 both.
    sign_x = (1 - 2 * params["flip_x"]) * tf.where((quarters == 1) | (quarters == 2), -1.0, 1.0)
    sign_y = (1 - 2 * params["flip_y"]) * tf.where(quarters >= 2, -1.0, 1.0)
    moves = [-factors[f"{row}x"] * params["shift_x"] - factors[f"{row}y"] * params["shift_y"] for row in "xy"]
    return {
        **factors,
        "swap": odd != (params["transpose"] > 0),
        "sign_x": tf.where(odd, sign_y, sign_x),
        "sign_y": tf.where(odd, sign_x, sign_y),
        "move_x": moves[0],
        "move_y": moves[1],
    }
