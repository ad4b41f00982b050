"""Saves and loads set models; a loaded file is checked before its sizes are used."""

import hashlib
import io
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from isic_tf.artifacts import safe_npz
from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.patient_context.config import SET_FACTS_FILE, SET_WEIGHTS_FILE
from isic_tf.patient_context.set_model import SetModel
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, saved_files

_VERSION = 1
_ARRAYS = ("mean", "scale", "missing")
_NUMBERS = ("slope", "intercept", "share")
# Upper limits of what a file may ask for: many times what `fit` makes of a thousand inputs.
_MAX_BYTES = 2**28
_MAX_MEMBERS = 64
_MAX_NETWORK = {"dim": 2**16, "units": 1024, "heads": 64, "blocks": 16}


def save(model: SetModel, directory: str) -> None:
    """Writes a model into a directory: `set.npz`, and last `set.json`, which holds its checksum."""
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    for number, weights in enumerate(model.members):
        for place, weight in enumerate(weights):
            arrays[f"member{number}_{place}"] = weight
    path = os.path.join(directory, SET_WEIGHTS_FILE)
    safe_npz.save(path, arrays)
    facts = {
        "version": _VERSION,
        "sha256": filesystem.compute_sha256(path),
        **{name: getattr(model, name) for name in _NUMBERS},
        "members": len(model.members),
        "network": model.network,
    }
    atomic_write.write_text(
        os.path.join(directory, SET_FACTS_FILE), json.dumps(facts, indent=1, allow_nan=False) + "\n"
    )


def load(directory: str) -> SetModel:
    """Reads what `save` wrote.

    Args:
        directory: See `save`.

    Returns:
        `SetModel`.

    Raises:
        CorruptRecordError: A file is missing or damaged.
    """
    with saved_files.explained_damage(
        directory, "a valid set model", "write it again with isic_tf.context --method=set"
    ):
        facts = saved_files.read_json(_find(directory, SET_FACTS_FILE), _MAX_BYTES)
        content = filesystem.read(_find(directory, SET_WEIGHTS_FILE))
        if facts["version"] != _VERSION or facts["sha256"] != hashlib.sha256(content).hexdigest():
            raise errors.CorruptRecordError(
                f"{SET_WEIGHTS_FILE} is not the file that {SET_FACTS_FILE} was written with"
            )
        return _assemble(facts, safe_npz.unpack(io.BytesIO(content), _MAX_BYTES))


def _find(directory: str, name: str) -> str:
    path = os.path.join(directory, name)
    if not filesystem.exists(path):
        raise errors.CorruptRecordError(f"{name} does not exist")
    if filesystem.size(path) > _MAX_BYTES:
        raise errors.CorruptRecordError(f"{name} has more than {_MAX_BYTES} bytes")
    return path


def _assemble(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> SetModel:
    """Creates a model from the content of its files; raises where they do not fit together."""
    network = facts["network"]
    for name, most in _MAX_NETWORK.items():
        _check_size(name, network[name], most)
    _check_size("members", facts["members"], _MAX_MEMBERS)
    saved_files.check_numbers(facts, _NUMBERS)
    numbers = [float(facts[name]) for name in _NUMBERS]
    mean, scale, missing = (arrays[name] for name in _ARRAYS)
    _check_inputs(mean, scale, missing, network["dim"])
    # Before a network of this size is built.
    if facts["members"] * network["blocks"] * network["units"] > sum(array.size for array in arrays.values()):
        raise errors.CorruptRecordError("the weights do not fit the network")
    shapes = [weight.shape for weight in build_set_transformer(**network).weights]
    members = [
        [arrays[f"member{number}_{place}"] for place in range(len(shapes))] for number in range(facts["members"])
    ]
    if any([weight.shape for weight in weights] != shapes for weights in members):
        raise errors.CorruptRecordError("the weights do not fit the network")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise errors.CorruptRecordError("a weight is NaN or infinite")
    slope, intercept, share = numbers
    return SetModel(mean, scale, missing, slope, intercept, share, network, members)


def _check_size(name: str, value: Any, most: int) -> None:
    if type(value) is not int or not 1 <= value <= most:
        raise errors.CorruptRecordError(f"expected {name} from 1 to {most}, got {value!r}")


def _check_inputs(mean: np.ndarray, scale: np.ndarray, missing: np.ndarray, dim: int) -> None:
    width = len(mean) + int(missing.sum()) + 1
    if {mean.shape, scale.shape, missing.shape} != {(len(mean),)} or dim != width or missing.dtype != bool:
        raise errors.CorruptRecordError("the inputs do not fit the network")
