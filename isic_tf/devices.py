"""The `tf.distribute` strategy of a machine."""

import contextlib
import functools
import glob
import importlib.metadata
import importlib.util
import json
import mmap
import os

import tensorflow as tf
from absl import flags

STRATEGIES = ("auto", "default", "mirrored", "tpu", "multiworker")
# Where a TPU's chips are, older ones and newer ones.
_DEVICES = ("/dev/accel*", "/dev/vfio/[0-9]*")
# What TensorFlow calls first in libtpu. Newer libraries serve JAX alone and lack it: the process would end at that call
# without a word.
_ENTRY = b"ConfigureDistributedTpuOp_DoWork"


def choose(name="auto", tpu="", reads=None, hosted=None):
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
        ValueError: The machine has not what the strategy needs, or the TPU cannot reach what is to be read.
    """
    if tpu and name not in ("auto", "tpu"):
        raise ValueError(f"expected --strategy=tpu or auto with --tpu={tpu}, got {name}")
    if tpu:
        name = "tpu"
    if name in ("auto", "tpu"):
        _refuse_unreachable(tpu, reads or {}, hosted or {})
    return _choose_best() if name == "auto" else _create(name, tpu)


def _refuse_unreachable(tpu, reads, hosted):
    """Refuses what a TPU of another machine, whose host reads the input, could not have."""
    address = tpu_address(tpu)
    if address in ("", "local"):
        return
    for flag, paths in reads.items():
        own = [path for path in (paths or "").split(",") if path and not path.startswith("gs://")]
        if own:
            raise ValueError(
                f"the TPU {address} is of another machine and reads from buckets alone: expected --{flag}=gs://..., "
                f"got {own[0]}; on the TPU's own machine give --tpu=local"
            )
    given = [f"--{flag}={value}" for flag, value in hosted.items() if value]
    if given:
        raise ValueError(
            f"the TPU {address} is of another machine, where {given[0]} cannot be served; leave it out, or give "
            "--tpu=local on the TPU's own machine"
        )


def _choose_best():
    name, address = detect(), tpu_address()
    if name == "tpu":
        try:
            return _create(name, "")
        except ValueError as error:
            # After a connection that failed TensorFlow is in no state to go on.
            if address not in ("", "local"):
                raise
            reason = str(error)
    else:
        reason = _find_obstacle()
    name = _detect_others()
    if name == "default" and not tf.config.list_logical_devices("GPU"):
        print(f"running on the CPU, on no GPU and no TPU: {reason}", flush=True)
    elif address or _list_devices():
        print(f"running on no TPU: {reason}", flush=True)
    return _create(name, "")


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
    return "tpu" if tpu_present() else _detect_others()


def _detect_others():
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
    return bool(tpu_address()) or not _find_obstacle()


def _find_obstacle():
    """Says why this machine's own TPU cannot be used, or "": `initialize_tpu_system` aborts where there is none."""
    devices = _list_devices()
    if not devices:
        return f"there is no {' or '.join(_DEVICES)}"
    # Other devices are passed through under the same names, so the TPU's library must be there too.
    library = _find_library()
    if not library:
        return f"{devices[0]} may be one, but libtpu is not installed"
    if not _serves_tensorflow(library):
        return f"{library} is too new to serve TensorFlow; pip install --no-deps libtpu==0.0.21.1 would do"
    return ""


@functools.cache
def _serves_tensorflow(library):
    """Looks through a library of hundreds of MB, once a process."""
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_ENTRY) >= 0


def _list_devices():
    return sorted(path for pattern in _DEVICES for path in glob.glob(pattern))


def _find_library():
    """Finds libtpu: by its variable, as the package that `tensorflow-tpu` asks for, or as a TPU VM's image has it."""
    package = importlib.util.find_spec("libtpu")
    folders = [*(package.submodule_search_locations if package else ()), "/lib", "/usr/lib", "/usr/local/lib"]
    paths = [os.environ.get("TPU_LIBRARY_PATH", ""), *(os.path.join(folder, "libtpu.so") for folder in folders)]
    return next(filter(os.path.isfile, paths), "")


@functools.cache
def compiles_for_host():
    """Tells whether this TensorFlow can compile by XLA for CPU and GPU: its build for TPUs cannot."""
    try:
        importlib.metadata.version("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def tpu_address(tpu=""):
    """Gives the TPU that is meant: what `--tpu` says, this machine's own, or what the environment calls it.

    TPU_NAME is set on Cloud TPU VMs (to what the cloud calls the machine itself), by Kaggle and by Colab's TPU VMs;
    COLAB_TPU_ADDR by Colab's older TPU nodes.

    Returns:
        A name, an address such as `grpc://10.0.0.2:8470`, or "" where there is none.
    """
    node = os.environ.get("COLAB_TPU_ADDR", "")
    named = os.environ.get("TPU_NAME", "") or (node and f"grpc://{node.removeprefix('grpc://')}")
    return tpu or ("local" if named and not _find_obstacle() else named)


def _tpu(tpu):
    # A TPU of this machine itself is called `local`.
    address = tpu_address(tpu) or "local"
    obstacle = _find_obstacle() if address == "local" else ""
    if obstacle:
        raise ValueError(f"expected a TPU of this machine, or --tpu=NAME of another: {obstacle}")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"expected the TPU {address} to answer, got: {reason}; check its name, that nothing else uses it, and that "
            "TensorFlow is a build for TPUs: tensorflow-tpu is, tensorflow and tensorflow-cpu see none"
        ) from error


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
