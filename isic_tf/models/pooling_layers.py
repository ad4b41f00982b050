"""Pooling layers."""

import tensorflow as tf


class GeneralizedMeanPooling2D(tf.keras.layers.Layer):
    """Generalized mean pooling with a learned exponent of at least 1, initially 3.

    Source: Radenović, Tolias and Chum, PAMI 2019.
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the exponent."""
        self.power = self.add_weight("power", (), initializer=tf.keras.initializers.Constant(3.0))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Pools `[b, h, w, f]` to `[b, f]`."""
        # In float32: in half precision the cube of small features would be 0. Written as a maximum, TensorFlow Lite's
        # XNNPACK (of TensorFlow 2.21) could not prepare it.
        positive = -tf.minimum(-tf.cast(features, tf.float32), -1e-6)
        power = tf.maximum(tf.cast(self.power, tf.float32), 1.0)
        pooled = tf.reduce_mean(positive**power, axis=[1, 2]) ** (1 / power)
        return tf.cast(pooled, self.compute_dtype)
