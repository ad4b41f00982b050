"""Augmentation policies: which operations, how likely and how strong. Presets, and files of the same form.

A policy is a dict from an operation of `OPERATIONS` to what it draws:

- `p`: chance that an image gets it, 1 where left out;
- `uniform`: `[low, high]`, or `normal`: `[mean, standard deviation]`, of its value; flips have none;
- `together`: operations of one such name are given to the same images, so that their chances must be equal;
- `instead`: operations of one such name exclude each other, so that their chances add up to 1 at most;
- `count` (dropout): number of holes; `alpha` (mixup, cutmix): of the Beta distribution of the share mixed.

Two keys are no operations: `fill` (see `geometric.warp`) and `pick`: `[n, [operations]]`, of which each image gets n, drawn
evenly, as in RandAugment (Cubuk et al. 2020); `--augment_strength` is then its magnitude.
"""

import difflib
import json

from isic_tf.augmentation import color, geometric, occlusion, presets
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

# The value that changes nothing, and the range that a value may have.
OPERATIONS = {
    "transpose": (0.0, 0.0, 1.0),
    "flip_x": (0.0, 0.0, 1.0),  # left to right
    "flip_y": (0.0, 0.0, 1.0),
    "turn": (0.0, 0.0, 3.0),  # by 0, 90, 180 or 270 degrees, each as likely
    "rotation": (0.0, -3600.0, 3600.0),  # degrees counter-clockwise
    "shear": (0.0, -60.0, 60.0),  # degrees s: a pixel (x, y) shows (x + y sin s, y cos s)
    "zoom": (1.0, 0.2, 5.0),  # factor; 2 shows half the side
    "aspect": (1.0, 0.2, 5.0),  # width by height
    "zoom_x": (1.0, 0.2, 5.0),
    "zoom_y": (1.0, 0.2, 5.0),
    "shift_x": (0.0, -1.0, 1.0),  # share of the side, to the right
    "shift_y": (0.0, -1.0, 1.0),  # share of the side, down
    "lens": (0.0, -1.0, 1.0),  # see `geometric.warp`
    "grid": (0.0, 0.0, 1.0),  # m: each cell's width is drawn from 1 - m to 1 + m
    "hair": (0.0, 0.0, float(occlusion.MOST_HAIRS)),  # hairs, rounded up
    "hue": (0.0, -180.0, 180.0),  # degrees
    "saturation": (1.0, 0.0, 10.0),  # factor
    "saturation_shift": (0.0, -1.0, 1.0),  # added
    "value_shift": (0.0, -1.0, 1.0),  # added
    "local_contrast": (0.0, -1.0, 5.0),  # share of the difference from the neighbourhood that is added; see `colour`
    "gain": (1.0, 0.0, 5.0),  # factor about black
    "contrast": (1.0, 0.0, 10.0),  # factor about each channel's mean
    "brightness": (0.0, -1.0, 1.0),  # added
    "blur": (0.0, 0.0, color.BLUR_LIMIT),  # standard deviation, share of the side
    "noise": (0.0, 0.0, 0.5),  # standard deviation; white is 1
    "microscope": (1.0, 0.2, 1.0),  # radius of the field, share of the side
    "dropout": (0.0, 0.0, 1.0),  # side of the holes, share of the image's
    "mixup": (1.0, 0.0, 1.0),  # Zhang et al. 2018
    "cutmix": (1.0, 0.0, 1.0),  # Yun et al. 2019
}
SWITCHES = ("transpose", "flip_x", "flip_y", "turn")
MIXES = ("mixup", "cutmix")


def read_policy(name, strength=1.0):
    """Gives a policy, its values drawn towards or away from those that change nothing.

    Args:
        name: One of `PRESETS`, or the path of a JSON file of the same form.
        strength: Factor on every value's distance from the one that changes nothing; chances stay. 0: no operation.

    Returns:
        Dict, see above.

    Raises:
        IsicError: There is no such preset or file, or it is no policy.
    """
    policy = presets.PRESETS[name]() if name in presets.PRESETS else _read_file(name)
    check_policy(policy, name)
    if not strength:
        return {}
    scaled = {}
    for key, entry in policy.items():
        scaled[key] = entry
        if key in OPERATIONS and ({"uniform", "normal"} & entry.keys()):
            scaled[key] = _scale(entry, *OPERATIONS[key], strength)
    return scaled


def _scale(entry, identity, low, high, strength):
    if "normal" in entry:
        mean, deviation = entry["normal"]
        return {**entry, "normal": [identity + strength * (mean - identity), strength * deviation]}
    return {**entry, "uniform": [min(max(identity + strength * (v - identity), low), high) for v in entry["uniform"]]}


def _read_file(path):
    if not filesystem.exists(path) or filesystem.isdir(path):
        close = difflib.get_close_matches(path, presets.PRESETS, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise errors.ConfigError(
            f"expected --augment_policy to be {', '.join(presets.PRESETS)} or a JSON file, got {path!r}{meant}"
        )
    if filesystem.size(path) > 2**20:
        raise errors.ConfigError(f"{path} is too large for a policy")
    try:
        return json.loads(filesystem.read(path))
    except ValueError as error:
        raise errors.ConfigError(f"{path} is no JSON file: {error}") from error


def check_policy(policy, name):
    """Checks a policy; raises an IsicError that says which entry is wrong and what was expected."""
    if not isinstance(policy, dict):
        raise errors.ConfigError(f"{name}: expected an object of operations, got {policy!r}")
    if policy.get("fill", "reflect") not in geometric.FILLS:
        raise errors.ConfigError(
            f"{name}: expected fill to be one of {', '.join(geometric.FILLS)}, got {policy['fill']!r}"
        )
    operations = {key: entry for key, entry in policy.items() if key not in ("fill", "pick")}
    for key, entry in operations.items():
        if key not in OPERATIONS:
            close = difflib.get_close_matches(str(key), OPERATIONS, 1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(OPERATIONS)}"
            raise errors.ConfigError(f"{name}: {key!r} is no operation; {meant}")
        _check_entry(f"{name}: {key}", key, entry)
    _check_chances(name, operations)
    _check_pick(name, policy.get("pick", [0, []]), operations)


def _check_entry(place, key, entry):
    drawn = {"alpha"} if key in MIXES else set() if key in SWITCHES else {"uniform", "normal"}
    allowed = drawn | {"p", "together", "instead"} | ({"count"} if key == "dropout" else set())
    if not isinstance(entry, dict) or not entry.keys() <= allowed or (drawn and len(drawn & entry.keys()) != 1):
        wanted = f"{' or '.join(sorted(drawn))}, and perhaps " if drawn else ""
        raise errors.ConfigError(f"{place}: expected {wanted}{', '.join(sorted(allowed - drawn))}, got {entry!r}")
    _, low, high = OPERATIONS[key]
    for name, least, most in (("p", 0, 1), ("alpha", 0.05, 10), ("count", 1, occlusion.MOST_HOLES)):
        if name in entry and not _are_numbers([entry[name]], least, most):
            raise errors.ConfigError(
                f"{place}: expected {name} to be a number from {least} to {most}, got {entry[name]!r}"
            )
    if not isinstance(entry.get("count", 1), int):
        raise errors.ConfigError(f"{place}: expected count to be a whole number, got {entry['count']!r}")
    pair = entry.get("uniform", [low, high])
    if not _is_pair(pair, low, high) or pair[0] > pair[1]:
        raise errors.ConfigError(f"{place}: expected uniform to be [low, high] in {low:g} to {high:g}, got {pair!r}")
    pair = entry.get("normal", [0, 1])
    if not _is_pair(pair, -1e4, 1e4) or pair[1] < 0:
        raise errors.ConfigError(f"{place}: expected normal to be [mean, standard deviation], got {pair!r}")


def _are_numbers(values, low, high):
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= high for v in values)


def _is_pair(values, low, high):
    return isinstance(values, list) and len(values) == 2 and _are_numbers(values, low, high)


def _check_chances(name, operations):
    for word in ("together", "instead"):
        for label in {entry[word] for entry in operations.values() if word in entry}:
            chances = [entry.get("p", 1.0) for entry in operations.values() if entry.get(word) == label]
            if word == "together" and len(set(chances)) > 1:
                raise errors.ConfigError(f"{name}: expected one p for all of {label!r}, got {chances}")
            if word == "instead" and sum(chances) > 1 + 1e-9:
                raise errors.ConfigError(
                    f"{name}: the chances of {label!r} must add up to 1 at most, got {sum(chances):g}"
                )


def _check_pick(name, pick, operations):
    try:
        count, names = pick
        right = isinstance(count, int) and 0 <= count <= len(names) and set(names) <= operations.keys()
    except (TypeError, ValueError):
        right = False
    if not right:
        raise errors.ConfigError(f"{name}: expected pick to be [n, [at least n of its operations]], got {pick!r}")
    fixed = [key for key in names if {"p", "together", "instead"} & operations[key].keys()]
    if fixed:
        raise errors.ConfigError(f"{name}: {fixed[0]} is picked, so it can have no p, together or instead")
