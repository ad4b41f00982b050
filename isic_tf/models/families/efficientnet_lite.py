"""EfficientNet-Lite 0 to 2: EfficientNet without squeeze-and-excitation, with ReLU6 and a stem and head of fixed width.

Quantization loses little of them. Source: the repository tensorflow/tpu, models/official/efficientnet/lite (2020);
EfficientNet: Tan and Le, ICML 2019.
"""

import math
from typing import NamedTuple

import tensorflow as tf

# Factors on width and depth.
_SCALES = {"efficientnet-lite0": (1.0, 1.0), "efficientnet-lite1": (1.0, 1.1), "efficientnet-lite2": (1.1, 1.2)}
_STEM_FILTERS = 32
_HEAD_FILTERS = 1280
# Of the last block; it rises linearly from 0 at the first.
_DROP_RATE = 0.2


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


_STAGES = (
    _Stage(1, 3, 1, 1, 16),
    _Stage(2, 3, 2, 6, 24),
    _Stage(2, 5, 2, 6, 40),
    _Stage(3, 3, 2, 6, 80),
    _Stage(3, 5, 1, 6, 112),
    _Stage(4, 5, 2, 6, 192),
    _Stage(1, 3, 1, 6, 320),
)


class _Block(NamedTuple):
    """A block of a network: `block2a` is the first of the second stage."""

    name: str
    kernel: int
    stride: int
    expansion: int
    filters: int
    drop_rate: float


def build(backbone: str, image_size: int) -> tf.keras.Model:
    """Builds a network with random weights, without its classification layer; see `backbones.build_backbone`."""
    layers = tf.keras.layers
    image = layers.Input((image_size, image_size, 3))
    features = _convolve(image, _STEM_FILTERS, "stem", kernel=3, strides=2)
    for block in _list_blocks(backbone):
        features = _add_block(features, block)
    features = _convolve(features, _HEAD_FILTERS, "top")
    return tf.keras.Model(image, features, name=backbone)


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates the layer from [0, 1] to what the weights expect, (x - 127) / 128 of x in [0, 255]."""
    del backbone
    return tf.keras.layers.Rescaling(255 / 128, -127 / 128, dtype="float32")


def _list_blocks(backbone: str) -> list[_Block]:
    width, depth = _SCALES[backbone]
    # The first and the last stage are not repeated more often.
    repeats = [math.ceil(depth * stage.repeats) for stage in _STAGES]
    repeats[0], repeats[-1] = _STAGES[0].repeats, _STAGES[-1].repeats
    total = sum(repeats)
    blocks: list[_Block] = []
    for number, (stage, count) in enumerate(zip(_STAGES, repeats, strict=True), 1):
        filters = _round_filters(stage.filters * width)
        for position in range(count):
            name = f"block{number}{chr(ord('a') + position)}"
            stride = 1 if position else stage.stride
            drop_rate = _DROP_RATE * len(blocks) / total
            blocks.append(_Block(name, stage.kernel, stride, stage.expansion, filters, drop_rate))
    return blocks


def _round_filters(filters: float) -> int:
    """Rounds to a multiple of 8, but not down by more than a tenth."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * filters else rounded + 8


def _add_block(inputs: tf.Tensor, block: _Block) -> tf.Tensor:
    """Adds an inverted residual block (Sandler et al., CVPR 2018)."""
    layers = tf.keras.layers
    features = inputs
    if block.expansion > 1:
        features = _convolve(features, inputs.shape[-1] * block.expansion, f"{block.name}_expand")
    features = layers.DepthwiseConv2D(
        block.kernel,
        block.stride,
        padding="same",
        use_bias=False,
        depthwise_initializer=_kernel_initializer(),
        name=f"{block.name}_dwconv",
    )(features)
    features = layers.BatchNormalization(name=f"{block.name}_bn")(features)
    features = layers.ReLU(6, name=f"{block.name}_activation")(features)
    features = _convolve(features, block.filters, f"{block.name}_project", activate=False)
    if block.stride > 1 or inputs.shape[-1] != block.filters:
        return features
    # Stochastic depth (Huang et al., ECCV 2016): the whole branch of an example is dropped.
    features = layers.Dropout(block.drop_rate, noise_shape=(None, 1, 1, 1), name=f"{block.name}_drop")(features)
    return layers.Add(name=f"{block.name}_add")([features, inputs])


def _convolve(
    inputs: tf.Tensor, filters: int, name: str, *, kernel: int = 1, strides: int = 1, activate: bool = True
) -> tf.Tensor:
    layers = tf.keras.layers
    features = layers.Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer=_kernel_initializer(),
        name=f"{name}_conv",
    )(inputs)
    features = layers.BatchNormalization(name=f"{name}_bn")(features)
    return layers.ReLU(6, name=f"{name}_activation")(features) if activate else features


def _kernel_initializer() -> tf.keras.initializers.Initializer:
    """The initializer of EfficientNet; a new one each time, since without a seed one object repeats its values."""
    return tf.keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
