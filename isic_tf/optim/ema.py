"""Exponential moving average of weights and batch statistics."""

import tensorflow as tf

# How the names of weights begin that are never trained, and so have themselves as their average.
CONSTANT = "constant_"


def averaged_weights(classifier: tf.keras.Model) -> list[tf.Variable]:
    """Lists the weights that are averaged: all of them, including batch statistics.

    Args:
        classifier: Keras model.

    Returns:
        The variables, sorted by name. Freezing some of them does not change the order.
    """
    return sorted(classifier.weights, key=lambda weight: weight.name)


def start_average(weight: tf.Variable) -> tf.Variable:
    """Creates the variable that holds the average of a weight, and starts it at the weight's value.

    Batch statistics are averaged too, as EfficientNet's authors do: while the learning rate is high, those of the
    weights in training do not fit averaged weights.

    Args:
        weight: Weight of the model; created in the scope of the strategy.

    Returns:
        Variable of the same shape and dtype, not trainable.
    """
    if weight.trainable:
        # Every replica computes the same average, so each keeps its own copy. Broadcasting the copy of one replica
        # would send all weights from core to core in every step, and on a TPU hold them once more for each core.
        return tf.Variable(weight, trainable=False, aggregation=tf.VariableAggregation.NONE)
    # As batch normalization keeps its statistics: one copy on each replica, of which the mean is read.
    return tf.Variable(
        weight,
        trainable=False,
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.MEAN,
    )


def update_averages(state: tf.train.Checkpoint, decay: float) -> None:
    """Moves the averages towards the weights after a step; does nothing if the state has no averages.

    The decay is min(`decay`, n / (n + 9)) after n steps: it is smaller in the first steps, as in TensorFlow's own
    `ExponentialMovingAverage`.

    Args:
        state: See `train_state.make_state`.
        decay: Largest decay, 0 to 1.
    """
    if state.averages:
        done = tf.cast(state.optimizer.iterations, tf.float32)
        current = tf.minimum(decay, done / (done + 9))
        for average, weight in zip(state.averages, averaged_weights(state.model), strict=True):
            # An average of a number and itself would be rounded at every step.
            if CONSTANT not in weight.name:
                average.assign(current * average + (1 - current) * weight)


def copy_averages(state: tf.train.Checkpoint, classifier: tf.keras.Model) -> None:
    """Copies the averages into the classifier that is evaluated; does nothing if that is the one in training.

    Args:
        state: See `train_state.make_state`.
        classifier: See `train_state.make_evaluated`.
    """
    if classifier is not state.model:
        # By position: two weights of one layer's own layers may share a name.
        for weight, average in zip(averaged_weights(classifier), state.averages, strict=True):
            weight.assign(average.read_value())
