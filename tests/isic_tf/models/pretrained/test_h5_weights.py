import h5py
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.pretrained import h5_layout, h5_weights
from tfrecord_tools import errors

layers = tf.keras.layers


def make_network(names=("a", "bn", "b"), units=(3, 3, 2), top=0, name="small"):
    """Dense layers and a batch normalization; `top` classes."""
    inputs = tf.keras.Input((2,))
    features = layers.Dense(units[0], name=names[0])(inputs)
    features = layers.BatchNormalization(name=names[1])(features)
    features = layers.Dense(units[2], name=names[2])(features)
    if top:
        features = layers.Dense(top, name="predictions")(features)
    network = tf.keras.Model(inputs, features, name=name)
    random = np.random.default_rng(len(network.weights))
    network.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in network.weights])
    return network


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "file.h5")


def check_refused(network, path, message):
    """The error is raised, and no weight was changed."""
    before = network.get_weights()
    with pytest.raises(errors.CorruptRecordError, match=message):
        h5_weights.load(network, path)
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def check_loaded(network, path, source):
    h5_weights.load(network, path)
    for old, new in zip(source.get_weights(), network.get_weights(), strict=False):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("top", [0, 5])
def test_names_decide_with_and_without_top(path, top):
    source = make_network(top=top)
    source.save_weights(path)
    check_loaded(make_network(units=(3, 3, 2)), path, source)


def test_of_names_that_keras_made_up_the_order_counts(path):
    # In the file `dense` is the first layer; here it is the second: by name, layers would be exchanged.
    source = make_network(("dense", "batch_normalization", "dense_1"), (2, 2, 2))
    source.save_weights(path)
    network = make_network(("dense_17", "batch_normalization_4", "dense"), (2, 2, 2))
    check_loaded(network, path, source)


def test_the_order_decides_where_names_are_others(path):
    source = make_network(("stem_1_a", "bn", "stem_1_b"), top=5)
    source.save_weights(path)
    check_loaded(make_network(("stem_2_a", "bn", "stem_2_b")), path, source)


def test_variables_are_found_by_name_within_a_layer(path):
    source = make_network()
    source.save_weights(path)
    with h5py.File(path, "a") as file:
        names = file["bn"].attrs["weight_names"]
        file["bn"].attrs["weight_names"] = names[::-1]
    check_loaded(make_network(), path, source)


def test_a_frozen_layer_is_loaded_in_the_order_of_the_file(path):
    source = make_network()
    source.save_weights(path)
    network = make_network()
    network.set_weights([np.zeros(weight.shape) for weight in network.weights])
    network.trainable = False
    check_loaded(network, path, source)


def test_layers_of_the_same_names_at_other_places_are_not_exchanged(path):
    make_network(("b", "bn", "c"), (2, 2, 2)).save_weights(path)
    check_refused(make_network(("a", "bn", "b"), (2, 2, 2)), path, "b is at the place of a")


def test_missing_layers_are_refused(path):
    inputs = tf.keras.Input((2,))
    tf.keras.Model(inputs, layers.Dense(3, name="a")(inputs)).save_weights(path)
    check_refused(
        make_network(),
        path,
        r"expected weights of small in .*file.h5, 3 layers, 8 arrays, got 1 layers and 2 arrays: bn is missing \(2 ",
    )


def test_layers_that_belong_to_another_network_are_refused(path):
    inputs = tf.keras.Input((2,))
    features = layers.Dense(3, name="a")(inputs)
    features = layers.Dense(3, name="extra")(features)
    features = layers.BatchNormalization(name="bn")(features)
    tf.keras.Model(inputs, layers.Dense(2, name="b")(features)).save_weights(path)
    check_refused(make_network(), path, r"4 layers and 10 arrays: extra belongs to no layer \(1 left over\)")


def test_shapes_of_another_network_are_refused(path):
    make_network(units=(3, 3, 4)).save_weights(path)
    check_refused(make_network(), path, r"/b/b/kernel:0 has the shape \(3, 4\) instead of \(3, 2\)")


def test_layers_of_another_kind_are_refused(path):
    inputs = tf.keras.Input((2,))
    features = layers.Dense(3, name="a", use_bias=False)(inputs)
    features = layers.BatchNormalization(name="bn")(features)
    tf.keras.Model(inputs, layers.Dense(2, name="b")(features)).save_weights(path)
    check_refused(make_network(), path, "a has 1 arrays instead of 2 of a")


def test_a_repeated_name_with_too_few_layers_is_refused(path):
    make_network().save_weights(path)
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [b"a", b"a"]
    check_refused(make_network(), path, "bn is missing")


def test_values_that_are_none_leave_all_weights_unchanged(path):
    make_network().save_weights(path)
    with h5py.File(path, "a") as file:
        file["b"]["b"]["bias:0"][0] = np.inf
    check_refused(make_network(), path, "bias:0 holds values that are not finite")


def make_keras_efficientnet(path, mean, variance, *, has_factor):
    """A small network that begins as `tf.keras.applications.EfficientNetB0`, with or without its second factor."""
    inputs = tf.keras.Input((2, 2, 3))
    normalization = layers.Normalization()
    features = normalization(layers.Rescaling(1 / 255)(inputs))
    if has_factor:
        features = tf.math.multiply(features, [[[[2.0, 2.0, 2.0]]]])
    network = tf.keras.Model(inputs, layers.Conv2D(2, 1, name="stem_conv")(features))
    normalization.set_weights([np.array(mean), np.array(variance), np.array(0)])
    network.save_weights(path)
    return network


def make_stem():
    inputs = tf.keras.Input((2, 2, 3))
    return tf.keras.Model(inputs, layers.Conv2D(2, 1, name="stem_conv")(inputs), name="efficientnet-b0")


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SQUARES = tuple(value**2 for value in STD)


@pytest.mark.parametrize(
    ("variance", "has_factor", "is_published"),
    # The published file has the deviations as variances, and its network divides by their roots twice.
    [(STD, False, True), (STD, True, False), (SQUARES, False, False)],
)
def test_a_stored_normalization_of_imagenet_is_that_of_the_backbone(path, variance, has_factor, is_published):
    source = make_keras_efficientnet(path, MEAN, variance, has_factor=has_factor)
    network = make_stem()
    h5_weights.load(network, path, is_published=is_published)
    np.testing.assert_array_equal(network.get_weights()[0], source.get_layer("stem_conv").get_weights()[0])


@pytest.mark.parametrize(
    ("mean", "variance", "has_factor"),
    [(MEAN, STD, False), (MEAN, SQUARES, True), ((0, 0, 0), (1, 1, 1), False), (STD, STD, True)],
)
def test_a_stored_normalization_of_another_network_is_refused(path, mean, variance, has_factor):
    make_keras_efficientnet(path, mean, variance, has_factor=has_factor)
    check_refused(make_stem(), path, r"normalization.* divides by .* instead of \[0.229, .* it is another network")


def test_a_normalization_of_other_channels_is_refused(path):
    make_keras_efficientnet(path, MEAN, STD, has_factor=True)
    with h5py.File(path, "a") as file:
        (name,) = [name for name in file if name.startswith("normalization")]
        del file[name][name]["mean:0"], file[name][name]["variance:0"]
        file[name][name]["mean:0"], file[name][name]["variance:0"] = np.ones(4, "f4"), np.ones(4, "f4")
    check_refused(make_stem(), path, "holds other things than mean and variance")


def test_a_normalization_that_would_fill_the_memory_is_refused_unread(path):
    make_keras_efficientnet(path, MEAN, STD, has_factor=True)
    with h5py.File(path, "a") as file:
        (name,) = [name for name in file if name.startswith("normalization")]
        small = [f"{name}/{place}:0" for place in "xy"]
        for place in small:
            file[name][place] = np.ones(3, "f4")
        del file[name][name]["mean:0"]
        file[name][name].create_dataset("mean:0", (10**13,), "f4")
        file[name].attrs["weight_names"] = [*small, f"{name}/mean:0", f"{name}/variance:0"]
    check_refused(make_stem(), path, "holds other things than mean and variance")


def write_layout(path, network, top):
    """Writes the published layout of a network; its arrays take no space, since they have no values."""
    saved = {layer.name: layer.weights for layer in network.layers}
    with h5py.File(path, "w") as file:
        for name, weights in saved.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [weight.name.encode() for weight in weights]
            for weight in weights:
                group.create_dataset(weight.name, tuple(weight.shape), "f4")
        if top:
            file["predictions/kernel:0"], file["predictions/bias:0"] = np.ones((4, 5), "f4"), np.ones(5, "f4")
            file["predictions"].attrs["weight_names"] = [b"kernel:0", b"bias:0"]
        names = [*saved, "predictions"] if top else list(saved)
        half = len(names) // 2
        file.attrs["layer_names0"], file.attrs["layer_names1"] = names[:half], names[half:]


def test_each_variable_of_the_deepest_network_is_served_by_its_own_array(path, monkeypatch):
    assigned = {}
    monkeypatch.setattr(h5_layout, "read_array", lambda array: array.data.name)
    monkeypatch.setattr(
        tf.keras.backend,
        "batch_set_value",
        lambda pairs: assigned.update({variable.name: name for variable, name in pairs}),
    )
    # A graph of its own, in which no variable is given values or memory.
    with tf.Graph().as_default():
        tf.keras.backend.set_learning_phase(0)
        network = backbones.build_backbone("efficientnet-l2", 32)
    expected = {f"/{layer.name}/{weight.name}" for layer in network.layers for weight in layer.weights}
    for top in (True, False):
        assigned.clear()
        write_layout(path, network, top)
        h5_weights.load(network, path)
        assert set(assigned.values()) == expected
        assert all(name.endswith(f"/{variable}") for variable, name in assigned.items())
