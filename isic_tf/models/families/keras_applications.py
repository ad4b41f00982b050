"""ResNet-RS, RegNet, DenseNet and MobileNetV3 as in `tf.keras.applications`.

Sources: ResNet-RS: Bello et al., NeurIPS 2021; RegNetX and RegNetY: Radosavovic et al., CVPR 2020; DenseNet: Huang et
al., CVPR 2017; MobileNetV3: Howard et al., ICCV 2019.
"""

import tensorflow as tf

from isic_tf.models.families import efficientnet

_RESNET_RS = {f"resnet-rs-{depth}": f"ResNetRS{depth}" for depth in (50, 101, 152, 200, 270, 350, 420)}
_SIZES = ("002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320")
_REGNET = {f"regnet{kind}-{size}": f"RegNet{kind.upper()}{size}" for kind in "xy" for size in _SIZES}
_DENSENET = {f"densenet-{depth}": f"DenseNet{depth}" for depth in (121, 169, 201)}
_MOBILENET_V3 = {f"mobilenetv3-{size}": f"MobileNetV3{size.capitalize()}" for size in ("small", "large")}
# Names of the library's functions.
_FUNCTIONS = {**_RESNET_RS, **_REGNET, **_DENSENET, **_MOBILENET_V3}
# The library has 0, with which the moving statistics would be those of the last batch alone; the authors smoothed them
# by averaging all weights over the steps. 0.9 is that of RegNet.
_RESNET_RS_MOMENTUM = 0.9


def build(backbone: str, image_size: int) -> tf.keras.Model:
    """Builds a network with random weights, without its classification layer.

    Args:
        backbone: One of `names.FAMILIES`.
        image_size: Side S in pixels, 32 or more.

    Returns:
        Keras model from normalized float32 `[b, S, S, 3]` to features `[b, h, w, f]`. h and w are S / 32, rounded up,
        for DenseNet down.

    Examples:
        >>> build("regnety-002", 64).output_shape
        (None, 2, 2, 368)
    """
    options: dict[str, object] = {} if backbone in _DENSENET else {"include_preprocessing": False}
    # The names of the first layers of ResNet-RS count the networks that were built before.
    tf.keras.backend.reset_uids()
    create = getattr(tf.keras.applications, _FUNCTIONS[backbone])
    network = create(include_top=False, weights=None, input_shape=(image_size, image_size, 3), **options)
    if backbone in _RESNET_RS:
        _set_momentum(network, _RESNET_RS_MOMENTUM)
    return tf.keras.Model(network.input, network.output, name=backbone)


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates the layer from [0, 1] to what the weights expect.

    Mean and standard deviation of ImageNet for ResNet-RS and DenseNet, 2 x - 1 for MobileNetV3, and the images as they
    are for RegNet, which the library trained on [0, 1].
    """
    if backbone in _MOBILENET_V3:
        return tf.keras.layers.Rescaling(2.0, -1.0, dtype="float32")
    if backbone in _REGNET:
        return tf.keras.layers.Activation("linear", dtype="float32")
    return efficientnet.make_normalization(backbone)


def _set_momentum(network: tf.keras.Model, momentum: float) -> None:
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            # What the layer's own argument does; the library's functions do not pass it on.
            layer.momentum = momentum
