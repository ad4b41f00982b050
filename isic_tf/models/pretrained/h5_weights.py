"""Loads HDF5 files in the layout of published weights into backbones, by the names of layers or by their order."""

import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from isic_tf.models import network_layers
from isic_tf.models.pretrained import h5_layout
from isic_tf.models.pretrained.h5_layout import SavedLayer
from tfrecord_tools import errors

# Names that Keras makes up count what the process built before: `conv2d_17`.
_MADE_UP = re.compile(
    r"(conv2d|depthwise_conv2d|separable_conv2d|dense|batch_normalization|layer_normalization|normalization)(_\d+)?"
)
# Layers of a classification layer with weights: MobileNetV3 has two.
_MAX_TOP = 2
# A layer of `tf.keras.applications.EfficientNetB0(weights="imagenet")`, which it lacks with `weights=PATH`; in some
# releases it is a second `rescaling`.
_FACTOR = re.compile(r"tf\.math\.multiply(_\d+)?")
_RESCALING = re.compile(r"rescaling(_\d+)?")
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


class _Layer(NamedTuple):
    """A layer of a network that has weights."""

    name: str
    variables: list[tf.Variable]


class _MisfitError(Exception):
    """What a file holds instead of the weights of a network."""


def load(network: tf.keras.Model, path: str, *, is_published: bool = False) -> None:
    """Loads weights into a backbone; all of them or nothing.

    Layers are found by name where the file has the names of all of them; of names that Keras made up, such as
    `conv2d_17`, only the order counts. Otherwise they are found by order, if no name that both have is at another
    place. What the file has besides may only be a classification layer.

    Args:
        network: The backbone without its classification layer.
        path: Local file that Keras 2 wrote by `save_weights("NAME.h5")`, or by `save` as a complete model.
        is_published: Whether the file is known to be the one that was published: then a stored normalization is that of
            `weights="imagenet"`.

    Raises:
        CorruptRecordError: The file is damaged, or holds weights of another network.

    Examples:
        >>> network = tf.keras.applications.MobileNetV3Small(include_top=False, weights=None)
        >>> load(network, "small.h5")  # doctest: +SKIP
    """
    with h5_layout.opened(path) as layout:
        layers = _list_layers(network)
        saved = layout.layers
        try:
            if not any(_canonical(layer.name) == "normalization" for layer in layers):
                saved = _drop_normalization(layout, is_published)
            values = _read_values(_pair(layers, saved))
        except _MisfitError as misfit:
            counts = f"{len(layout.layers)} layers and {sum(len(layer.arrays) for layer in layout.layers)} arrays"
            raise errors.CorruptRecordError(
                f"expected weights of {network.name} in {path}, {len(layers)} layers, {len(network.weights)} arrays, "
                f"got {counts}: {misfit}; name the file of the same network"
            ) from misfit
    tf.keras.backend.batch_set_value(values)


def _list_layers(model: tf.keras.Model) -> list[_Layer]:
    """Lists the layers with weights in order, those of models within the model in their place."""
    # The order of files, which differs from that of `weights` where a layer is frozen.
    return [
        _Layer(layer.name, [*layer.trainable_weights, *layer.non_trainable_weights])
        for layer in network_layers.list_layers(model)
        if layer.weights
    ]


def _canonical(name: str) -> str:
    """Returns a name without the number that Keras made up."""
    match = _MADE_UP.fullmatch(name)
    return match[1] if match else name


def _number(names: list[str]) -> list[str]:
    """Replaces the numbers that Keras made up by counts from 1; other names stay as they are."""
    counts: dict[str, int] = {}
    numbered = []
    for name in names:
        base = _canonical(name)
        if _MADE_UP.fullmatch(name):
            counts[base] = counts.get(base, 0) + 1
            base = f"{base} {counts[base]}"
        numbered.append(base)
    return numbered


def _pair(layers: list[_Layer], saved: list[SavedLayer]) -> list[tuple[_Layer, SavedLayer]]:
    """Finds the saved layer of each layer."""
    names = _number([layer.name for layer in layers])
    saved_names = _number([layer.name for layer in saved])
    place = {name: number for number, name in enumerate(saved_names)}
    if len(place) == len(saved_names) and place.keys() >= set(names):
        places = [place[name] for name in names]
    else:
        places = list(range(len(layers)))
        _check_order(names, saved_names)
    left_over = sorted(set(range(len(saved))) - set(places))
    if left_over and (left_over[0] != len(layers) or len(left_over) > _MAX_TOP):
        raise _MisfitError(f"{saved[left_over[0]].name} belongs to no layer ({len(left_over)} left over)")
    return [(layer, saved[number]) for layer, number in zip(layers, places, strict=True)]


def _check_order(names: list[str], saved_names: list[str]) -> None:
    missing = [name for name in names if name not in saved_names]
    if len(saved_names) < len(names):
        raise _MisfitError(f"{missing[0]} is missing ({len(missing)} missing)" if missing else "names are repeated")
    shared = set(names) & set(saved_names)
    for name, saved_name in zip(names, saved_names, strict=False):
        if name != saved_name and (name in shared or saved_name in shared):
            raise _MisfitError(f"{saved_name} is at the place of {name}")


def _read_values(pairs: list[tuple[_Layer, SavedLayer]]) -> list[tuple[tf.Variable, np.ndarray]]:
    """Reads the values of all variables, after all shapes were checked."""
    matched = [
        (variable, array)
        for layer, saved in pairs
        for variable, array in zip(layer.variables, _order_arrays(layer, saved), strict=True)
    ]
    for variable, array in matched:
        if tuple(variable.shape) != array.data.shape:
            raise _MisfitError(f"{array.data.name} has the shape {array.data.shape} instead of {tuple(variable.shape)}")
    return [(variable, h5_layout.read_array(array)) for variable, array in matched]


def _order_arrays(layer: _Layer, saved: SavedLayer) -> list[h5_layout.SavedArray]:
    """Returns the arrays of a layer in the order of its variables: by name, where they have the same names."""
    if len(layer.variables) != len(saved.arrays):
        raise _MisfitError(
            f"{saved.name} has {len(saved.arrays)} arrays instead of {len(layer.variables)} of {layer.name}"
        )
    names = [variable.name.rpartition("/")[2].removesuffix(":0") for variable in layer.variables]
    arrays = {array.variable: array for array in saved.arrays}
    return [arrays[name] for name in names] if arrays.keys() == set(names) else saved.arrays


def _drop_normalization(layout: h5_layout.Layout, is_published: bool) -> list[SavedLayer]:
    """Leaves out a stored normalization, as `tf.keras.applications.EfficientNetB0` has; it must be that of ImageNet."""
    stored = [layer for layer in layout.layers if _canonical(layer.name) == "normalization"]
    for layer in stored:
        arrays = {array.variable: array for array in layer.arrays}
        if {"mean", "variance"} - arrays.keys() or any(arrays[name].data.size != 3 for name in ("mean", "variance")):
            raise _MisfitError(f"{layer.name} holds other things than mean and variance")
        mean, variance = (h5_layout.read_array(arrays[name]).ravel() for name in ("mean", "variance"))
        scale = np.sqrt(variance)
        if is_published or _has_factor(layout.layer_names):
            # The library's second factor, without which the published variance gives another network.
            scale = scale * np.sqrt(_IMAGENET_STD)
        if not (np.allclose(mean, _IMAGENET_MEAN, atol=1e-3) and np.allclose(scale, _IMAGENET_STD, atol=1e-3)):
            raise _MisfitError(
                f"{layer.name} divides by {np.round(scale, 3).tolist()} instead of {list(_IMAGENET_STD)}, as "
                "tf.keras.applications.EfficientNet does with weights=PATH: it is another network"
            )
    return [layer for layer in layout.layers if layer not in stored]


def _has_factor(names: list[str]) -> bool:
    rescalings = sum(bool(_RESCALING.fullmatch(name)) for name in names)
    return rescalings > 1 or any(_FACTOR.fullmatch(name) for name in names)
