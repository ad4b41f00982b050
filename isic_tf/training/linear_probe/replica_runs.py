"""Runs a function on all replicas of this process, each with its share of a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.distribution import workers
from isic_tf.inference import predictor

# From the tensors of a batch, and what all replicas get, to the outputs of all replicas, one after another.
Runner = Callable[..., np.ndarray]


def make_runner(strategy: tf.distribute.Strategy, function: Callable[..., tf.Tensor]) -> Runner:
    """Creates the function that runs a function on all replicas of this process; its graph is traced once.

    Args:
        strategy: See `strategies.choose_strategy`.
        function: Called on each replica with its share of each tensor of a batch, and with what all replicas get;
            returns a tensor `[b, ...]`, of a batch that the number of replicas divides.

    Returns:
        Function from the tensors of a batch, a sequence, and tensors that all replicas get, to an array `[B, ...]`.

    Examples:
        >>> run = make_runner(tf.distribute.get_strategy(), lambda numbers, factor: factor * numbers)
        >>> run([tf.constant([1, 2])], tf.constant(3)).tolist()
        [3, 6]
    """
    replicas = workers.count_local_replicas(strategy)

    @tf.function
    def outputs(shares: Any, common: Sequence[tf.Tensor]) -> Any:
        return strategy.experimental_local_results(strategy.run(lambda own: function(*own, *common), args=(shares,)))

    def run(parts: Sequence[tf.Tensor], *common: tf.Tensor) -> np.ndarray:
        return np.concatenate(outputs(predictor.distribute(parts, strategy, replicas), common))

    return run
