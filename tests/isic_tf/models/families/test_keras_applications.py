import inspect

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.families import keras_applications, names

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
# Parameters without the top, and features f. Those of DenseNet and MobileNetV3 are Keras's, less (f + 1) * 1000 of the
# classes; those of RegNet, without moving statistics, the authors'. The paper on ResNet-RS gives 36 million with the
# classes.
COUNTS = {
    "resnet-rs-50": (33_696_288, 2048),
    "regnetx-002": (2_684_792 - 369_000, 368),
    "regnety-002": (3_162_996 - 369_000, 368),
    "densenet-121": (8_062_504 - 1_025_000, 1024),
    "mobilenetv3-small": (939_120, 576),
    "mobilenetv3-large": (2_996_352, 960),
}
OPTIONS = {"include_top": False, "weights": None, "input_shape": (32, 32, 3)}


def count(weights):
    return sum(int(np.prod(weight.shape)) for weight in weights)


@pytest.mark.parametrize("backbone", COUNTS)
def test_parameter_counts_are_the_published_ones(backbone):
    expected, features = COUNTS[backbone]
    with tf.Graph().as_default():
        tf.keras.backend.set_learning_phase(0)
        network = backbones.build_backbone(backbone, 32)
    assert count(network.trainable_weights if "regnet" in backbone else network.weights) == expected
    assert network.output_shape == (None, 1, 1, features)
    assert network.name == backbone
    assert not any(isinstance(layer, tf.keras.Model) for layer in network.layers)
    # The library's ResNet-RS keeps the statistics of the last batch alone.
    momenta = {layer.momentum for layer in network.layers if isinstance(layer, tf.keras.layers.BatchNormalization)}
    assert min(momenta) >= 0.9


REGNET_SIZES = ("002", "004", "006", "008", "016", "032", "040", "064", "080", "120", "160", "320")


def test_the_families_are_complete():
    sizes = {
        "resnet-rs": ("50", "101", "152", "200", "270", "350", "420"),
        "regnetx": REGNET_SIZES,
        "regnety": REGNET_SIZES,
        "densenet": ("121", "169", "201"),
        "mobilenetv3": ("small", "large"),
    }
    expected = {f"{family}-{size}" for family, names in sizes.items() for size in names}
    assert set(names.FAMILIES["keras_applications"]) == expected


@pytest.mark.parametrize("backbone", names.FAMILIES["keras_applications"])
def test_every_name_builds_the_librarys_network_of_that_name(backbone, monkeypatch):
    # The networks themselves, of up to 2,000 layers, take long to build.
    name = next(name for name in dir(tf.keras.applications) if name.lower() == backbone.replace("-", ""))
    calls = []

    def create(include_preprocessing=True, **options):
        calls.append({**options, "include_preprocessing": include_preprocessing})
        inputs = tf.keras.Input(options["input_shape"])
        return tf.keras.Model(inputs, tf.keras.layers.BatchNormalization()(inputs), name="librarys_own")

    monkeypatch.setattr(tf.keras.applications, name, create)
    network = keras_applications.build(backbone, 32)
    # DenseNet has no preprocessing in the network, and no such option.
    assert calls == [{**OPTIONS, "include_preprocessing": "densenet" in backbone}]
    assert network.name == backbone
    assert network.layers[1].momentum == (0.9 if "resnet-rs" in backbone else 0.99)


def small_network(backbone):
    """The library's network with its preprocessing, but few layers after that."""
    function = getattr(tf.keras.applications, keras_applications._FUNCTIONS[backbone])
    module = inspect.getmodule(function)
    if backbone == "resnet-rs-50":
        return module.ResNetRS(50, block_args=[{"input_filters": 4, "num_repeats": 1}], **OPTIONS)
    if backbone == "mobilenetv3-small":
        return module.MobileNetV3(lambda features, *_: features, 8, **OPTIONS)
    return module.RegNet([1] * 4, [8] * 4, 8, backbone[6].upper(), 224, **OPTIONS)


@pytest.mark.parametrize("backbone", ["resnet-rs-50", "regnetx-002", "regnety-002", "mobilenetv3-small"])
def test_the_normalization_is_that_of_the_librarys_network(backbone):
    network = small_network(backbone)
    starts = (tf.keras.layers.Conv2D, tf.keras.layers.ZeroPadding2D)
    first = next(layer for layer in network.layers if isinstance(layer, starts))
    golden = tf.keras.Model(network.input, first.input)(255 * IMAGES).numpy()
    assert len(network.layers) > network.layers.index(first) > 1
    found = keras_applications.make_normalization(backbone)(IMAGES).numpy()
    assert found == pytest.approx(golden, abs=1e-5)


def test_the_normalization_of_densenet_is_the_librarys():
    golden = tf.keras.applications.densenet.preprocess_input(255 * IMAGES)
    found = keras_applications.make_normalization("densenet-121")(IMAGES).numpy()
    assert found == pytest.approx(golden, abs=1e-5)


@pytest.mark.parametrize("backbone", ["resnet-rs-50", "regnetx-002", "densenet-121", "mobilenetv3-small"])
def test_the_normalization_computes_in_float32_whatever_the_precision(backbone):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        normalized = keras_applications.make_normalization(backbone)(IMAGES)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert normalized.dtype == tf.float32
    assert (normalized.numpy() == keras_applications.make_normalization(backbone)(IMAGES).numpy()).all()


def test_names_of_weights_do_not_depend_on_the_networks_before():
    with tf.Graph().as_default():
        tf.keras.backend.set_learning_phase(0)
        for _ in range(2):
            network = keras_applications.build("resnet-rs-50", 32)
            assert network.layers[2].name == "stem_1_stem_conv_1"
