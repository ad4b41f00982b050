"""Multi-worker training: counts workers, identifies the chief, averages values over workers."""

import contextlib
import json
import os
from collections.abc import Iterator

import tensorflow as tf

from tfrecord_tools import errors


def count_workers() -> int:
    """Counts the workers in the environment variable TF_CONFIG.

    Returns:
        0 if it is not set.

    Raises:
        ConfigError: TF_CONFIG is not JSON.
    """
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except ValueError as error:
        raise errors.ConfigError(
            f"expected JSON in the environment variable TF_CONFIG: {error}; correct it, or unset it for a single worker"
        ) from error
    return len(cluster.get("worker", [])) + len(cluster.get("chief", []))


def count_local_replicas(strategy: tf.distribute.Strategy) -> int:
    """Counts the replicas of this process.

    Args:
        strategy: See `strategies.choose_strategy`.

    Returns:
        1 or more.
    """
    workers = 1 if is_single_worker(strategy) else count_workers()
    return strategy.num_replicas_in_sync // workers


def is_single_worker(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the only worker."""
    return not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def mean_over_workers(strategy: tf.distribute.Strategy, value: float) -> float:
    """Averages a number over all workers; every worker must call it.

    Args:
        strategy: See `strategies.choose_strategy`.
        value: The number of this worker.

    Returns:
        The mean, the same on every worker; `value` itself if there is only one.
    """
    if is_single_worker(strategy):
        return value
    values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(value), tf.float64))
    return float(strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process writes the files of the run: the only process, or the first worker."""
    if is_single_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0)


@contextlib.contextmanager
def lost_worker_errors() -> Iterator[None]:
    """Replaces the error of a step whose other workers have failed by one that names the remedy.

    Raises:
        IsicError: Another worker failed while the block ran.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        # As in "Collective ops is aborted".
        if "ollective" not in error.message:
            raise
        raise errors.IsicError(
            "another worker failed; rerun the same command on every worker to resume from the last checkpoint"
        ) from error
