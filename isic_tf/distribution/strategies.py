"""Chooses the `tf.distribute` strategy for this machine."""

import functools
import logging

import tensorflow as tf

from isic_tf.distribution import tpus, workers
from tfrecord_tools import errors

_LOG = logging.getLogger(__name__)


def choose_strategy(name="auto", tpu="", reads=None, hosted=None):
    """Creates a strategy, the same one at every call: two of a kind would mix up their collective operations.

    Args:
        name: One of `STRATEGIES`; `auto` takes a TPU where there is one, else the workers of TF_CONFIG, else all GPUs,
            else the one device there is, and says so in a line where that is less than the machine seems to have.
        tpu: The TPU's name or address; "" for the one of this machine, else of its environment, see `tpu_address`.
        reads: Dict from flags to paths, separated by commas, that a TPU of another machine would have to read itself.
        hosted: Dict from flags to values, false where not given, that need this process where the input is read.

    Returns:
        `tf.distribute.Strategy`.

    Raises:
        IsicError: The machine has not what the strategy needs, or the TPU cannot reach what is to be read.
    """
    if tpu and name not in ("auto", "tpu"):
        raise errors.ConfigError(f"expected --strategy=tpu or auto with --tpu={tpu}, got {name}")
    if tpu:
        name = "tpu"
    if name in ("auto", "tpu"):
        _refuse_unreachable(tpu, reads or {}, hosted or {})
    return _choose_best() if name == "auto" else _create(name, tpu)


def _refuse_unreachable(tpu, reads, hosted):
    """Refuses what a TPU of another machine, whose host reads the input, could not have."""
    address = tpus.find_address(tpu)
    if address in ("", "local"):
        return
    for flag, paths in reads.items():
        own = [path for path in (paths or "").split(",") if path and not path.startswith("gs://")]
        if own:
            raise errors.ConfigError(
                f"the TPU {address} is of another machine and reads from buckets alone: expected --{flag}=gs://..., "
                f"got {own[0]}; on the TPU's own machine give --tpu=local"
            )
    given = [f"--{flag}={value}" for flag, value in hosted.items() if value]
    if given:
        raise errors.ConfigError(
            f"the TPU {address} is of another machine, where {given[0]} cannot be served; leave it out, or give "
            "--tpu=local on the TPU's own machine"
        )


def _choose_best():
    name, address = detect_strategy(), tpus.find_address()
    if name == "tpu":
        try:
            return _create(name, "")
        except ValueError as error:
            # After a connection that failed TensorFlow is in no state to go on.
            if address not in ("", "local"):
                raise
            reason = str(error)
    else:
        reason = tpus.find_obstacle()
    name = _detect_others()
    if name == "default" and not tf.config.list_logical_devices("GPU"):
        _LOG.info(f"running on the CPU, on no GPU and no TPU: {reason}")
    elif address or tpus.list_devices():
        _LOG.info(f"running on no TPU: {reason}")
    return _create(name, "")


@functools.cache
def _create(name, tpu):
    if name == "default":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if name == "multiworker":
        if workers.count_workers() < 2:
            raise errors.ConfigError(
                "expected the addresses of two workers or more in TF_CONFIG for --strategy=multiworker"
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tpus.connect(tpu)


def detect_strategy():
    """Names the strategy that `auto` stands for on this machine."""
    return "tpu" if tpus.is_present() else _detect_others()


def _detect_others():
    if workers.count_workers() > 1:
        return "multiworker"
    return "mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "default"


def describe_strategy(strategy):
    """Says in a line what the strategy runs on."""
    kinds = {device.device_type for device in tf.config.list_logical_devices()} - {"TPU_SYSTEM"}
    kind = next(kind for kind in ("TPU", "GPU", "CPU") if kind in kinds)
    return f"{type(strategy).__name__.lstrip('_')}: {strategy.num_replicas_in_sync} replica(s) on {kind}"
