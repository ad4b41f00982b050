import numpy as np
import pytest
import tensorflow as tf
from harness import tiny_trunk

from isic_tf.models import backbones, classifiers
from isic_tf.training.linear_probe import heads

HEAD = {"metadata": "age,sex", "pooling": "gem", "hidden_units": 4, "dropout_samples": 2}


@pytest.fixture
def classifier(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    return classifiers.build_classifier("efficientnet-b0", 32, **HEAD)


def test_the_two_parts_compute_what_the_classifier_does(classifier):
    extractor = heads.build_extractor(classifier)
    head = heads.build_head(classifier)
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    known = np.random.default_rng(1).random((2, head.inputs[1].shape[1]), np.float32)
    whole = classifier([images, known], training=False)
    assert extractor.output_shape == (None, 8)
    assert np.abs(whole).min() > 0
    assert np.abs(head([extractor(images), known], training=False) - whole).max() < 1e-6


def test_freezing_leaves_the_weights_of_the_head(classifier):
    before = classifier.trainable_variables
    heads.freeze_features(classifier)
    trained = classifier.trainable_variables
    head = heads.build_head(classifier).trainable_variables
    assert [variable.name for variable in trained] == [variable.name for variable in head]
    assert all(pair[0] is pair[1] for pair in zip(trained, head, strict=True))
    names = {variable.name.split(":")[0] for variable in before} - {variable.name.split(":")[0] for variable in trained}
    assert names == {"convolution/kernel", "convolution/bias", "pooled/power"}


def test_dropout_is_that_of_the_classifier(classifier):
    # Checkpoints hold its random state.
    found = [
        {layer.name: layer for layer in network.submodules if isinstance(layer, tf.keras.layers.Dropout)}
        for network in (classifier, heads.build_head(classifier))
    ]
    assert found[0].keys() == found[1].keys()
    assert all(found[0][name] is found[1][name] for name in found[0])
