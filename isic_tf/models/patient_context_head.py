"""The patient-context head of a classifier: corrects each lesion by the patient's other lesions, end to end."""

from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.models import set_transformer

# The layer whose output is the input of the head: the features of an image and, last, its image-level malignant logit.
HEAD_INPUT = "seen"


def add_context_head(
    features: tf.Tensor,
    logits: tf.Tensor,
    patients: tf.Tensor,
    bag_size: int,
    classes: targets.ClassSet = targets.BINARY,
) -> tf.Tensor:
    """Adds the head to a classifier that is being built.

    Args:
        features: float `[b, f]`, pooled features of the images.
        logits: float32 `[b, c]`, image-level logits.
        patients: float32 `[b, 1]`, see `Context.call`.
        bag_size: Images L of a bag; b is a multiple of it.
        classes: The classes of the logits.

    Returns:
        float32 `[b, 1]`, corrected logits of the positive classes.
    """
    malignant = targets.positive_logit(logits, classes)[:, tf.newaxis]
    seen = tf.keras.layers.Concatenate(dtype="float32", name=HEAD_INPUT)([features, malignant])
    return Context(seen.shape[-1] - 1, bag_size, dtype="float32", name="context")([seen, patients])


class Context(tf.keras.layers.Layer):
    """Corrects each logit of a bag by the other images of the same patient in the bag; see `set_transformer`."""

    def __init__(self, dim: int, bag_size: int, **options: Any) -> None:
        """Creates the set transformer for `dim` features per image and bags of `bag_size` images."""
        super().__init__(**options)
        self.bag_size = bag_size
        self.sets = set_transformer.build_set_transformer(dim)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Corrects logits.

        Args:
            inputs: float32 `[b, f + 1]` (features and, last, the malignant logit) and patient numbers `[b, 1]`, below 0
                where unknown: such a lesion is compared with no other. Every L rows are a bag.
            training: Whether to apply the dropout of the set transformer.

        Returns:
            float32 `[b, 1]`.
        """
        seen, patients = inputs
        size = self.bag_size
        own = np.eye(size, dtype=bool)
        patients = tf.reshape(patients, [-1, size])
        same = (patients[:, :, tf.newaxis] == patients[:, tf.newaxis]) & (patients[:, tf.newaxis] >= 0)
        # A bag may hold several patients: each lesion has its own view of the bag, in which other patients are masked.
        mask = tf.reshape(same | own, [-1, size])
        views = tf.repeat(tf.reshape(seen, [-1, size, seen.shape[-1]]), size, axis=0)
        found = self.sets([views[..., :-1], tf.cast(mask, tf.float32), views[..., -1:]], training=training)
        found = tf.where(own, tf.reshape(found, [-1, size, size]), 0.0)
        return tf.reshape(tf.reduce_sum(found, axis=2), [-1, 1])


def find_context_layer(classifier: tf.keras.Model) -> Context | None:
    """Returns the patient-context head of a classifier; None if it has none."""
    return next((layer for layer in classifier.layers if isinstance(layer, Context)), None)


def image_level_model(classifier: tf.keras.Model) -> tf.keras.Model:
    """Returns the part of a classifier that sees single images: all of it where there is no patient context."""
    if not find_context_layer(classifier):
        return classifier
    images, *known = classifier.inputs[:-1]
    return tf.keras.Model([images, *known] if known else images, classifier.get_layer("logits").output)


def both_levels(classifier: tf.keras.Model) -> tf.keras.Model:
    """Returns the model that is trained: its outputs are the image-level logits and, with context, the corrected ones.

    Both outputs are trained: the backbone learns from each image as without context, and a lesion without others is
    predicted as well as before. Trained alone, the head would leave errors at the image level that it corrects itself.
    """
    if not find_context_layer(classifier):
        return classifier
    return tf.keras.Model(classifier.inputs, [classifier.get_layer("logits").output, classifier.output])
