"""Standardizes numeric columns inside the network, by the mean and standard deviation of its own training images.

The two are weights that are not trained: checkpoints, weights files and exported models hold them, so that every
prediction with the weights of a fold uses the numbers of that fold.
"""

import typing
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import clinical_metadata
from isic_tf.optim import ema


class StandardizeLast(tf.keras.layers.Layer):
    """Standardizes the numeric columns at the end of an image's metadata.

    A value x becomes (x - mean) / spread, and an unknown one 0. Written as a linear function of the inputs, so that a
    mix of two images has the mix of their standardized values.
    """

    def __init__(self, columns: int, **options: Any) -> None:
        """Creates the layer for `columns` numeric columns."""
        super().__init__(**options)
        self.columns = columns

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates mean and spread, at first 0 and 1."""
        shape = (self.columns,)
        self.mean = self.add_weight(f"{ema.CONSTANT}mean", shape, initializer="zeros", trainable=False)
        self.spread = self.add_weight(f"{ema.CONSTANT}spread", shape, initializer="ones", trainable=False)

    def call(self, known: tf.Tensor) -> tf.Tensor:
        """Standardizes.

        Args:
            known: float32 `[b, m]`, see `clinical_metadata.encode`.

        Returns:
            float32 `[b, m]`.
        """
        count = self.columns
        unknown = known[:, -count:]
        standardized = standardize(known[:, -2 * count : -count], unknown, self.mean, self.spread)
        return tf.concat([known[:, : -2 * count], standardized, unknown], axis=1)


def standardize(values: Any, unknown: Any, mean: Any, spread: Any) -> Any:
    """Standardizes values.

    Args:
        values: float `[n, k]`, 0 where unknown.
        unknown: float `[n, k]`, 1 where unknown, else 0.
        mean: float `[k]`.
        spread: float `[k]`.

    Returns:
        float `[n, k]`, 0 where unknown.

    Examples:
        >>> standardize(np.array([[9.0], [0.0]]), np.array([[0.0], [1.0]]), np.array([5.0]), np.array([2.0])).tolist()
        [[2.0], [0.0]]
    """
    return (values - mean * (1 - unknown)) / spread


def find_layer(classifier: tf.keras.Model) -> StandardizeLast | None:
    """Returns the layer of a classifier that standardizes; None if it uses no numeric columns."""
    return next((layer for layer in classifier.layers if isinstance(layer, StandardizeLast)), None)


def set_standards(classifier: tf.keras.Model, rows: pd.DataFrame, fields: str) -> list[str]:
    """Sets the mean and the standard deviation of numeric columns to those of the training images.

    Args:
        classifier: See `classifiers.build_classifier`; in the scope of its strategy.
        rows: The training images, each once, see `clinical_metadata.add_values`.
        fields: See `clinical_metadata.parse`.

    Returns:
        A line per column that describes them; none where there are no numeric columns.

    Raises:
        ConfigError: See `clinical_metadata.compute_standards`.
    """
    names = clinical_metadata.parse_numeric(fields)
    if not names:
        return []
    values = clinical_metadata.select_values(rows, names)
    standards = clinical_metadata.compute_standards(values, names)
    layer = typing.cast(StandardizeLast, find_layer(classifier))
    layer.set_weights([standards.mean, standards.spread])
    return clinical_metadata.describe_standards(values, names, standards)


def split_off(classifier: tf.keras.Model) -> tuple[tf.keras.Model, Sequence[np.ndarray]]:
    """Splits a classifier into the network behind the standardization, and the mean and spread.

    Args:
        classifier: Image-level model, see `patient_context_head.image_level_model`, that uses numeric columns.

    Returns:
        Keras model of the same variables from images and standardized metadata to logits; mean and spread, float32
        `[k]`.
    """
    layer = typing.cast(StandardizeLast, find_layer(classifier))
    return tf.keras.Model([classifier.inputs[0], layer.output], classifier.output), layer.get_weights()
