"""Augmentation policies: which operations, how likely, and how strong. Reads presets and JSON files of the same form.

A policy is a dict from the name of an operation (see `OPERATIONS`) to its parameters:

- `p`: probability that an image gets the operation; 1 if left out;
- `uniform`: `[low, high]`, or `normal`: `[mean, standard deviation]`: distribution of its value; switches have none;
- `together`: operations with the same label are applied to the same images, so their probabilities must be equal;
- `instead`: operations with the same label exclude each other, so their probabilities must add up to at most 1;
- `count` (dropout): number of holes; `alpha` (mixup, cutmix): parameter of the Beta distribution of the mixing weight.

Two keys are not operations: `fill` (see `geometric.list_stages`) and `pick`: `[n, [operations]]`, of which each image
gets n, sampled uniformly, as in RandAugment (Cubuk et al. 2020); `--augment_strength` is then its magnitude.
"""

import difflib
import logging
from collections.abc import Sequence
from typing import Any

from isic_tf.augmentation import presets
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

_LOG = logging.getLogger(__name__)

# Largest shear in degrees, and range of the zooms and of the aspect.
SHEAR_LIMIT = 60.0
FACTORS = 0.2, 5.0
# Standard deviation of the widest blur, as a fraction of the side.
BLUR_LIMIT = 0.006
MAX_HAIRS = 24
MAX_HOLES = 16
FILLS = ("reflect", "edge", "constant")
# The value that changes nothing, and the range that a value may have. The order fixes which random numbers an
# operation gets.
OPERATIONS = {
    "transpose": (0.0, 0.0, 1.0),
    "flip_x": (0.0, 0.0, 1.0),  # left to right
    "flip_y": (0.0, 0.0, 1.0),
    "rotate90": (0.0, 0.0, 3.0),  # by 0, 90, 180 or 270 degrees, equally likely
    "rotation": (0.0, -3600.0, 3600.0),  # degrees counterclockwise
    "shear": (0.0, -SHEAR_LIMIT, SHEAR_LIMIT),  # degrees s: a pixel (x, y) shows (x + y sin s, y cos s)
    "zoom": (1.0, *FACTORS),  # factor; 2 shows half the side
    "aspect": (1.0, *FACTORS),  # width divided by height
    "zoom_x": (1.0, *FACTORS),
    "zoom_y": (1.0, *FACTORS),
    "shift_x": (0.0, -1.0, 1.0),  # fraction of the side, to the right
    "shift_y": (0.0, -1.0, 1.0),  # fraction of the side, down
    "lens": (0.0, -1.0, 1.0),  # k, see the module `lens`
    "grid": (0.0, 0.0, 1.0),  # m: the width of each cell is sampled from 1 - m to 1 + m
    "hair": (0.0, 0.0, float(MAX_HAIRS)),  # number of hairs, rounded up
    "hue": (0.0, -180.0, 180.0),  # degrees
    "saturation": (1.0, 0.0, 10.0),  # factor
    "saturation_shift": (0.0, -1.0, 1.0),  # added
    "value_shift": (0.0, -1.0, 1.0),  # added
    "local_contrast": (0.0, -1.0, 5.0),  # fraction of the difference from the neighborhood that is added; see `color`
    "gain": (1.0, 0.0, 5.0),  # factor about black
    "contrast": (1.0, 0.0, 10.0),  # factor about the mean of each channel
    "brightness": (0.0, -1.0, 1.0),  # added
    "blur": (0.0, 0.0, BLUR_LIMIT),  # standard deviation, fraction of the side
    "noise": (0.0, 0.0, 0.5),  # standard deviation; white is 1
    "vignette": (1.0, 0.2, 1.0),  # radius of the dermatoscope's round field, fraction of the side
    "dropout": (0.0, 0.0, 1.0),  # side of the holes, fraction of the image's
    "mixup": (1.0, 0.0, 1.0),  # Zhang et al. 2018
    "cutmix": (1.0, 0.0, 1.0),  # Yun et al. 2019
}
SWITCHES = ("transpose", "flip_x", "flip_y", "rotate90")
MIXES = ("mixup", "cutmix")
# Names of release 0.1, in policies that users and runs of that release hold.
RENAMED = {"turn": "rotate90", "microscope": "vignette"}
_MAX_BYTES = 2**20

Policy = dict[str, Any]


def read_policy(name: str, strength: float = 1.0) -> Policy:
    """Reads an augmentation policy and scales its strength.

    Args:
        name: One of `presets.PRESETS`, or the path of a JSON file of the same form.
        strength: Factor on the distance of every value from the value that changes nothing; probabilities stay. 0
            disables all operations.

    Returns:
        Policy: a dict, see the documentation of this module.

    Raises:
        ConfigError: There is no such preset or file, or it does not hold a valid policy.

    Examples:
        >>> read_policy("light")["zoom"]
        {'uniform': [0.89, 1.13]}
        >>> read_policy("light", strength=0)
        {}
    """
    policy = presets.PRESETS[name]() if name in presets.PRESETS else _read_file(name)
    check_policy(policy, name)
    if not strength:
        return {}
    scaled = {}
    for key, entry in policy.items():
        has_value = key in OPERATIONS and bool({"uniform", "normal"} & entry.keys())
        scaled[key] = _scale(entry, *OPERATIONS[key], strength) if has_value else entry
    return scaled


def _scale(entry: Policy, identity: float, low: float, high: float, strength: float) -> Policy:
    if "normal" in entry:
        mean, deviation = entry["normal"]
        return {**entry, "normal": [identity + strength * (mean - identity), strength * deviation]}
    return {**entry, "uniform": [min(max(identity + strength * (v - identity), low), high) for v in entry["uniform"]]}


def check_name(name: str) -> None:
    """Checks that a policy is a preset or a file, which is not read.

    Args:
        name: See `read_policy`.

    Raises:
        ConfigError: It is neither.
    """
    if name not in presets.PRESETS and (not filesystem.exists(name) or filesystem.isdir(name)):
        close = difflib.get_close_matches(name, presets.PRESETS, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise errors.ConfigError(
            f"expected --augment_policy to be {', '.join(presets.PRESETS)} or a JSON file, got {name!r}{meant}"
        )


def _read_file(path: str) -> Any:
    check_name(path)
    with saved_files.explained_damage(path, "a valid augmentation policy", "correct the file or check the path"):
        policy = saved_files.read_json(path, _MAX_BYTES)
        return _rename(policy, path)


def _rename(policy: Any, path: str) -> Any:
    """Replaces operation names of release 0.1."""
    if not isinstance(policy, dict) or not (policy.keys() & RENAMED.keys()):
        return policy
    found = [f"{old} is now {new}" for old, new in RENAMED.items() if old in policy]
    _LOG.warning(f"note: in {path}, {', '.join(found)}; old names will be removed in the next release")
    renamed = {RENAMED.get(key, key): entry for key, entry in policy.items()}
    match renamed.get("pick"):
        case [count, list(names)]:
            renamed["pick"] = [count, [RENAMED.get(one, one) if isinstance(one, str) else one for one in names]]
    return renamed


def check_policy(policy: Any, name: str) -> None:
    """Checks a policy.

    Args:
        policy: What a preset or a JSON file holds.
        name: Name of the policy, for errors.

    Raises:
        ConfigError: An entry is wrong; the error names it and what was expected.
    """
    if not isinstance(policy, dict):
        raise errors.ConfigError(f"{name}: expected an object of operations, got {policy!r}")
    fill = policy.get("fill", "reflect")
    if not isinstance(fill, str) or fill not in FILLS:
        raise errors.ConfigError(f"{name}: expected fill to be one of {', '.join(FILLS)}, got {policy['fill']!r}")
    operations = {key: entry for key, entry in policy.items() if key not in ("fill", "pick")}
    for key, entry in operations.items():
        if key not in OPERATIONS:
            close = difflib.get_close_matches(str(key), OPERATIONS, 1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(OPERATIONS)}"
            raise errors.ConfigError(f"{name}: unknown operation {key!r}; {meant}")
        _check_entry(f"{name}: {key}", key, entry)
    _check_probabilities(name, operations)
    _check_pick(name, policy.get("pick", [0, []]), operations)


def _distribution_keys(operation: str) -> set[str]:
    """Returns the keys of which an operation needs exactly one."""
    if operation in MIXES:
        return {"alpha"}
    return set() if operation in SWITCHES else {"uniform", "normal"}


def _check_entry(place: str, key: str, entry: Any) -> None:
    sampled = _distribution_keys(key)
    optional = {"p", "together", "instead"} | ({"count"} if key == "dropout" else set())
    is_valid = isinstance(entry, dict) and entry.keys() <= sampled | optional
    if not is_valid or (sampled and len(sampled & entry.keys()) != 1):
        wanted = f"{' or '.join(sorted(sampled))}, and optionally " if sampled else ""
        raise errors.ConfigError(f"{place}: expected {wanted}{', '.join(sorted(optional))}, got {entry!r}")
    for name, least, most in (("p", 0, 1), ("alpha", 0.05, 10), ("count", 1, MAX_HOLES)):
        if name in entry and not _are_numbers([entry[name]], least, most):
            raise errors.ConfigError(
                f"{place}: expected {name} to be a number from {least} to {most}, got {entry[name]!r}"
            )
    if not isinstance(entry.get("count", 1), int):
        raise errors.ConfigError(f"{place}: expected count to be a whole number, got {entry['count']!r}")
    _check_values(place, entry, *OPERATIONS[key][1:])


def _check_values(place: str, entry: Policy, low: float, high: float) -> None:
    pair = entry.get("uniform", [low, high])
    if not _is_pair(pair, low, high) or pair[0] > pair[1]:
        raise errors.ConfigError(f"{place}: expected uniform to be [low, high] in {low:g} to {high:g}, got {pair!r}")
    pair = entry.get("normal", [0, 1])
    if not _is_pair(pair, -1e4, 1e4) or pair[1] < 0:
        raise errors.ConfigError(f"{place}: expected normal to be [mean, standard deviation], got {pair!r}")


def _are_numbers(values: Sequence[Any], low: float, high: float) -> bool:
    return all(isinstance(v, (int, float)) and not isinstance(v, bool) and low <= v <= high for v in values)


def _is_pair(values: Any, low: float, high: float) -> bool:
    return isinstance(values, list) and len(values) == 2 and _are_numbers(values, low, high)


def _check_probabilities(name: str, operations: dict[str, Policy]) -> None:
    for word in ("together", "instead"):
        labels = [entry[word] for entry in operations.values() if word in entry]
        if not all(isinstance(label, str) for label in labels):
            raise errors.ConfigError(f"{name}: expected {word} to be a name, got {labels}")
        for label in set(labels):
            probabilities = [entry.get("p", 1.0) for entry in operations.values() if entry.get(word) == label]
            if word == "together" and len(set(probabilities)) > 1:
                raise errors.ConfigError(f"{name}: expected one p for all of {label!r}, got {probabilities}")
            if word == "instead" and sum(probabilities) > 1 + 1e-9:
                raise errors.ConfigError(
                    f"{name}: the probabilities of {label!r} must add up to at most 1, got {sum(probabilities):g}"
                )


def _check_pick(name: str, pick: Any, operations: dict[str, Policy]) -> None:
    try:
        count, names = pick
        is_valid = isinstance(count, int) and 0 <= count <= len(names) and set(names) <= operations.keys()
    except (TypeError, ValueError):
        is_valid = False
    if not is_valid:
        raise errors.ConfigError(f"{name}: expected pick to be [n, [at least n of its operations]], got {pick!r}")
    fixed = [key for key in names if {"p", "together", "instead"} & operations[key].keys()]
    if fixed:
        raise errors.ConfigError(f"{name}: {fixed[0]} is in pick, so it cannot have p, together or instead")
