import pytest
import source_weights
import tensorflow as tf

from isic_tf.models import backbones


@pytest.fixture(scope="session")
def networks():
    """Backbones of the three families with made-up weights; tests do not change them."""
    sizes = {"efficientnet-lite0": 65, "efficientnet-b0": 32, "efficientnetv2-b0": 32}
    built = {name: backbones.build_backbone(name, size) for name, size in sizes.items()}
    return {name: source_weights.randomize(network) for name, network in built.items()}


@pytest.fixture
def lite0(networks):
    return networks["efficientnet-lite0"]


@pytest.fixture(scope="session")
def scratch():
    """A network of Lite0 to load weights into."""
    return backbones.build_backbone("efficientnet-lite0", 65)


@pytest.fixture
def built_once(networks, scratch, monkeypatch):
    """Saves the time of building the same networks in each test."""
    build = backbones.build_backbone
    ready = {**networks, "efficientnet-lite0": scratch}
    monkeypatch.setattr(backbones, "build_backbone", lambda name, *options: ready.get(name) or build(name, *options))


@pytest.fixture
def tiny_model():
    """A network of Keras 2 that is no EfficientNet."""
    layers = [tf.keras.layers.Conv2D(2, 3, name="own_conv"), tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)]
    return tf.keras.Sequential([tf.keras.Input((4, 4, 3)), *layers])
