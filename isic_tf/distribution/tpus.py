"""Finds TPUs and connects to them."""

import functools
import glob
import importlib.metadata
import importlib.util
import mmap
import os

import tensorflow as tf

from isic_tf.distribution import replica_programs
from tfrecord_tools import errors

# Device files of older TPUs, and of newer ones.
_DEVICES = ("/dev/accel*", "/dev/vfio/[0-9]*")
# What TensorFlow calls first in libtpu. Newer libraries serve only JAX and lack it: the process would end at that call
# without a message.
_ENTRY = b"ConfigureDistributedTpuOp_DoWork"


def is_present() -> bool:
    """Returns whether the environment names a TPU, or this machine has one that can be used."""
    return bool(find_address()) or not find_obstacle()


def find_obstacle() -> str:
    """Finds out why this machine's own TPU cannot be used.

    TensorFlow's `initialize_tpu_system` aborts the process where there is no TPU, so this is checked beforehand.

    Returns:
        The reason, with a remedy where there is one; "" if nothing is known to be in the way.
    """
    devices = list_devices()
    if not devices:
        return f"there is no {' or '.join(_DEVICES)}"
    # Other devices have the same file names, so the library of the TPU must be there too.
    library = _find_library()
    if not library:
        return f"{devices[0]} may be a TPU, but libtpu is not installed"
    if not _serves_tensorflow(library):
        return f"{library} is too new for TensorFlow; run pip install --no-deps libtpu==0.0.21.1"
    return ""


@functools.cache
def _serves_tensorflow(library: str) -> bool:
    """Searches the library, of hundreds of MB, once per process."""
    with open(library, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(_ENTRY) >= 0


def list_devices() -> list[str]:
    """Lists the device files of this machine that may be TPUs.

    Returns:
        Paths, sorted.
    """
    return sorted(path for pattern in _DEVICES for path in glob.glob(pattern))


def _find_library() -> str:
    """Finds libtpu: by its variable, as the package that `tensorflow-tpu` requires, or where TPU VM images have it."""
    package = importlib.util.find_spec("libtpu")
    locations = package.submodule_search_locations if package else None
    directories = [*(locations or ()), "/lib", "/usr/lib", "/usr/local/lib"]
    paths = [os.environ.get("TPU_LIBRARY_PATH", ""), *(os.path.join(folder, "libtpu.so") for folder in directories)]
    return next(filter(os.path.isfile, paths), "")


@functools.cache
def compiles_for_host() -> bool:
    """Returns whether this TensorFlow can compile with XLA for CPU and GPU, which its build for TPUs cannot."""
    try:
        importlib.metadata.version("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def is_target() -> bool:
    """Returns whether the current strategy runs its functions on a TPU, or compiles them for one."""
    strategies = tf.distribute.TPUStrategy, replica_programs.ReplicaProgramStrategy
    return isinstance(tf.distribute.get_strategy(), strategies)


def find_address(tpu: str = "") -> str:
    """Finds the address of the TPU to use: the one of `--tpu`, this machine's own, or the one of the environment.

    TPU_NAME is set on Cloud TPU VMs (to the cloud's name for the machine itself), by Kaggle, and by Colab's TPU VMs;
    COLAB_TPU_ADDR by Colab's older TPU nodes.

    Args:
        tpu: Name or address, or "".

    Returns:
        A name, an address such as `grpc://10.0.0.2:8470`, `local` for this machine, or "" if there is none.
    """
    if tpu:
        return tpu
    node = os.environ.get("COLAB_TPU_ADDR", "")
    node_address = f"grpc://{node.removeprefix('grpc://')}" if node else ""
    named = os.environ.get("TPU_NAME", "") or node_address
    return "local" if named and not find_obstacle() else named


def connect(tpu: str) -> tf.distribute.TPUStrategy:
    """Connects to a TPU and initializes it, which discards what is on it.

    Args:
        tpu: Name or address, or "", see `find_address`.

    Returns:
        The strategy.

    Raises:
        ConfigError: There is no TPU that can be used, or it does not answer.
    """
    # TensorFlow calls the TPU of this machine `local`.
    address = find_address(tpu) or "local"
    obstacle = find_obstacle() if address == "local" else ""
    if obstacle:
        raise errors.ConfigError(f"expected a TPU on this machine, or --tpu=NAME for a remote one: {obstacle}")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.ConfigError(
            f"expected the TPU {address} to answer, got: {reason}; check its name, that nothing else uses it, and that "
            "TensorFlow is built for TPUs: tensorflow-tpu is, tensorflow and tensorflow-cpu are not"
        ) from error
