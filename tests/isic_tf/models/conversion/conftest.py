import pytest
import tensorflow as tf

from isic_tf.models import backbones


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
