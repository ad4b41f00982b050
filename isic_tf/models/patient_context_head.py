"""The classifier's second stage: a patient's lesions corrected by each other, trained with the backbone."""

import numpy as np
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.models import set_transformer

CONTEXTS = ("none", "set")
# The layer that gives what the second stage sees of an image: its features and, last, stage one's malignant logit.
SEEN = "seen"


def add(features, logits, patients, bag_size):
    """Adds the second stage to a classifier in the making; see `Context` for the shapes."""
    malignant = targets.malignant_logit(logits)[:, tf.newaxis]
    seen = tf.keras.layers.Concatenate(dtype="float32", name=SEEN)([features, malignant])
    return Context(seen.shape[-1] - 1, bag_size, dtype="float32", name="context")([seen, patients])


class Context(tf.keras.layers.Layer):
    """Corrects each logit of a bag by the bag's other images of the same patient, see `set_transformer.build_set_transformer`."""

    def __init__(self, dim, bag_size, **options):
        """Takes the number f of an image's features and the number L of images in a bag."""
        super().__init__(**options)
        self.bag_size, self.sets = bag_size, set_transformer.build_set_transformer(dim)

    def call(self, inputs, training=None):
        """Corrects logits.

        Args:
            inputs: float32 `[b, f + 1]` (features and, last, the malignant logit) and the patients' numbers `[b, 1]`,
                below 0 where unknown: such a lesion is compared with none. Each L rows are a bag.
            training: Whether to drop a share of what the set network knows.

        Returns:
            float32 `[b, 1]`.
        """
        seen, patients = inputs
        size, own = self.bag_size, np.eye(self.bag_size, dtype=bool)
        patients = tf.reshape(patients, [-1, size])
        same = (patients[:, :, tf.newaxis] == patients[:, tf.newaxis]) & (patients[:, tf.newaxis] >= 0)
        # A bag may be of several patients: each of its lesions has a view of it, which masks all others' but its own.
        mask = tf.reshape(same | own, [-1, size])
        views = tf.repeat(tf.reshape(seen, [-1, size, seen.shape[-1]]), size, axis=0)
        found = self.sets([views[..., :-1], tf.cast(mask, tf.float32), views[..., -1:]], training=training)
        found = tf.where(own, tf.reshape(found, [-1, size, size]), 0.0)
        return tf.reshape(tf.reduce_sum(found, axis=2), [-1, 1])


def layer_of(classifier):
    """Gives a classifier's second stage, a `Context`; None where it has none."""
    return next((layer for layer in classifier.layers if isinstance(layer, Context)), None)


def image_level_model(classifier):
    """Gives the part of a classifier that sees a single image; that is all of it where there is no context."""
    if not layer_of(classifier):
        return classifier
    images, *known = classifier.inputs[:-1]
    return tf.keras.Model([images, *known] if known else images, classifier.get_layer("logits").output)


def both_levels(classifier):
    """Gives what is trained, from a classifier's inputs to the logits of each of its stages, a list where it has two.

    Both are: the backbone learns from each image by itself as without context, and a lesion without others is judged as
    well as before. Trained alone, the second stage would leave the first with whatever its correction makes up for.
    """
    if not layer_of(classifier):
        return classifier
    return tf.keras.Model(classifier.inputs, [classifier.get_layer("logits").output, classifier.output])
