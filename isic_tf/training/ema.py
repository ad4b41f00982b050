"""Exponential moving average of weights and batch statistics."""

import tensorflow as tf


def averaged_weights(classifier):
    """Lists all weights, batch statistics too, in an order that freezing some of them does not change."""
    return sorted(classifier.weights, key=lambda weight: weight.name)


def update_averages(state, decay):
    if state.averages:
        # Faster in the first steps, as TensorFlow's own average.
        done = tf.cast(state.optimizer.iterations, tf.float32)
        current = tf.minimum(decay, done / (done + 9))
        for average, weight in zip(state.averages, averaged_weights(state.model), strict=True):
            average.assign(current * average + (1 - current) * weight)


def copy_averages(state, classifier):
    """Gives a classifier the averaged weights of the one that is trained, if it is another."""
    if classifier is not state.model:
        # By place, since two weights of a layer's own layers may have one name.
        for weight, average in zip(averaged_weights(classifier), state.averages, strict=True):
            weight.assign(average.read_value())


def start_average(weight):
    """Creates the variable of a weight's average.

    Batch statistics are averaged too, as by EfficientNet's authors: those of the weights in training fit averaged ones
    badly while the learning rate is high.
    """
    if weight.trainable:
        # All replicas reckon the same, so each keeps its own copy: to hand round that of the first would send all
        # weights from core to core in every step, and on a TPU take them once more for each core.
        return tf.Variable(weight, trainable=False, aggregation=tf.VariableAggregation.NONE)
    # As batch normalisation keeps its own: one on each replica, of which the mean is read.
    options = {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": tf.VariableAggregation.MEAN}
    return tf.Variable(weight, trainable=False, **options)
