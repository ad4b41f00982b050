import tensorflow as tf

from isic_tf.models import network_layers


def test_layers_of_networks_within_networks_stand_in_their_place():
    layers = tf.keras.layers
    innermost = tf.keras.Sequential([layers.Dense(2, name="a"), layers.Dense(2, name="b")])
    inner = tf.keras.Sequential([innermost, layers.Dense(2, name="c")])
    inputs = tf.keras.Input((3,), name="inputs")
    network = tf.keras.Model(inputs, layers.Dense(1, name="d")(inner(inputs)))
    assert [layer.name for layer in network_layers.list_layers(network)] == ["inputs", "a", "b", "c", "d"]
