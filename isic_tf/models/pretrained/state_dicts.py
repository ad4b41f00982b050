"""Turns the arrays of another library into the weights of a backbone; all of them or nothing."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from isic_tf.models.pretrained import naming_schemes
from tfrecord_tools import errors

# Of PyTorch's wrappers that train a network on several devices.
_PARALLEL = "module."


@dataclasses.dataclass(frozen=True)
class Source:
    """A weights file in memory.

    Attributes:
        path: The file.
        kind: Its format: `PyTorch`, `safetensors`, `NumPy`, `Keras 2` (layers by their names) or `Keras 3`.
        arrays: Dict from name to array, of the file's own dtypes.
    """

    path: str
    kind: str
    arrays: dict[str, np.ndarray]


class Converted(NamedTuple):
    """Weights of a backbone.

    Attributes:
        arrays: float32 arrays in the order of `network.weights`.
        left_out: Names of the arrays that the backbone does not have.
    """

    arrays: list[np.ndarray]
    left_out: list[str]


def strip_parallel(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Names arrays as those of a network that was not trained in parallel.

    Args:
        arrays: Dict from name to array; all names may begin with `module.`.

    Returns:
        The arrays without this prefix.

    Examples:
        >>> list(strip_parallel({"module.bias": np.zeros(2)}))
        ['bias']
    """
    if not all(name.startswith(_PARALLEL) for name in arrays):
        return dict(arrays)
    return {name.removeprefix(_PARALLEL): array for name, array in arrays.items()}


def convert(network: tf.keras.Model, source: Source, scheme: str, epsilon: float) -> Converted:
    """Converts the arrays of a file to the weights of a backbone, in Keras's order of axes.

    Batch normalization adds epsilon to the variance. Where that of the source is another one, gamma is scaled, so that
    the network computes the same.

    Args:
        network: Backbone of one of the three families of EfficientNets.
        source: The file.
        scheme: The names of its arrays, one of `naming_schemes.SCHEMES`.
        epsilon: Epsilon of its batch normalization.

    Returns:
        The weights.

    Raises:
        CorruptRecordError: Arrays are missing, left over, of another shape, or hold values that are not finite.
    """
    sources = naming_schemes.name_sources(network, scheme)
    expected = {name for names in sources.values() for name in names}
    others = [name for name in source.arrays if name not in expected]
    missing = [name for name in sorted(expected) if name not in source.arrays]
    foreign = [name for name in others if not naming_schemes.is_left_out(scheme, name)]
    if missing or foreign:
        found = f"{missing[0]} is missing" if missing else f"{foreign[0]} belongs to no layer"
        raise _misfit(network, source, f"{found} ({len(missing)} missing, {len(foreign)} left over)")
    arrays = []
    for layer in network.layers:
        names = sources.get(layer.name, [])
        own = [_to_keras(layer, source.arrays[name], scheme) for name in names]
        for name, array, weight in zip(names, own, layer.weights, strict=True):
            _check_array(network, source, name, array, tuple(weight.shape))
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            own = _change_epsilon(network, source, names[-1], own, epsilon, layer.epsilon)
        arrays += own
    return Converted(arrays, others)


def _to_keras(layer: tf.keras.layers.Layer, array: np.ndarray, scheme: str) -> np.ndarray:
    if array.ndim == 4 and scheme != naming_schemes.KERAS_3:
        # From [out, in, height, width]; the second of a depthwise kernel is 1.
        is_depthwise = isinstance(layer, tf.keras.layers.DepthwiseConv2D)
        array = array.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))
    return np.ascontiguousarray(array, np.float32)


def _check_array(
    network: tf.keras.Model, source: Source, name: str, array: np.ndarray, expected: tuple[int, ...]
) -> None:
    if array.shape != expected:
        shape = source.arrays[name].shape
        in_keras = "" if shape == array.shape else f", which is {array.shape} in Keras's order,"
        raise _misfit(network, source, f"{name} has the shape {shape}{in_keras} instead of {expected}")
    if not np.isfinite(array).all():
        raise _misfit(network, source, f"{name} holds values that are not finite")


def _change_epsilon(
    network: tf.keras.Model, source: Source, name: str, arrays: list[np.ndarray], old: float, new: float
) -> list[np.ndarray]:
    gamma, beta, mean, variance = arrays
    if variance.min() < 0:
        raise _misfit(network, source, f"{name} holds negative variances")
    if old == new:
        return arrays
    factor = np.sqrt((variance.astype(np.float64) + new) / (variance.astype(np.float64) + old))
    return [(gamma * factor).astype(np.float32), beta, mean, variance]


def _misfit(network: tf.keras.Model, source: Source, found: str) -> errors.CorruptRecordError:
    return errors.CorruptRecordError(
        f"expected weights of {network.name} in {source.path}, but {found}; name a file of the same network, or "
        "another --backbone"
    )
