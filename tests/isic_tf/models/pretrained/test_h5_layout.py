import h5py
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models.pretrained import h5_layout
from tfrecord_tools import errors


def make_network():
    layers = tf.keras.layers
    inner = tf.keras.Sequential([layers.Dense(3, name="first"), layers.BatchNormalization(name="second")], name="inner")
    inputs = tf.keras.Input((2,))
    return tf.keras.Model(inputs, layers.Dense(1, name="conv1/last")(inner(inputs)))


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "small.h5")
    make_network().save_weights(path)
    return path


def refused(message):
    return pytest.raises(errors.CorruptRecordError, match=message)


def open_and_read(path):
    with h5_layout.opened(path) as layout:
        return [h5_layout.read_array(array) for layer in layout.layers for array in layer.arrays]


def test_models_within_a_model_are_read_as_their_layers(path):
    with h5_layout.opened(path) as layout:
        found = {layer.name: [array.variable for array in layer.arrays] for layer in layout.layers}
    assert found == {
        "first": ["kernel", "bias"],
        "second": ["gamma", "beta", "moving_mean", "moving_variance"],
        "conv1/last": ["kernel", "bias"],
    }


def test_a_complete_model_is_read_as_its_weights(tmp_path):
    network = make_network()
    path = str(tmp_path / "model.h5")
    network.save(path)
    assert h5_layout.has_layout(path)
    arrays = open_and_read(path)
    assert sum(array.size for array in arrays) == network.count_params()


def test_names_that_are_split_over_attributes_are_joined(path):
    with h5py.File(path, "a") as file:
        names = file.attrs["layer_names"]
        del file.attrs["layer_names"]
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:2], names[2:]
    with h5_layout.opened(path) as layout:
        assert [layer.name for layer in layout.layers] == ["first", "second", "conv1/last"]


def test_the_layout_of_a_run_is_another(path, tmp_path):
    assert h5_layout.has_layout(path)
    kept = str(tmp_path / "best.weights.h5")
    make_network().save_weights(kept)
    assert not h5_layout.has_layout(kept)
    with refused(r"in .*best.weights.h5, got a damaged or foreign file \(there is no list of layers\); copy it again"):
        open_and_read(kept)


def test_truncated_and_foreign_files_are_refused(path):
    with open(path, "rb") as file:
        content = file.read()
    assert h5_layout.is_hdf5(content)
    with open(path, "wb") as file:
        file.write(content[:-100])
    with refused("small.h5, got a damaged or foreign file .*truncated"):
        open_and_read(path)
    with open(path, "wb") as file:
        file.write(b"no weights")
    assert not h5_layout.is_hdf5(b"no weights")
    with refused("small.h5, got a damaged or foreign file"):
        open_and_read(path)


def replace(path, make):
    """Replaces the kernel of the last layer."""
    with h5py.File(path, "a") as file:
        place = "conv1/last/conv1/last/kernel:0"
        del file[place]
        make(file, place)


def test_arrays_outside_of_the_file_are_refused(path, tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["kernel"] = np.ones((3, 1), np.float32)
    replace(path, lambda file, place: file.__setitem__(place, h5py.ExternalLink(str(secret), "kernel")))
    with refused("kernel:0 of its list does not exist, or lies in another file"):
        open_and_read(path)
    raw = [(str(secret), 0, 12)]
    replace_external = {"shape": (3, 1), "dtype": "f4", "external": raw}
    with h5py.File(path, "a") as file:
        del file["conv1/last/conv1/last/kernel:0"]
        file.create_dataset("conv1/last/conv1/last/kernel:0", **replace_external)
    with pytest.raises((ValueError, OSError), match="does not hold numbers of its own|xternal"):
        open_and_read(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file, place: None, "kernel:0 of its list does not exist"),
        (lambda file, place: file.create_group(place), "kernel:0 is not an array"),
        (lambda file, place: file.__setitem__(place, np.full((3, 1), np.nan, "f4")), "values that are not finite"),
        (lambda file, place: file.__setitem__(place, [b"text"]), "does not hold numbers of its own"),
    ],
    ids=["missing", "group", "nan", "text"],
)
def test_what_is_not_an_array_of_numbers_is_refused(path, make, message):
    replace(path, make)
    with refused(message):
        open_and_read(path)


def test_lists_are_limited(path, monkeypatch):
    monkeypatch.setattr(h5_layout, "_MAX_ARRAYS", 7)
    with refused("there are more than 7 arrays"):
        open_and_read(path)
    monkeypatch.setattr(h5_layout, "_MAX_ARRAYS", 2)
    with refused("layer_names has more than 2 entries"):
        open_and_read(path)
