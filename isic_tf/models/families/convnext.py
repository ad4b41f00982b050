"""ConvNeXt T to XL (Liu et al., CVPR 2022), with the weights and names of layers of `tf.keras.applications`.

The library's own network nests its downsampling in models, whose layers could not be frozen one by one; it has no
stochastic depth; and its depthwise convolutions are grouped ones, which only XLA can train on CPUs.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.models.families import efficientnet

# Depths and widths of the four stages, and the largest rate of stochastic depth: that of training on ImageNet-1k, for
# XL, which was trained on ImageNet-22k first, that of fine-tuning on ImageNet-1k (facebookresearch/ConvNeXt).
_VARIANTS = {
    "convnext-tiny": ((3, 3, 9, 3), (96, 192, 384, 768), 0.1),
    "convnext-small": ((3, 3, 27, 3), (96, 192, 384, 768), 0.4),
    "convnext-base": ((3, 3, 27, 3), (128, 256, 512, 1024), 0.5),
    "convnext-large": ((3, 3, 27, 3), (192, 384, 768, 1536), 0.5),
    "convnext-xlarge": ((3, 3, 27, 3), (256, 512, 1024, 2048), 0.4),
}
_LAYER_SCALE = 1e-6


class DepthwiseConvolution(tf.keras.layers.Layer):
    """Convolution of each channel with a kernel of its own, 7 x 7, and a bias.

    The kernel has the shape of a grouped convolution, `[7, 7, 1, f]`, as in published weights.
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the kernel and the bias."""
        features = input_shape[-1]
        self.kernel = self.add_weight("kernel", (7, 7, 1, features), initializer=_initializer())
        self.bias = self.add_weight("bias", (features,), initializer="zeros")

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Convolves `[b, h, w, f]`, padded with zeros to the same size."""
        kernel = tf.transpose(self.kernel, [0, 1, 3, 2])
        return tf.nn.bias_add(tf.nn.depthwise_conv2d(features, kernel, [1, 1, 1, 1], "SAME"), self.bias)


class LayerScale(tf.keras.layers.Layer):
    """Multiplies each channel by a learned factor, initially 1e-6 (Touvron et al., ICCV 2021)."""

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the factors."""
        self.gamma = self.add_weight(
            "gamma", (input_shape[-1],), initializer=tf.keras.initializers.Constant(_LAYER_SCALE)
        )

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Scales `[b, h, w, f]`."""
        return features * self.gamma


def build(backbone: str, image_size: int) -> tf.keras.Model:
    """Builds a network with random weights, without its classification layer.

    As in the library, it ends in the layer normalization of each position, which the classifier of the paper applies
    after pooling instead.

    Args:
        backbone: One of `names.FAMILIES`.
        image_size: Side S in pixels, 32 or more.

    Returns:
        Keras model from normalized float32 `[b, S, S, 3]` to features `[b, S // 32, S // 32, f]`.

    Examples:
        >>> build("convnext-tiny", 64).output_shape
        (None, 2, 2, 768)
    """
    depths, widths, last_rate = _VARIANTS[backbone]
    prefix = backbone.replace("-", "_")
    rates = iter(np.linspace(0.0, last_rate, sum(depths)))
    inputs = tf.keras.Input((image_size, image_size, 3))
    features = inputs
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
        features = _downsample(features, width, stage, prefix)
        for block in range(depth):
            features = _add_block(features, float(next(rates)), f"{prefix}_stage_{stage}_block_{block}")
    return tf.keras.Model(inputs, _normalize(features, f"{prefix}_head_layernorm"), name=backbone)


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates the layer from [0, 1] to what the weights expect: mean and standard deviation of ImageNet."""
    return efficientnet.make_normalization(backbone)


def _downsample(features: tf.Tensor, width: int, stage: int, prefix: str) -> tf.Tensor:
    options: dict[str, Any] = {"kernel_initializer": _initializer()}
    if stage == 0:
        stem = tf.keras.layers.Conv2D(width, 4, 4, name=f"{prefix}_stem_conv", **options)
        return _normalize(stem(features), f"{prefix}_stem_layernorm")
    normalized = _normalize(features, f"{prefix}_downsampling_layernorm_{stage - 1}")
    return tf.keras.layers.Conv2D(width, 2, 2, name=f"{prefix}_downsampling_conv_{stage - 1}", **options)(normalized)


def _add_block(inputs: tf.Tensor, drop_rate: float, prefix: str) -> tf.Tensor:
    """Adds a residual block; in training, the branch of each image is dropped at the given rate."""
    layers = tf.keras.layers
    width = inputs.shape[-1]
    features = DepthwiseConvolution(name=f"{prefix}_depthwise_conv")(inputs)
    features = _normalize(features, f"{prefix}_layernorm")
    features = layers.Dense(4 * width, kernel_initializer=_initializer(), name=f"{prefix}_pointwise_conv_1")(features)
    features = layers.Activation("gelu", name=f"{prefix}_gelu")(features)
    features = layers.Dense(width, kernel_initializer=_initializer(), name=f"{prefix}_pointwise_conv_2")(features)
    features = LayerScale(name=f"{prefix}_layer_scale")(features)
    if drop_rate:
        # A layer whose random state checkpoints hold; that of the library draws from the global state.
        drop = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{prefix}_stochastic_depth")
        features = drop(features)
    return layers.Add(name=f"{prefix}_add")([inputs, features])


def _normalize(features: tf.Tensor, name: str) -> tf.Tensor:
    return tf.keras.layers.LayerNormalization(epsilon=1e-6, name=name)(features)


def _initializer() -> tf.keras.initializers.Initializer:
    """Creates the initializer of the paper."""
    return tf.keras.initializers.TruncatedNormal(stddev=0.02)
