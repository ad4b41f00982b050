import sys

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones, classifiers
from isic_tf.models.families import names, user_backbones
from tfrecord_tools import errors

MODULE = """
import keras
import tensorflow as tf

NOT_CALLABLE = 3

def build(image_size):
    image = tf.keras.Input((image_size, image_size, 3))
    features = tf.keras.layers.Conv2D(8, 3, 16)(tf.keras.layers.Rescaling(2.0, -1.0)(image))
    return tf.keras.Model(image, tf.keras.layers.BatchNormalization()(features), name="whatever")

def sequential(image_size):
    layers = [tf.keras.Input((image_size, image_size, 3)), tf.keras.layers.Conv2D(4, 3, 32)]
    return tf.keras.Sequential(layers)

def fails(image_size):
    raise KeyError("no such\\nlayer")

def nothing(image_size):
    pass

def keras_3(image_size):
    image = keras.Input((image_size, image_size, 3))
    return keras.Model(image, keras.layers.Conv2D(8, 3)(image))

class Subclass(tf.keras.Model):
    def call(self, image):
        return image

def subclassed(image_size):
    return Subclass()

def any_size(image_size):
    image = tf.keras.Input((None, None, 3))
    return tf.keras.Model(image, tf.keras.layers.Conv2D(8, 3)(image))

def pooled(image_size):
    image = tf.keras.Input((image_size, image_size, 3))
    return tf.keras.Model(image, tf.keras.layers.GlobalAveragePooling2D()(image))

def integers(image_size):
    image = tf.keras.Input((image_size, image_size, 3), dtype="uint8")
    return tf.keras.Model(image, tf.keras.layers.Conv2D(4, 3)(tf.cast(image, tf.float32)))

BASE = []

def shared(image_size):
    BASE[:] = BASE or [build(image_size)]
    return tf.keras.Model(BASE[0].input, tf.keras.layers.Conv2D(2, 1, name="own")(BASE[0].output))

KEPT = []

def kept(image_size):
    KEPT[:] = KEPT or [build(image_size)]
    return KEPT[0]

def two_outputs(image_size):
    image = tf.keras.Input((image_size, image_size, 3))
    return tf.keras.Model(image, [image, image])
"""


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    (tmp_path / "networks_of_mine").mkdir()
    (tmp_path / "networks_of_mine" / "small.py").write_text(MODULE)
    (tmp_path / "broken_networks.py").write_text("import tensorflow\n1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("networks_of_mine.small", "networks_of_mine", "broken_networks"):
        sys.modules.pop(name, None)


def test_a_network_of_the_user_becomes_the_backbone():
    backbone = "networks_of_mine.small:build"
    classifier = classifiers.build_classifier(backbone, 32)
    network = classifiers.backbone_of(classifier)
    assert network.name == "networks_of_mine.small.build"
    assert network.output_shape == (None, 2, 2, 8)
    kernel, _ = network.layers[2].get_weights()
    images = np.random.default_rng(0).random((1, 32, 32, 3)).astype(np.float32)
    # It sees images in [0, 1], and normalizes them itself; its batch normalization divides by sqrt(1 + 0.001).
    golden = tf.nn.conv2d(2 * images - 1, kernel, 16, "VALID").numpy() / np.sqrt(1.001)
    assert network(backbones.make_normalization(backbone)(images)).numpy() == pytest.approx(golden, abs=1e-5)
    assert classifier(images).shape == (1, 1)
    assert backbones.default_weights(backbone) == "none"


def test_images_reach_the_user_in_float32_whatever_the_precision():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        normalized = user_backbones.make_normalization("a:b")(tf.constant([0.123456]))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert normalized.dtype == tf.float32
    assert normalized.numpy() == [np.float32(0.123456)]


def test_a_sequential_model_is_taken_too():
    network = user_backbones.build("networks_of_mine.small:sequential", 64)
    assert network.output_shape == (None, 2, 2, 4)


def test_names_of_weights_do_not_depend_on_the_networks_before():
    first, second = (user_backbones.build("networks_of_mine.small:build", 32) for _ in range(2))
    assert [weight.name for weight in first.weights] == [weight.name for weight in second.weights]
    assert first.weights[0].name == "conv2d/kernel:0"


@pytest.mark.parametrize("name", ["kept", "shared"])
def test_a_function_that_returns_one_network_twice_is_refused(name):
    backbones.build_backbone(f"networks_of_mine.small:{name}", 32)
    with pytest.raises(errors.ConfigError, match="to return a new network each time .*got layers of"):
        backbones.build_backbone(f"networks_of_mine.small:{name}", 32)


def test_published_weights_of_a_users_network_are_refused():
    with pytest.raises(errors.ConfigError, match="no imagenet weights of networks_of_mine.small:build"):
        backbones.build_backbone("networks_of_mine.small:build", 32, "imagenet")


@pytest.mark.parametrize("address", ["a b:c", "a:", ":b", "a:b:c", "a/b:c", "a:b()", "a:b.c", "..a:b", "a:1", "ä:b"])
def test_what_is_no_address_is_refused_before_anything_is_imported(address):
    assert names.is_address(address)
    with pytest.raises(errors.ConfigError, match="expected --backbone=module:function of letters, digits, under"):
        backbones.check_name(address)


@pytest.mark.parametrize("address", ["os:_exit", "os.path:join", "time:sleep", "builtins:chr"])
def test_functions_of_python_are_refused(address):
    with pytest.raises(errors.ConfigError, match=f"a module of your own, got {address.split(':')[0]}, which is Python"):
        backbones.check_name(address)


def test_checking_a_name_does_not_import_the_module():
    backbones.check_name("broken_networks:build")
    assert "broken_networks" not in sys.modules


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (
            "no_such_networks:build",
            "no_such_networks .*imported: ModuleNotFoundError: No module .* PYTHONPATH=. before",
        ),
        ("broken_networks:build", "broken_networks .* cannot be imported: ZeroDivisionError: division by zero; start"),
        ("networks_of_mine.small:missing", r"expected a function missing in .*small.py for .*, but there is none$"),
        ("networks_of_mine.small:NOT_CALLABLE", r"function NOT_CALLABLE in .*small.py for .*, but there is a int$"),
        ("networks_of_mine.small:fails", r"small:fails, which failed for 32 px: KeyError: 'no such\\nlayer'$"),
        ("networks_of_mine.small:nothing", "return a model of Keras 2, got builtins.NoneType; build it of tf.keras"),
        ("networks_of_mine.small:keras_3", r"return a model of Keras 2, got keras\.src\.models.*Functional; build it"),
        ("networks_of_mine.small:subclassed", "return a functional model, got Subclass without fixed inputs; build"),
        ("networks_of_mine.small:any_size", r"receive \[b, 32, 32, 3\], found an input of \(None, None, None, 3\)"),
        ("networks_of_mine.small:integers", r"float32 images in \[0, 1\], found an input of uint8, which would make"),
        ("networks_of_mine.small:pooled", r"features \[b, h, w, f\] before pooling, found an output of \(None, 3\)"),
        ("networks_of_mine.small:two_outputs", r"features \[b, h, w, f\] before pooling, found an output of \[\(None"),
    ],
)
def test_what_cannot_be_used_is_named_in_one_line(address, message):
    with pytest.raises(errors.ConfigError, match=message) as caught:
        backbones.build_backbone(address, 32)
    assert "\n" not in str(caught.value)


def test_an_error_of_the_project_in_a_users_function_is_passed_on(monkeypatch):
    import networks_of_mine.small

    def refuse(image_size):
        raise errors.ConfigError("too small")

    monkeypatch.setattr(networks_of_mine.small, "build", refuse)
    with pytest.raises(errors.ConfigError, match="^too small$"):
        user_backbones.build("networks_of_mine.small:build", 32)
