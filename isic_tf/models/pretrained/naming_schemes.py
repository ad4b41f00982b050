"""How libraries name the arrays of an EfficientNet, by the layers of the same network here."""

import re
from collections.abc import Iterable, Mapping

import tensorflow as tf

TIMM = "timm"
TORCHVISION = "torchvision"
EFFICIENTNET_PYTORCH = "efficientnet_pytorch"
KERAS_3 = "Keras 3"
# The array by which a scheme is known: the kernel of the first convolution.
_STEMS = {
    TIMM: "conv_stem.weight",
    TORCHVISION: "features.0.0.weight",
    EFFICIENTNET_PYTORCH: "_conv_stem.weight",
    KERAS_3: "layers/conv2d/vars/0",
}
SCHEMES = tuple(_STEMS)
# What no backbone has: the classification layer, counters of batches, and Keras's normalization of the input.
_LEFT_OUT = {
    TIMM: r"classifier\.(weight|bias)|.*\.num_batches_tracked",
    TORCHVISION: r"classifier\.1\.(weight|bias)|.*\.num_batches_tracked",
    EFFICIENTNET_PYTORCH: r"_fc\.(weight|bias)|.*\.num_batches_tracked",
    KERAS_3: r"layers/(dense|normalization)/vars/\d|(optimizer|_layer_checkpoint_dependencies|metrics|compile)/.*",
}
# Layers within a block, by the convolutions that it has: of them, expand_conv and dwconv.
_SEPARABLE, _INVERTED, _FUSED, _PLAIN = ("dwconv",), ("expand_conv", "dwconv"), ("expand_conv",), ()
_PARTS: dict[str, dict[tuple[str, ...], dict[str, str]]] = {
    TIMM: {
        _SEPARABLE: {"dwconv": "conv_dw", "bn": "bn1", "project_conv": "conv_pw", "project_bn": "bn2"},
        _INVERTED: {
            "expand_conv": "conv_pw",
            "expand_bn": "bn1",
            "dwconv": "conv_dw",
            "bn": "bn2",
            "project_conv": "conv_pwl",
            "project_bn": "bn3",
        },
        _FUSED: {"expand_conv": "conv_exp", "expand_bn": "bn1", "project_conv": "conv_pwl", "project_bn": "bn2"},
        _PLAIN: {"project_conv": "conv", "project_bn": "bn1"},
    },
    TORCHVISION: {
        _SEPARABLE: {
            "dwconv": "0.0",
            "bn": "0.1",
            "se_reduce": "1.fc1",
            "se_expand": "1.fc2",
            "project_conv": "2.0",
            "project_bn": "2.1",
        },
        _INVERTED: {
            "expand_conv": "0.0",
            "expand_bn": "0.1",
            "dwconv": "1.0",
            "bn": "1.1",
            "se_reduce": "2.fc1",
            "se_expand": "2.fc2",
            "project_conv": "3.0",
            "project_bn": "3.1",
        },
        _FUSED: {"expand_conv": "0.0", "expand_bn": "0.1", "project_conv": "1.0", "project_bn": "1.1"},
        _PLAIN: {"project_conv": "0.0", "project_bn": "0.1"},
    },
}
_TIMM_SE = {"se_reduce": "se.conv_reduce", "se_expand": "se.conv_expand"}
_FLAT_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "se_reduce": "_se_reduce",
    "se_expand": "_se_expand",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_OUTER = {
    TIMM: {"stem_conv": "conv_stem", "stem_bn": "bn1", "top_conv": "conv_head", "top_bn": "bn2"},
    TORCHVISION: {
        "stem_conv": "features.0.0",
        "stem_bn": "features.0.1",
        "top_conv": "features.{top}.0",
        "top_bn": "features.{top}.1",
    },
    EFFICIENTNET_PYTORCH: {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"},
}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
_CONVOLUTION = ("weight", "bias")
_BLOCK = re.compile(r"block(\d+)([a-z])_(.+)")
_KERAS_GROUPS = {"Conv2D": "conv2d", "DepthwiseConv2D": "depthwise_conv2d", "BatchNormalization": "batch_normalization"}


def find_scheme(names: Iterable[str]) -> str:
    """Finds which library named the arrays of a file.

    Args:
        names: Names of arrays.

    Returns:
        One of `SCHEMES`; "" for another network or library.

    Examples:
        >>> find_scheme(["_conv_stem.weight", "_bn0.weight"])
        'efficientnet_pytorch'
    """
    known = set(names)
    return next((scheme for scheme, stem in _STEMS.items() if stem in known), "")


def is_left_out(scheme: str, name: str) -> bool:
    """Returns whether an array is one that a backbone does not have, such as those of the classification layer."""
    return re.fullmatch(_LEFT_OUT[scheme], name) is not None


def name_sources(network: tf.keras.Model, scheme: str) -> dict[str, list[str]]:
    """Names the arrays of each layer of a backbone as a library does.

    Args:
        network: Backbone of one of the three families of EfficientNets.
        scheme: One of `SCHEMES`.

    Returns:
        Dict from the name of a layer with weights to the names of its arrays, in the order of its weights.

    Examples:
        >>> from isic_tf.models import backbones
        >>> network = backbones.build_backbone("efficientnet-b0", 32)
        >>> name_sources(network, "timm")["block1a_dwconv"]
        ['blocks.0.0.conv_dw.weight']
    """
    layers = [layer for layer in network.layers if layer.weights]
    if scheme == KERAS_3:
        return _name_keras(layers)
    blocks = _list_blocks([layer.name for layer in layers])
    top = str(1 + max(int(stage) for stage, _ in blocks))
    sources = {}
    for layer in layers:
        match = _BLOCK.fullmatch(layer.name)
        if match:
            prefix = _name_block_layer(scheme, blocks, (match[1], match[2]), _normalize(match[3]))
        else:
            prefix = _OUTER[scheme][layer.name].format(top=top)
        is_norm = isinstance(layer, tf.keras.layers.BatchNormalization)
        endings = (_BATCH_NORM if is_norm else _CONVOLUTION)[: len(layer.weights)]
        sources[layer.name] = [f"{prefix}.{ending}" for ending in endings]
    return sources


def _list_blocks(names: list[str]) -> dict[tuple[str, str], set[str]]:
    """Lists the blocks in order, by stage and letter, with their parts."""
    blocks: dict[tuple[str, str], set[str]] = {}
    for name in names:
        match = _BLOCK.fullmatch(name)
        if match:
            blocks.setdefault((match[1], match[2]), set()).add(_normalize(match[3]))
    return blocks


def _normalize(part: str) -> str:
    # As EfficientNetV2 of `tf.keras.applications` calls it.
    return "dwconv" if part == "dwconv2" else part


def _name_block_layer(
    scheme: str, blocks: Mapping[tuple[str, str], set[str]], block: tuple[str, str], part: str
) -> str:
    if scheme == EFFICIENTNET_PYTORCH:
        return f"_blocks.{list(blocks).index(block)}.{_FLAT_PARTS[part]}"
    stage, place = int(block[0]), ord(block[1]) - ord("a")
    parts = _PARTS[scheme][tuple(name for name in _INVERTED if name in blocks[block])]
    if scheme == TIMM:
        return f"blocks.{stage - 1}.{place}.{ {**parts, **_TIMM_SE}[part] }"
    return f"features.{stage}.{place}.block.{parts[part]}"


def _name_keras(layers: list[tf.keras.layers.Layer]) -> dict[str, list[str]]:
    """Names the layers by class and position, as Keras 3 does in its files."""
    counts: dict[str, int] = {}
    sources = {}
    for layer in layers:
        group = _KERAS_GROUPS[type(layer).__name__]
        number = counts.get(group, 0)
        counts[group] = number + 1
        path = f"layers/{group}_{number}" if number else f"layers/{group}"
        sources[layer.name] = [f"{path}/vars/{place}" for place in range(len(layer.weights))]
    return sources
