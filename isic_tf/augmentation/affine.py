"""The affine map of an image: what of it is a permutation of the axes, a scale of each and three shears.

See `geometric` for the method.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.augmentation.policies import FACTORS, SHEAR_LIMIT

SHEARS = ("first", "second", "third")
# Standard deviations from the mean of a normally distributed angle and zoom beyond which they are limited.
_ANGLE_DEVIATIONS = 3
_ZOOM_DEVIATIONS = 2
# Largest stretch with rotation or shear: at 4 the canvas has up to 4.6 sides of the image, at 25 it would have 37.
_MAX_STRETCH = 4.0
# Pixels that a place is interpolated from lie up to so many pixels beyond it.
_MARGIN = 2

Params = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Reach:
    """How far the shears of a policy move pixels.

    Args:
        offsets: Farthest that the first shear (along x), the second (along y) and the third (along x) move a pixel that
            is seen, in sides of the image.
        canvas: Side of the canvas that is sheared, in sides of the image; 1 without rotation and shear.
        rotation: Largest rotation in degrees.
        shear: Largest shear in degrees.
        stretch: Smallest and largest factor by which an image is stretched more along x than along y.
    """

    offsets: tuple[float, float, float] = (0.0, 0.0, 0.0)
    canvas: float = 1.0
    rotation: float = math.inf
    shear: float = SHEAR_LIMIT
    stretch: tuple[float, float] = (0.0, math.inf)

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
        `Reach`. Its limits are the ends of uniform distributions, three standard deviations from the mean of normally
        distributed angles and two from that of each zoom; the stretch is at most 4.
    """
    ends = [_find_ends(policy, name, 0.0, _ANGLE_DEVIATIONS) for name in ("rotation", "shear")]
    rotation, shear = (max(map(abs, pair)) for pair in ends)
    if not rotation and not shear:
        return Reach()
    shear, stretch = min(shear, SHEAR_LIMIT), _find_stretch(policy)
    # What rotates further is turned by right angles.
    most = min(45.0, rotation + shear / 2)
    middles, shears, ratios = np.meshgrid(
        np.linspace(-most, most, 181), np.linspace(-shear, shear, 7), np.geomspace(*stretch, 9)
    )
    factors = factor_map(middles + shears / 2, shears, ratios**0.5, ratios**-0.5)
    # Farthest from the middle, in halves of the side: along x after the first shear, then along y, then along x.
    places = [1 + np.abs(factors["first"])]
    places += [(np.abs(factors[f"{row}x"]) + np.abs(factors[f"{row}y"])) / factors[f"scale_{row}"] for row in "yx"]
    offsets = [np.abs(factors[name]) * place / 2 for name, place in zip(SHEARS, [1.0, *places], strict=False)]
    first, second, third = (float(offset.max()) for offset in offsets)
    return Reach((first, second, third), float(np.max(places)), math.inf if most == 45 else rotation, shear, stretch)


def _find_stretch(policy: dict[str, Any]) -> tuple[float, float]:
    """Finds the smallest and the largest factor by which a policy stretches an image more along x than along y."""
    low, high = 1.0, 1.0
    for name, exponent in (("zoom_x", 1), ("zoom_y", -1), ("aspect", 1)):
        ends = _find_ends(policy, name, 1.0, _ZOOM_DEVIATIONS)
        factors = [min(max(value, FACTORS[0]), FACTORS[1]) ** exponent for value in ends]
        low, high = low * min(factors), high * max(factors)
    return max(low, 1 / _MAX_STRETCH), min(high, _MAX_STRETCH)


def _find_ends(policy: dict[str, Any], name: str, neutral: float, deviations: int) -> tuple[float, float]:
    """Returns the smallest and the largest value of an operation; the neutral one is always possible."""
    entry = policy.get(name, {"uniform": [neutral, neutral]})
    if "normal" in entry:
        mean, deviation = entry["normal"]
        ends = mean - deviations * deviation, mean + deviations * deviation
    else:
        ends = entry["uniform"]
    return min(neutral, *ends), max(neutral, *ends)


def limit_params(params: Params, reach: Reach) -> Params:
    """Limits rotation, shear and stretch to what the canvas has room for; the area that is shown stays.

    Args:
        params: See `random_parameters.sample_parameters`.
        reach: See `find_reach`.

    Returns:
        The parameters with `rotation`, `shear`, `zoom_x` and `zoom_y` within the limits.
    """
    stretch = params["zoom_x"] / params["zoom_y"]
    limited = tf.clip_by_value(stretch, *reach.stretch)
    change = tf.where(limited == stretch, 1.0, tf.sqrt(limited / stretch))
    return params | {
        "rotation": tf.clip_by_value(params["rotation"], -reach.rotation, reach.rotation),
        "shear": tf.clip_by_value(params["shear"], -reach.shear, reach.shear),
        "zoom_x": params["zoom_x"] * change,
        "zoom_y": params["zoom_y"] / change,
    }


def factor_map(rotation: Any, shear: Any, zoom_x: Any, zoom_y: Any) -> dict[str, Any]:
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


def split_map(params: Params) -> Params:
    """Splits the affine map into a signed permutation of the axes and the rest.

    The image is transposed, flipped, rotated by right angles, rotated, sheared, zoomed and shifted, in this order.

    Args:
        params: See `random_parameters.sample_parameters`.

    Returns:
        What `factor_map` returns, `swap` (bool `[b]`, whether the axes are exchanged), `sign_x` and `sign_y` (1 or -1,
        afterwards), and `move_x` and `move_y`, offsets in sides, before the signs. All but `swap` are float32 `[b]`.
    """
    rotation, shear = params["rotation"], params["shear"]
    turns = tf.round((rotation - shear / 2) / 90)
    quarters = tf.cast(turns + params["rotate90"], tf.int32) % 4
    odd = tf.bitwise.bitwise_and(quarters, 1) > 0
    factors = factor_map(rotation - 90 * turns, shear, params["zoom_x"], params["zoom_y"])
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
