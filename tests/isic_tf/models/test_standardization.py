import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import clinical_metadata
from isic_tf.models import standardization

FIELDS = "sex,area,h"
ROWS = pd.DataFrame({"sex": [0, 1, -1], "numeric:area": [1.0, 3.0, np.nan], "numeric:h": [1e6, 1e6 + 4, 1e6 + 8]})


def make_network():
    images, known = tf.keras.Input((2, 2, 3)), tf.keras.Input((7,))
    standardized = standardization.StandardizeLast(2, dtype="float32")(known)
    joined = tf.keras.layers.Concatenate()([tf.keras.layers.Flatten()(images), standardized])
    return tf.keras.Model([images, known], tf.keras.layers.Dense(1)(joined))


def test_numbers_are_standardized_and_unknown_ones_are_0():
    network = make_network()
    layer = standardization.find_layer(network)
    known = clinical_metadata.encode(ROWS, FIELDS)
    assert np.array_equal(layer(known), known)
    lines = standardization.set_standards(network, ROWS, FIELDS)
    assert lines[0] == "  area: mean 2, standard deviation 1, unknown of 1 of 3 images"
    spread = np.sqrt(32 / 3)
    expected = [[1, 0, 0, -1, -4 / spread, 0, 0], [0, 1, 0, 1, 0, 0, 0], [0, 0, 1, 0, 4 / spread, 1, 0]]
    assert layer(known).numpy() == pytest.approx(np.array(expected), abs=1e-6)
    # Mixed images have mixed values, where one of them is unknown too.
    mixed = 0.25 * known[1:2] + 0.75 * known[2:3]
    assert layer(mixed).numpy()[0, 3:] == pytest.approx([0.25, 0.75 * 4 / spread, 0.75, 0], abs=1e-6)


def test_nothing_is_set_without_numeric_columns():
    assert standardization.set_standards(tf.keras.Sequential(), ROWS, "sex") == []


def test_the_network_behind_the_layer_gives_the_same_logits():
    network = make_network()
    standardization.set_standards(network, ROWS, FIELDS)
    known = clinical_metadata.encode(ROWS, FIELDS)
    images = np.random.default_rng(0).random((3, 2, 2, 3), np.float32)
    behind, (mean, spread) = standardization.split_off(network)
    assert mean.tolist() == [2, 1e6 + 4]
    assert spread.tolist() == pytest.approx([1, np.sqrt(32 / 3)])
    standardized = standardization.find_layer(network)(known)
    assert np.array_equal(behind([images, standardized]), network([images, known]))
