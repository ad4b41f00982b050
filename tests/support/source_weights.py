"""Weights files of other libraries, made of the weights of a backbone here."""

import json

import numpy as np
import tensorflow as tf

from isic_tf.models.pretrained import naming_schemes


def randomize(network, seed=0):
    """Gives a network made-up weights; kernels keep the features' scale."""
    rng = np.random.default_rng(seed)
    values = []
    for weight in network.weights:
        shape = tuple(weight.shape)
        kind = weight.name.rsplit("/", 1)[-1].removesuffix(":0")
        if kind in ("gamma", "moving_variance"):
            values.append(rng.uniform(0.5, 1.5, shape))
        elif "kernel" in kind:
            fan = np.prod(shape[:2]) if kind == "depthwise_kernel" else np.prod(shape[:-1])
            values.append(rng.normal(0, 1 / np.sqrt(fan), shape))
        else:
            values.append(rng.normal(0, 0.1, shape))
    network.set_weights([value.astype(np.float32) for value in values])
    return network


def make_state_dict(network, scheme, classes=3):
    """The weights of a network under the names and in the order of axes of a library, with a classification layer."""
    sources = naming_schemes.name_sources(network, scheme)
    arrays = {}
    for layer in network.layers:
        for name, weight in zip(sources.get(layer.name, []), layer.get_weights(), strict=True):
            if weight.ndim == 4 and scheme != naming_schemes.KERAS_3:
                is_depthwise = isinstance(layer, tf.keras.layers.DepthwiseConv2D)
                weight = weight.transpose((2, 3, 0, 1) if is_depthwise else (3, 2, 0, 1))
            arrays[name] = np.ascontiguousarray(weight)
    top = {"timm": "classifier", "torchvision": "classifier.1", "efficientnet_pytorch": "_fc"}.get(scheme)
    if top:
        arrays[f"{top}.weight"] = np.zeros([classes, network.output_shape[-1]], np.float32)
        arrays[f"{top}.bias"] = np.zeros([classes], np.float32)
    return arrays


def safetensors_file(arrays, **changes):
    """The content of a .safetensors file of float32 arrays; `changes` of entries of its header."""
    header = {}
    position = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [position, position + 4 * array.size]}
        position += 4 * array.size
    for name, entry in changes.items():
        header[name] = {**header.get(name, {}), **entry}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    content = b"".join(np.asarray(array, "<f4").tobytes() for array in arrays.values())
    return len(text).to_bytes(8, "little") + text + content
