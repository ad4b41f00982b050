"""The `tf.distribute` strategy of a machine."""

import contextlib
import functools
import glob
import importlib.util
import json
import os

import tensorflow as tf
from absl import flags

STRATEGIES = ("auto", "default", "mirrored", "tpu", "multiworker")


def choose(name="auto", tpu=""):
    """Creates a strategy, the same one at every call: two of a kind would mix up their collective operations.

    Args:
        name: One of `STRATEGIES`; `auto` takes a TPU where there is one, else the workers of TF_CONFIG, else all GPUs,
            else the one device there is.
        tpu: The TPU's name or address, see `tpu_address`; "" for the one of this machine or its environment.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        ValueError: The machine has not what the strategy needs.
    """
    if tpu and name not in ("auto", "tpu"):
        raise ValueError(f"expected --strategy=tpu or auto with --tpu={tpu}, got {name}")
    if tpu:
        name = "tpu"
    return _create(detect() if name == "auto" else name, tpu)


@functools.cache
def _create(name, tpu):
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multiworker":
        if count_workers() < 2:
            raise ValueError("expected the addresses of two workers or more in TF_CONFIG for --strategy=multiworker")
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu(tpu)


def detect():
    """Names the strategy that `auto` stands for on this machine."""
    if tpu_present():
        return "tpu"
    if count_workers() > 1:
        return "multiworker"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "default"


def count_workers():
    """Counts the workers of TF_CONFIG; 0 where it is not set."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except ValueError as error:
        raise ValueError(f"expected JSON in the environment variable TF_CONFIG: {error}") from error
    return len(cluster.get("worker", [])) + len(cluster.get("chief", []))


def tpu_present():
    """Tells whether the environment names a TPU, or this machine has one."""
    return bool(tpu_address()) or _has_tpu()


def _has_tpu():
    """Looks for a TPU without touching it: `initialize_tpu_system` aborts the process where there is none."""
    # Other devices are passed through under the same names, so the TPU's library must be there too.
    devices = glob.glob("/dev/accel*") or glob.glob("/dev/vfio/[0-9]*")
    return bool(devices and importlib.util.find_spec("libtpu"))


def tpu_address(tpu=""):
    """Gives what the environment calls its TPU, where `--tpu` does not say.

    TPU_NAME is set on Cloud TPU VMs, by Kaggle and by Colab's TPU VMs; COLAB_TPU_ADDR by Colab's older TPU nodes.

    Returns:
        A name, an address such as `grpc://10.0.0.2:8470`, or "" where there is none.
    """
    node = os.environ.get("COLAB_TPU_ADDR", "")
    return tpu or os.environ.get("TPU_NAME", "") or (node and f"grpc://{node.removeprefix('grpc://')}")


def _tpu(tpu):
    # A TPU of this machine itself is called `local`.
    address = tpu_address(tpu) or "local"
    if address == "local" and not _has_tpu():
        wanted = "a TPU (--tpu, TPU_NAME, or /dev/accel* or /dev/vfio/* and libtpu)"
        raise ValueError(f"expected {wanted} for --strategy=tpu, found none")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def local_replicas(strategy):
    """Counts the replicas of this process."""
    workers = 1 if is_alone(strategy) else count_workers()
    return strategy.num_replicas_in_sync // workers


def is_alone(strategy):
    """Tells whether this process is no worker of several."""
    return not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def mean_over_workers(strategy, value):
    """Gives the mean of a number of each worker, the same on all of them; where there is one, the number itself."""
    if is_alone(strategy):
        return value
    values = strategy.experimental_distribute_values_from_function(lambda _: tf.constant(float(value), tf.float64))
    return float(strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None))


def is_chief(strategy):
    """Tells whether this process writes the run's files: the only one, or the first worker."""
    if is_alone(strategy):
        return True
    resolver = strategy.cluster_resolver
    return resolver.task_type == "chief" or (resolver.task_type == "worker" and resolver.task_id == 0)


@contextlib.contextmanager
def explained():
    """Turns the failure of a step whose other workers are gone into a ValueError that says what to do."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError) as error:
        if "ollective" not in error.message:
            raise
        raise ValueError(
            "another worker is gone; start all workers with the same command again, and they go on from the last "
            "checkpoint"
        ) from error


def define_flags():
    """Defines the flags of every command that uses a device."""
    flags.DEFINE_enum("strategy", "auto", STRATEGIES, "What to run on; auto takes what the machine has.")
    flags.DEFINE_string("tpu", "", "Name or address of a TPU elsewhere; 'local' for that of this machine.")


def describe(strategy):
    """Says in a line what the strategy runs on."""
    kinds = {device.device_type for device in tf.config.list_logical_devices()} - {"TPU_SYSTEM"}
    kind = next(kind for kind in ("TPU", "GPU", "CPU") if kind in kinds)
    return f"{type(strategy).__name__.lstrip('_')}: {strategy.num_replicas_in_sync} replica(s) on {kind}"
