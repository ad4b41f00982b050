"""EfficientNet B0 to B7 and L2 (Tan and Le, ICML 2019; L2: Xie et al., CVPR 2020), by the package `efficientnet`."""

import efficientnet.model
import tensorflow as tf

# The package raises the rate of stochastic depth to 0.2 as if every network had the 16 blocks of B0: that of L2, with
# 88, would exceed 1. The others are left unchanged, since published scores were reached with them.
_L2_DROP_RATE = 0.2 * 16 / 88
# Statistics of ImageNet in [0, 1], RGB.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def build(backbone: str, image_size: int) -> tf.keras.Model:
    """Builds a network with random weights, without its classification layer; see `backbones.build_backbone`."""
    create = getattr(efficientnet.model, f"EfficientNet{backbone.removeprefix('efficientnet-').upper()}")
    # `efficientnet.tfkeras` would import tensorflow.keras, which is Keras 3 where TensorFlow was imported before us.
    options = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
    if backbone == "efficientnet-l2":
        options["drop_connect_rate"] = _L2_DROP_RATE
    return create(include_top=False, weights=None, input_shape=(image_size, image_size, 3), **options)


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates the layer from [0, 1] to what the weights expect: mean 0 and deviation 1 over ImageNet ('torch' mode)."""
    del backbone
    scale = [1 / std for std in _IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
    return tf.keras.layers.Rescaling(scale, offset, dtype="float32")
