"""EfficientNetV2 (Tan and Le, ICML 2021), as in `tf.keras.applications`."""

import tensorflow as tf

from isic_tf.models.families import efficientnet


def build(backbone: str, image_size: int) -> tf.keras.Model:
    """Builds a network with random weights, without its classification layer; see `backbones.build_backbone`."""
    create = getattr(tf.keras.applications, f"EfficientNetV2{backbone.rpartition('-')[2].upper()}")
    return create(include_top=False, weights=None, input_shape=(image_size, image_size, 3), include_preprocessing=False)


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates the layer from [0, 1] to what the weights expect.

    That is 255/128 x - 1 for S, M and L; for B0 to B3 it is EfficientNet's.
    """
    if backbone[-1] in "sml":
        return tf.keras.layers.Rescaling(255 / 128, -1.0, dtype="float32")
    return efficientnet.make_normalization(backbone)
