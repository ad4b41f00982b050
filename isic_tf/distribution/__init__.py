"""Devices: `tf.distribute` strategies, TPUs, workers."""
