"""Pooling layers."""

import tensorflow as tf

POOLINGS = ("gap", "gem")


class GeneralizedMeanPooling2D(tf.keras.layers.Layer):
    """The mean over the image of features to a learned power of at least 1, and its root; 3 at first."""

    def build(self, input_shape):
        """Creates the power."""
        self.power = self.add_weight("power", (), initializer=tf.keras.initializers.Constant(3.0))

    def call(self, features):
        """Pools `[b, h, w, f]` to `[b, f]`."""
        # In half precision a cube of small features would be 0.
        # As a maximum, TensorFlow Lite's XNNPACK (of TensorFlow 2.21) could not prepare it.
        positive = -tf.minimum(-tf.cast(features, tf.float32), -1e-6)
        power = tf.maximum(tf.cast(self.power, tf.float32), 1.0)
        pooled = tf.reduce_mean(positive**power, axis=[1, 2]) ** (1 / power)
        return tf.cast(pooled, self.compute_dtype)
