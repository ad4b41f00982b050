"""The two parts of a classifier that a linear probe separates: images to pooled features, and features to logits."""

import tensorflow as tf

from isic_tf.inference import test_time_augmentation

# The layer whose output a linear probe computes once.
POOLED = "pooled"
# Rotations and flips of each image whose features are computed.
VERSIONS = test_time_augmentation.DIHEDRAL


def build_extractor(classifier: tf.keras.Model) -> tf.keras.Model:
    """Returns the part of a classifier that computes the pooled features; it shares the classifier's layers.

    Args:
        classifier: See `classifiers.build_classifier`.

    Returns:
        Keras model from float32 `[b, S, S, 3]` in [0, 1] to features `[b, f]`, in the dtype of the precision policy.

    Examples:
        >>> from isic_tf.models import build_classifier
        >>> build_extractor(build_classifier("efficientnet-b0", 32)).output_shape
        (None, 1280)
    """
    return tf.keras.Model(classifier.inputs[0], classifier.get_layer(POOLED).output, name="extractor")


def build_head(classifier: tf.keras.Model) -> tf.keras.Model:
    """Returns the part of a classifier after the pooled features; it shares the classifier's layers.

    Args:
        classifier: See `classifiers.build_classifier`; without patient context.

    Returns:
        Keras model from features `[b, f]`, or a list of these and of metadata `[b, m]` if the classifier receives any,
        to the classifier's logits.

    Examples:
        >>> from isic_tf.models import build_classifier
        >>> build_head(build_classifier("efficientnet-b0", 32, hidden_units=8)).count_params()
        10257
    """
    pooled = classifier.get_layer(POOLED).output
    known = classifier.inputs[1:]
    return tf.keras.Model([pooled, *known] if known else pooled, classifier.output, name="head")


def freeze_features(classifier: tf.keras.Model) -> None:
    """Freezes all layers up to the pooled features, the exponent of `--pooling=gem` included.

    Args:
        classifier: See `classifiers.build_classifier`; its trainable variables are those of the head afterwards.
    """
    build_extractor(classifier).trainable = False
