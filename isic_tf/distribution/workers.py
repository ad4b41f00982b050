"""Multi-worker training: counts workers, identifies the chief, averages values over workers."""

import contextlib
import json
import os

import tensorflow as tf

from tfrecord_tools import errors


def count_workers():
    """Counts the workers of TF_CONFIG; 0 where it is not set."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except ValueError as error:
        raise errors.ConfigError(f"expected JSON in the environment variable TF_CONFIG: {error}") from error
    return len(cluster.get("worker", [])) + len(cluster.get("chief", []))


def count_local_replicas(strategy):
    """Counts the replicas of this process."""
    workers = 1 if is_single_worker(strategy) else count_workers()
    return strategy.num_replicas_in_sync // workers


def is_single_worker(strategy):
    """Tells whether this process is no worker of several."""
    return not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def mean_over_workers(strategy, value):
    """Gives the mean of a number of each worker, the same on all of them; where there is one, the number itself."""
    if is_single_worker(strategy):
        return value
    values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(value), tf.float64))
    return float(strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None))


def is_chief(strategy):
    """Tells whether this process writes the run's files: the only one, or the first worker."""
    if is_single_worker(strategy):
        return True
    resolver = strategy.cluster_resolver
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0)


@contextlib.contextmanager
def lost_worker_errors():
    """Turns the failure of a step whose other workers are gone into an IsicError that says what to do."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if "ollective" not in error.message:
            raise
        raise errors.ConfigError(
            "another worker is gone; start all workers with the same command again, and they go on from the last "
            "checkpoint"
        ) from error
