"""The layers of a network, and of the networks inside it."""

from collections.abc import Iterator

import tensorflow as tf


def list_layers(network: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    """Lists the layers of a network in order, those of networks inside it in their place.

    Args:
        network: Keras model.

    Yields:
        Layers that are no models.

    Examples:
        >>> inner = tf.keras.Sequential([tf.keras.layers.Dense(1, name="inner")])
        >>> [layer.name for layer in list_layers(tf.keras.Sequential([inner, tf.keras.layers.ReLU(name="last")]))]
        ['inner', 'last']
    """
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model):
            yield from list_layers(layer)
        else:
            yield layer
