"""Reads the arrays of a `.weights.h5` file of Keras straight, in a fourth of the time that Keras takes.

Keras asks every attribute of every layer, among them the configuration of the whole network, before it reads an array.
"""

from collections.abc import Iterator

import h5py
import numpy as np
import tensorflow as tf
from tf_keras.src.utils import generic_utils

from isic_tf.models.pretrained import h5_layout

_VARIABLES = "vars"


def read_arrays(model: tf.keras.Model, path: str) -> list[np.ndarray] | None:
    """Reads the weights of a model from a file, if the file has exactly what the model's layers need.

    Args:
        model: Keras model.
        path: Local file that `save_weights("NAME.weights.h5")` wrote.

    Returns:
        Arrays in the order of `model.weights`; None where layers of the model hold other layers or load themselves, or
        the file is damaged, of another network or of another layout: Keras itself then loads it, or says what is wrong.

    Examples:
        >>> model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
        >>> model.save_weights("small.weights.h5")  # doctest: +SKIP
        >>> [array.shape for array in read_arrays(model, "small.weights.h5")]  # doctest: +SKIP
        [(2, 1), (1,)]
    """
    arrays: dict[int, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            for place, layer in _list_places(model, ""):
                if type(layer).load_own_variables is not tf.keras.layers.Layer.load_own_variables:
                    return None
                # The order of files; that of `weights` differs where a layer is frozen.
                variables = [*layer._trainable_weights, *layer._non_trainable_weights]
                saved = h5_layout.find(file, f"{place}/{_VARIABLES}")
                if len(saved) != len(variables):
                    return None
                for number, variable in enumerate(variables):
                    data = h5_layout.find(saved, str(number))
                    if data.is_virtual or data.external:
                        return None
                    if data.shape != tuple(variable.shape) or data.dtype != variable.dtype.as_numpy_dtype:
                        return None
                    arrays[id(variable)] = data[()]
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError):
        return None
    weights = model.weights
    return [arrays[id(variable)] for variable in weights] if arrays.keys() == {id(one) for one in weights} else None


def _list_places(model: tf.keras.Model, inside: str) -> Iterator[tuple[str, tf.keras.layers.Layer]]:
    """Lists the layers of a model, and of models within it, with their groups in the file."""
    counts: dict[str, int] = {}
    for layer in model.layers:
        name = generic_utils.to_snake_case(type(layer).__name__)
        counts[name] = counts.get(name, -1) + 1
        place = f"{inside}layers/{name}_{counts[name]}" if counts[name] else f"{inside}layers/{name}"
        if isinstance(layer, tf.keras.Model):
            yield from _list_places(layer, f"{place}/")
        else:
            yield place, layer
