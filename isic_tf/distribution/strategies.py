"""Chooses the `tf.distribute` strategy for this machine."""

import functools
import logging
from collections.abc import Mapping

import tensorflow as tf

from isic_tf.distribution import tpus, workers
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)


def choose_strategy(
    name: str = "auto",
    tpu: str = "",
    reads: Mapping[str, str | None] | None = None,
    hosted: Mapping[str, object] | None = None,
) -> tf.distribute.Strategy:
    """Chooses a `tf.distribute` strategy.

    Every call with the same arguments returns the same object, since two strategies of a kind would mix up their
    collective operations.

    Args:
        name: One of `config.STRATEGIES`. `auto` takes a TPU if there is one, else the workers of TF_CONFIG, else all
            GPUs, else the only device; it logs a line where that is less than the machine seems to have.
        tpu: Name or address of the TPU; "" for the TPU of this machine, else that of its environment, see
            `tpus.find_address`.
        reads: Dict from option to paths, separated by commas, that a remote TPU would have to read itself.
        hosted: Dict from option to value, false where not given, of options that need this process where the input is
            read.

    Returns:
        The strategy.

    Raises:
        ConfigError: The machine lacks what the strategy needs, or the TPU cannot reach what it has to read.

    Examples:
        >>> choose_strategy("default").num_replicas_in_sync
        1
    """
    if tpu and name not in ("auto", "tpu"):
        raise errors.ConfigError(f"expected --strategy=tpu or auto with --tpu={tpu}, got {name}; omit one of them")
    if tpu:
        name = "tpu"
    if name in ("auto", "tpu"):
        _refuse_unreachable(tpu, reads or {}, hosted or {})
    return _choose_best() if name == "auto" else _create(name, tpu)


def _refuse_unreachable(tpu: str, reads: Mapping[str, str | None], hosted: Mapping[str, object]) -> None:
    """Refuses what a remote TPU, whose own host reads the input, cannot reach."""
    address = tpus.find_address(tpu)
    if address in ("", "local"):
        return
    for flag, paths in reads.items():
        local_paths = [path for path in filesystem.split_list(paths or "") if not path.startswith("gs://")]
        if local_paths:
            raise errors.ConfigError(
                f"the TPU {address} is on another machine and reads only from buckets: expected --{flag}=gs://..., got "
                f"{local_paths[0]}; on the TPU's own machine, use --tpu=local"
            )
    given = [f"--{flag}={value}" for flag, value in hosted.items() if value]
    if given:
        raise errors.ConfigError(
            f"the TPU {address} is on another machine, which {given[0]} cannot reach; leave it out, or use --tpu=local "
            "on the TPU's own machine"
        )


def _choose_best() -> tf.distribute.Strategy:
    """Creates the strategy that `auto` stands for; without a TPU that the machine seems to have, logs why."""
    address = tpus.find_address()
    if detect_strategy() == "tpu":
        try:
            return _create("tpu", "")
        except ValueError as error:
            # After a failed connection, TensorFlow cannot be used any more.
            if address not in ("", "local"):
                raise
            reason = str(error)
    else:
        reason = tpus.find_obstacle()
    name = _detect_without_tpu()
    if name == "default" and not tf.config.list_logical_devices("GPU"):
        _LOG.info(f"running on the CPU, without a GPU or TPU: {reason}")
    elif address or tpus.list_devices():
        _LOG.info(f"running without a TPU: {reason}")
    return _create(name, "")


@functools.cache
def _create(name: str, tpu: str) -> tf.distribute.Strategy:
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multiworker":
        if workers.count_workers() < 2:
            raise errors.ConfigError(
                "expected the addresses of two or more workers in TF_CONFIG for --strategy=multiworker; set TF_CONFIG, "
                "or use --strategy=auto"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tpus.connect(tpu)


def detect_strategy() -> str:
    """Returns the name of the strategy that `auto` stands for on this machine.

    Returns:
        One of `config.STRATEGIES`.
    """
    return "tpu" if tpus.is_present() else _detect_without_tpu()


def _detect_without_tpu() -> str:
    if workers.count_workers() > 1:
        return "multiworker"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "default"


def describe_strategy(strategy: tf.distribute.Strategy) -> str:
    """Describes a strategy in a line: its class, its replicas and its devices.

    Args:
        strategy: See `choose_strategy`.

    Returns:
        Text such as "MirroredStrategy: 2 replica(s) on GPU".

    Examples:
        >>> describe_strategy(choose_strategy("default")).split(":")[0]
        'DefaultDistributionStrategy'
    """
    found = {device.device_type for device in tf.config.list_logical_devices()}
    device = next(kind for kind in ("TPU", "GPU", "CPU") if kind in found)
    return f"{type(strategy).__name__.lstrip('_')}: {strategy.num_replicas_in_sync} replica(s) on {device}"
