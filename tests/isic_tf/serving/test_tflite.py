import sys

import numpy as np
import pytest
import tensorflow as tf
from harness import tiny_trunk
from scipy.special import expit

from isic_tf.data import targets
from isic_tf.models import backbones, classifiers, standardization
from isic_tf.serving import config, graph_networks, tflite


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


def mean_network(weight, bias, metadata_weights=()):
    """A network whose logit is the mean of the image's values from 0 to 1, scaled and shifted; and of metadata."""
    images = tf.keras.Input((8, 8, 3))
    features = tf.keras.layers.Dense(1, use_bias=True)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(images)
    if not metadata_weights:
        network = tf.keras.Model(images, features(pooled))
        features.set_weights([np.full((3, 1), weight / 3), np.array([bias])])
        return network
    metadata = tf.keras.Input((len(metadata_weights),))
    network = tf.keras.Model([images, metadata], features(tf.keras.layers.Concatenate()([pooled, metadata])))
    features.set_weights([np.array([[weight / 3]] * 3 + [[one] for one in metadata_weights]), np.array([bias])])
    return network


def gray(value):
    return np.full((8, 8, 3), value, np.uint8)


@pytest.mark.parametrize(("form", "tolerance"), [("float32", 1e-6), ("float16", 1e-3), ("int8", 0.02)])
def test_the_mean_probability_of_the_networks_worked_by_hand(form, tolerance):
    networks = [mean_network(2.0, -1.0), mean_network(-4.0, 0.5)]
    samples = [(gray(value), ()) for value in range(0, 256, 5)]
    content = tflite.convert(networks, 8, "", form, samples)
    predict = tflite.make_predictor(content, "", 1)
    for value in (0, 51, 255):
        seen = value / 255
        expected = (expit(2.0 * seen - 1.0) + expit(-4.0 * seen + 0.5)) / 2
        assert predict(gray(value), ()) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("form", config.FORMS)
def test_litert_and_tensorflow_run_the_same_model(form, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    network = classifiers.build_classifier("efficientnet-lite0", 64)
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
    content = tflite.convert([network], 64, "", form, [(image, ()) for image in images])
    assert type(tflite._open_interpreter(content, 1)).__module__.startswith("ai_edge_litert")
    litert = [tflite.make_predictor(content, "", 1)(image, ()) for image in images]
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    assert type(tflite._open_interpreter(content, 1)).__module__.startswith("tensorflow")
    assert [tflite.make_predictor(content, "", 1)(image, ()) for image in images] == pytest.approx(litert, abs=1e-6)


def test_metadata_are_codes_and_unknown_has_an_input_of_its_own():
    # One-hot: male, female, unknown.
    predict = tflite.make_predictor(
        tflite.convert([mean_network(0.0, 0.0, (1.0, 2.0, -3.0))], 8, "sex", "float32"), "sex", 1
    )
    assert [predict(gray(0), (code,)) for code in (0, 1, -1)] == pytest.approx(expit([1.0, 2.0, -3.0]), abs=1e-6)


@pytest.mark.parametrize(("form", "tolerance"), [("float32", 1e-6), ("float16", 1e-3), ("int8", 0.02)])
def test_numeric_columns_of_any_size_are_standardized(form, tolerance):
    """Also where 8 bits for both columns, or the 16 bits of a constant, would lose all of their digits."""
    fields = "sex,area,h"
    images, known = tf.keras.Input((8, 8, 3)), tf.keras.Input((7,))
    standardize = standardization.StandardizeLast(2)
    joined = tf.keras.layers.Concatenate()([tf.keras.layers.GlobalAveragePooling2D()(images), standardize(known)])
    dense = tf.keras.layers.Dense(1)
    network = tf.keras.Model([images, known], dense(joined))
    dense.set_weights([np.array([[0.0]] * 3 + [[0.5], [-0.5], [0.0], [1.0], [-1.0], [0.25], [-0.5]]), np.zeros(1)])
    standardize.set_weights([np.array([1e6, -0.5]), np.array([2e4, 0.01])])
    samples = [(gray(0), (place % 3 - 1, 1e6 + 500 * place, -0.5, 0, 0)) for place in range(-80, 81)]
    samples += [(gray(0), (0, 0, -0.5 + place / 4000, 1, 0)) for place in range(-80, 81)] + [(gray(0), (1, 0, 0, 1, 1))]
    content = tflite.convert([network], 8, fields, form, samples)
    predict = tflite.make_predictor(content, fields, 1)
    found = [predict(gray(0), codes) for codes in [(0, 1.02e6, -0.49, 0, 0), (1, 0, -0.51, 1, 0), (-1, 0, 0, 1, 1)]]
    assert found == pytest.approx(expit([0.5 + 1 - 1, -0.5 + 0.25 + 1, 0.25 - 0.5]), abs=tolerance)


def test_small_probabilities_survive_8_bits():
    tf.keras.utils.set_random_seed(0)
    networks = [classifiers.build_classifier("efficientnet-b0", 64) for _ in range(2)]
    for network in networks:
        kernel, _ = network.get_layer("logits").get_weights()
        network.get_layer("logits").set_weights([kernel, np.float32([-6])])
    colours = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), np.uint8)
    images = np.tile(colours, (1, 64, 64, 1))
    content = tflite.convert(networks, 64, "", "int8", [(image, ()) for image in images])
    predict = tflite.make_predictor(content, "", 1)
    found = np.array([predict(image, ()) for image in images])
    expected = targets.mean_scores(graph_networks.logits(networks, images, None)).numpy()
    assert expected.max() < 0.02
    # A quantized sigmoid would give a few multiples of 1/256.
    assert len(set(found)) > 20
    assert np.abs(np.log(found / expected)).max() < 0.1


@pytest.mark.parametrize(("large", "probability"), [(1, 1.0), (0, 0.0)])
def test_logits_with_infinite_powers_give_finite_probabilities_in_8_bits(large, probability):
    classes = targets.make_class_set("diagnosis")
    network = classifiers.build_classifier("efficientnet-b0", 64, classes=classes)
    kernel, bias = network.get_layer("logits").get_weights()
    bias[large] = 200
    network.get_layer("logits").set_weights([kernel, bias])
    images = np.tile(np.random.default_rng(0).integers(0, 256, (8, 1, 1, 3), np.uint8), (1, 64, 64, 1))
    content = tflite.convert([network], 64, "", "int8", [(image, ()) for image in images], classes)
    predict = tflite.make_predictor(content, "", 1)
    scores = np.array([predict(image, ()) for image in images])
    assert scores[:, 0] == pytest.approx([probability] * 8, abs=1e-6)
    assert np.abs(scores[:, 1:] - np.eye(9)[large]).max() < 1e-6


@pytest.mark.parametrize("multi_label", [False, True])
def test_small_probabilities_of_classes_survive_8_bits(multi_label):
    rng = np.random.default_rng(0)
    classes = targets.ClassSet(("A", "B", "C"), ("A", "C"), multi_label)
    networks = []
    for _ in range(2):
        images, dense = tf.keras.Input((8, 8, 3)), tf.keras.layers.Dense(3)
        networks.append(tf.keras.Model(images, dense(tf.keras.layers.GlobalAveragePooling2D()(images))))
        dense.set_weights([rng.normal(0, 4, (3, 3)), np.array([-6, 0, -5])])
    images = np.tile(rng.integers(0, 256, (60, 1, 1, 3), np.uint8), (1, 8, 8, 1))
    content = tflite.convert(networks, 8, "", "int8", [(image, ()) for image in images], classes)
    predict = tflite.make_predictor(content, "", 1)
    found = np.array([predict(image, ()) for image in images])
    expected = targets.mean_scores(graph_networks.logits(networks, images, None), classes).numpy()
    assert expected.min() < 1 / 256
    assert np.abs(np.log(found / expected)).max() < 0.1
    positive = found[:, [1, 3]].astype(np.float64)
    single = positive.max(axis=1) if multi_label else positive.sum(axis=1)
    assert found[:, 0] == pytest.approx(single, rel=1e-6)
