import numpy as np
import pytest
import tensorflow as tf
from harness import tiny_trunk
from scipy.special import expit

from isic_tf.data import targets
from isic_tf.models import backbones, classifiers
from isic_tf.serving import saved_model, tflite


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


def test_metadata_are_codes_and_unknown_has_an_input_of_its_own():
    # One-hot: male, female, unknown.
    predict = tflite.make_predictor(
        tflite.convert([mean_network(0.0, 0.0, (1.0, 2.0, -3.0))], 8, "sex", "float32"), "sex", 1
    )
    assert [predict(gray(0), (code,)) for code in (0, 1, -1)] == pytest.approx(expit([1.0, 2.0, -3.0]), abs=1e-6)


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
    expected = targets.mean_probability(saved_model.logits(networks, images, None)).numpy()
    assert expected.max() < 0.02
    # A quantized sigmoid would give a few multiples of 1/256.
    assert len(set(found)) > 20
    assert np.abs(np.log(found / expected)).max() < 0.1


@pytest.mark.parametrize(("large", "probability"), [(targets.MALIGNANT, 1.0), (0, 0.0)])
def test_logits_with_infinite_powers_give_finite_probabilities_in_8_bits(large, probability):
    network = classifiers.build_classifier("efficientnet-b0", 64, target="diagnosis")
    kernel, bias = network.get_layer("logits").get_weights()
    bias[large] = 200
    network.get_layer("logits").set_weights([kernel, bias])
    images = np.tile(np.random.default_rng(0).integers(0, 256, (8, 1, 1, 3), np.uint8), (1, 64, 64, 1))
    predict = tflite.make_predictor(tflite.convert([network], 64, "", "int8", [(image, ()) for image in images]), "", 1)
    assert [predict(image, ()) for image in images] == pytest.approx([probability] * 8, abs=1e-6)
