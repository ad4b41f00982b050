"""Reads the arrays of a `.weights.h5` file of Keras straight, in less than a fourth of the time that Keras takes.

Keras asks every attribute of every layer, among them the configuration of the whole network, before it reads an array.
"""

import math
import os
from collections.abc import Iterator, Mapping

import h5py
import numpy as np
import tensorflow as tf
from tf_keras.src.utils import generic_utils

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
    places = find_places(model)
    arrays = None if places is None else read_all(path)
    if places is None or arrays is None or not fits(arrays, places):
        return None
    return [arrays[places[id(variable)][0]] for variable in model.weights]


def find_places(model: tf.keras.Model) -> dict[int, tuple[str, tf.Variable]] | None:
    """Finds where a file of the model's weights holds each of its variables.

    Args:
        model: Keras model.

    Returns:
        Name of the array in the file, and the variable, by the variable's `id`; None where layers of the model hold
        other layers or load themselves.

    Examples:
        >>> model = tf.keras.Sequential([tf.keras.Input((2,)), tf.keras.layers.Dense(1)])
        >>> [name for name, variable in find_places(model).values()]
        ['layers/dense/vars/0', 'layers/dense/vars/1']
    """
    found: dict[int, tuple[str, tf.Variable]] = {}
    for place, layer in _list_layers(model, ""):
        if type(layer).load_own_variables is not tf.keras.layers.Layer.load_own_variables:
            return None
        # The order of files; that of `weights` differs where a layer is frozen.
        variables = [*layer._trainable_weights, *layer._non_trainable_weights]
        found.update({id(one): (f"{place}/{_VARIABLES}/{number}", one) for number, one in enumerate(variables)})
    return found if found.keys() == {id(one) for one in model.weights} else None


def fits(arrays: Mapping[str, np.ndarray], places: dict[int, tuple[str, tf.Variable]]) -> bool:
    """Returns whether the arrays of a file are those of a model's variables: names, shapes and types of all."""
    expected = {name: (tuple(variable.shape), variable.dtype.as_numpy_dtype) for name, variable in places.values()}
    return {name: (array.shape, array.dtype.type) for name, array in arrays.items()} == expected


def read_all(path: str) -> dict[str, np.ndarray] | None:
    """Reads all arrays of a file.

    Args:
        path: Local HDF5 file.

    Returns:
        The arrays by their names, without those behind links; None where the file is damaged, or stores numbers other
        than one after the other, as Keras does: the memory that they take is then no more than the file's.
    """
    try:
        with h5py.File(path, "r") as file:
            names: list[bytes] = []
            h5py.h5o.visit(file.id, names.append)
            arrays = {}
            left = os.path.getsize(path)
            for name in names:
                # The high-level interface takes twice as long.
                data = h5py.h5o.open(file.id, name)
                if isinstance(data, h5py.h5d.DatasetID):
                    size = math.prod(data.shape) * data.dtype.itemsize
                    # Arrays may lie at one place.
                    left -= size
                    if data.get_offset() is None or data.get_storage_size() != size or left < 0:
                        return None
                    array = arrays[name.decode()] = np.empty(data.shape, data.dtype)
                    data.read(h5py.h5s.ALL, h5py.h5s.ALL, array)
            return arrays
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, UnicodeDecodeError, MemoryError):
        return None


def _list_layers(model: tf.keras.Model, inside: str) -> Iterator[tuple[str, tf.keras.layers.Layer]]:
    """Lists the layers of a model, and of models within it, with their groups in the file."""
    counts: dict[str, int] = {}
    for layer in model.layers:
        name = generic_utils.to_snake_case(type(layer).__name__)
        counts[name] = counts.get(name, -1) + 1
        place = f"{inside}layers/{name}_{counts[name]}" if counts[name] else f"{inside}layers/{name}"
        if isinstance(layer, tf.keras.Model):
            yield from _list_layers(layer, f"{place}/")
        else:
            yield place, layer
