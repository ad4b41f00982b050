import h5py
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import classifiers
from isic_tf.models.pretrained import kept_arrays


def make_network(units=2, freeze=False):
    """A model within a model, with two layers of one class in each."""
    layers = tf.keras.layers
    inner_input = tf.keras.Input((3,))
    inner = tf.keras.Model(inner_input, layers.Dense(3)(layers.BatchNormalization()(layers.Dense(3)(inner_input))))
    image = tf.keras.Input((3,))
    network = tf.keras.Model(image, layers.Dense(units)(layers.Dense(3)(inner(image))))
    network.set_weights([np.full_like(array, place) for place, array in enumerate(network.get_weights())])
    inner.layers[2].trainable = not freeze
    return network


@pytest.fixture
def path(tmp_path):
    make_network().save_weights(str(tmp_path / "kept.weights.h5"))
    return str(tmp_path / "kept.weights.h5")


@pytest.mark.parametrize("freeze", [False, True])
def test_arrays_are_those_of_the_network_in_its_order(path, freeze):
    network = make_network(freeze=freeze)
    network.load_weights(path)
    found = kept_arrays.read_arrays(network, path)
    assert len(found) == 12
    for array, expected in zip(found, network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == expected.dtype


def test_a_classifier_is_read_as_keras_loads_it(tmp_path):
    path = str(tmp_path / "best.weights.h5")
    options = {"metadata": "age,n:dlogp", "hidden_units": 4, "pooling": "gem"}
    source = classifiers.build_classifier("efficientnet-lite0", 32, **options)
    source.save_weights(path)
    other = classifiers.build_classifier("efficientnet-lite0", 32, **options)
    for array, expected in zip(kept_arrays.read_arrays(other, path), source.get_weights(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_layers_that_hold_layers_are_left_to_keras(tmp_path):
    path = str(tmp_path / "best.weights.h5")
    image = tf.keras.Input((4, 2))
    network = tf.keras.Model(image, tf.keras.layers.TimeDistributed(tf.keras.layers.Dense(2))(image))
    network.save_weights(path)
    assert kept_arrays.read_arrays(network, path) is None


def test_a_layer_that_loads_itself_is_left_to_keras(path, monkeypatch):
    monkeypatch.setattr(tf.keras.layers.Dense, "load_own_variables", lambda self, store: None)
    assert kept_arrays.read_arrays(make_network(), path) is None


def test_another_network_is_left_to_keras(path):
    assert kept_arrays.read_arrays(make_network(units=3), path) is None


@pytest.mark.parametrize("damage", ["missing layer", "further array", "missing array", "other dtype", "group"])
def test_what_does_not_fit_is_left_to_keras(path, damage):
    with h5py.File(path, "a") as file:
        saved = file["layers/functional/layers/dense_1/vars"]
        if damage == "missing layer":
            del file["layers/functional/layers/dense_1"]
        elif damage == "further array":
            saved["2"] = np.zeros(3, np.float32)
        else:
            del saved["1"]
        if damage == "other dtype":
            saved["1"] = np.zeros(3, np.float64)
        elif damage == "group":
            saved.create_group("1")
    assert kept_arrays.read_arrays(make_network(), path) is None


@pytest.mark.parametrize("options", [{"chunks": (3,), "compression": "gzip"}, {"shape": (10**12,)}])
def test_numbers_that_are_not_stored_one_after_the_other_are_not_read(tmp_path, options):
    path = tmp_path / "one.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("plain", data=np.ones(3, np.float32))
    assert list(kept_arrays.read_all(str(path))) == ["plain"]
    with h5py.File(path, "a") as file:
        file.create_dataset("other", dtype=np.float32, **{"shape": (3,), **options})
    assert kept_arrays.read_all(str(path)) is None


def test_links_to_other_files_are_not_followed(path, tmp_path):
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file["layers/dense"] = h5py.ExternalLink(path, "layers/dense")
    assert kept_arrays.read_all(str(other)) == {}


@pytest.mark.parametrize("length", [0, 100, -100])
def test_a_file_that_is_cut_is_left_to_keras(path, length):
    with open(path, "rb") as file:
        content = file.read()
    with open(path, "wb") as file:
        file.write(content[:length])
    assert kept_arrays.read_arrays(make_network(), path) is None
