"""Layer-wise learning-rate decay: which factor on the learning rate each weight of a backbone has."""

import re
from typing import Any

import tensorflow as tf

from isic_tf.models import network_layers

# What the names of a block's layers have in common, and no other layer's, for each family of networks.
_BLOCK = re.compile(
    "|".join(
        (
            r"\bblock\d+[a-z]_",  # EfficientNet, V2 and Lite: block2a_expand_conv
            r"_stage_\d+_block_\d+_",  # ConvNeXt: convnext_tiny_stage_0_block_1_layernorm
            r"BlockGroup\d+__block_\d+_",  # ResNet-RS: BlockGroup2__block_0__conv_1
            r"_Stage_\d+_[XYZ]Block_\d+_",  # RegNet: regnetx002_Stage_1_XBlock_0_conv_3x3
            r"\bconv\d+_block\d+_",  # DenseNet, ResNet: conv2_block1_1_conv
            r"\bexpanded_conv(_\d+)?/",  # MobileNetV3: expanded_conv_3/depthwise
        )
    )
)
# Of a network whose names tell no blocks, as in the source of ConvNeXt.
_GROUPS = 12


def find_factors(backbone: tf.keras.Model, decay: float) -> dict[Any, float]:
    """Finds the factor on the learning rate of each weight of a backbone.

    The last block has the factor `decay`, the block before it `decay` squared, and so on down to the stem, as in BEiT
    (Bao et al., ICLR 2022) and ConvNeXt (Liu et al., CVPR 2022). Layers after the last block, such as the last
    convolution of EfficientNet, have the factor 1, as the classifier's head has; layers between two blocks belong to
    the block after them.

    Args:
        backbone: Keras model, see `backbones.build_backbone`. Blocks are found by the names of the layers; if they tell
            none, as in a network of the user's own, the layers with weights are split in order into twelve equal
            groups.
        decay: Factor from one block to the block before it, in (0, 1].

    Returns:
        Dict from the reference of a variable, `variable.ref()`, to its factor.

    Examples:
        >>> from isic_tf.models.backbones import build_backbone
        >>> backbone = build_backbone("efficientnet-lite0", 32)
        >>> factors = find_factors(backbone, 0.9)
        >>> names = ("stem_conv", "block1a_dwconv", "block6d_dwconv", "block7a_dwconv", "top_conv")
        >>> [round(factors[backbone.get_layer(name).weights[0].ref()], 3) for name in names]
        [0.167, 0.185, 0.81, 0.9, 1.0]
    """
    layers = [layer for layer in network_layers.list_layers(backbone) if layer.weights]
    heights = _count_blocks_by_name(layers) or _count_equal_groups(len(layers))
    # Weights of no layer, such as a position embedding, are taken with the stem.
    lowest = max(heights, default=0)
    factors = {variable.ref(): decay**lowest for variable in backbone.weights}
    for layer, height in zip(layers, heights, strict=True):
        factors |= {variable.ref(): decay**height for variable in layer.weights}
    return factors


def _count_blocks_by_name(layers: list[tf.keras.layers.Layer]) -> list[int]:
    """Counts the blocks from each layer to the head; an empty list if no layer is named as one of a block."""
    found = [_BLOCK.search(layer.name) for layer in layers]
    names = [match[0] if match else "" for match in found]
    total = len(set(names) - {""})
    if not total:
        return []
    # From the head down: a layer of no block takes the number of the block that was met before it.
    heights = []
    met: set[str] = set()
    for name in reversed(names):
        if name:
            met.add(name)
        heights.append(len(met))
    # What comes before the first block is the stem.
    first = next(position for position, name in enumerate(names) if name)
    return [total + 1] * first + heights[::-1][first:]


def _count_equal_groups(count: int) -> list[int]:
    groups = min(_GROUPS, count)
    return [groups - position * groups // count for position in range(count)]
