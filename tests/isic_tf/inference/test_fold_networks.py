"""The networks of a run's folds as one: predictions by hand, with networks of a moment."""

import os

import numpy as np
import pytest
import tensorflow as tf
from harness import tiny

from isic_tf.inference import fold_networks, predictor
from isic_tf.models import classifiers

FLAGS = {"backbone": "efficientnet-b0", "image_size": 32}
NAMES = [[b"a", b"b", b"c"], [b"d", b"e", b"f"], [b"g", b"", b""]]


@pytest.fixture(scope="module")
def folds(tmp_path_factory):
    """Paths of the weights of three folds, and their networks."""
    paths = []
    networks = []
    for fold in range(3):
        tf.keras.utils.set_random_seed(fold)
        path = tmp_path_factory.mktemp("run") / "run" / f"fold{fold}" / "best.weights.h5"
        path.parent.mkdir(parents=True)
        networks.append(tiny("", 32, ""))
        networks[-1].save_weights(str(path))
        paths.append(str(path))
    return paths, networks


@pytest.fixture
def opened(folds, monkeypatch):
    built = []

    def build(config, weights):
        classifier = tiny("", config.image_size, "")
        classifier.load_weights(weights)
        built.append(weights)
        return classifier

    monkeypatch.setattr(classifiers, "build_from_config", build)
    found = fold_networks.FoldNetworks(folds[0], FLAGS, tf.distribute.get_strategy())
    assert built == folds[0][:1]
    return found


@pytest.fixture(scope="module")
def dataset():
    images = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32, 3), np.uint8)
    return tf.data.Dataset.from_tensor_slices((images, NAMES))


@pytest.mark.parametrize("chosen", [[0], [2, 0], [0, 1, 2]])
@pytest.mark.parametrize("block_bytes", [1, 2 * 3 * 32 * 32 * 3, 2**27])
def test_predictions_are_those_of_all_networks_in_one_graph(folds, opened, dataset, monkeypatch, chosen, block_bytes):
    monkeypatch.setattr(fold_networks, "_BLOCK_BYTES", block_bytes)
    networks = [folds[1][fold] for fold in chosen]
    expected = list(predictor.make_predictor(networks, tf.distribute.get_strategy(), embed="logits")(dataset))
    found = list(opened.make_predictor(embed="logits")(dataset, chosen))
    assert [names for names, _, _ in found] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    for (_, probabilities, features), (_, expected_probabilities, expected_features) in zip(
        found, expected, strict=True
    ):
        assert probabilities.dtype == np.float32
        assert np.abs(probabilities - expected_probabilities).max() < 1e-7
        assert features.shape == (len(probabilities), len(chosen), 1)
        np.testing.assert_allclose(features, expected_features, atol=1e-6)


def test_one_graph_is_traced_for_all_folds_and_selections(opened, dataset, monkeypatch):
    traced = []
    mean_outputs = predictor._mean_outputs
    monkeypatch.setattr(
        predictor, "_mean_outputs", lambda *arguments: traced.append(len(arguments[0])) or mean_outputs(*arguments)
    )
    predict = opened.make_predictor()
    for folds in ([0, 1, 2], [1], [2, 1]):
        found = list(predict(dataset, folds))
        assert len(found) == 3
        assert len(found[0]) == 2
    assert traced == [1]


def test_a_chosen_fold_has_its_own_weights(folds, opened):
    for fold in (0, 2, 2, 1):
        opened.choose(fold)
        for found, expected in zip(opened.network.get_weights(), folds[1][fold].get_weights(), strict=True):
            assert np.array_equal(found, expected)
    assert len(opened) == 3


def test_an_error_of_the_images_is_the_readers_own(opened):
    def fail():
        yield np.zeros((3, 32, 32, 3), np.uint8), NAMES[0]
        raise ZeroDivisionError

    predict = opened.make_predictor()
    with pytest.raises(ZeroDivisionError):
        list(predict(fail(), [0]))


def test_weights_of_another_network_are_refused_by_name(folds, opened, tmp_path):
    other = tmp_path / "fold1" / "best.weights.h5"
    other.parent.mkdir()
    images = tf.keras.Input((32, 32, 3))
    tf.keras.Model(images, tf.keras.layers.Flatten()(images)).save_weights(str(other))
    with pytest.raises(ValueError, match=f"{os.path.basename(other.parent)}/best.weights.h5 does not hold weights of"):
        fold_networks.FoldNetworks([folds[0][0], str(other)], FLAGS, tf.distribute.get_strategy())
