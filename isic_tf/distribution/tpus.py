"""Finds and connects to TPUs."""

import functools
import glob
import importlib.metadata
import importlib.util
import mmap
import os

import tensorflow as tf

from tfrecord_tools import errors

# Where a TPU's chips are, older ones and newer ones.
_DEVICES = ("/dev/accel*", "/dev/vfio/[0-9]*")
# What TensorFlow calls first in libtpu. Newer libraries serve JAX alone and lack it: the process would end at that call
# without a word.
_ENTRY = b"ConfigureDistributedTpuOp_DoWork"


def is_present():
    """Tells whether the environment names a TPU, or this machine has one."""
    return bool(find_address()) or not find_obstacle()


def find_obstacle():
    """Says why this machine's own TPU cannot be used, or "": `initialize_tpu_system` aborts where there is none."""
    devices = list_devices()
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


def list_devices():
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


def find_address(tpu=""):
    """Gives the TPU that is meant: what `--tpu` says, this machine's own, or what the environment calls it.

    TPU_NAME is set on Cloud TPU VMs (to what the cloud calls the machine itself), by Kaggle and by Colab's TPU VMs;
    COLAB_TPU_ADDR by Colab's older TPU nodes.

    Returns:
        A name, an address such as `grpc://10.0.0.2:8470`, or "" where there is none.
    """
    node = os.environ.get("COLAB_TPU_ADDR", "")
    named = os.environ.get("TPU_NAME", "") or (node and f"grpc://{node.removeprefix('grpc://')}")
    return tpu or ("local" if named and not find_obstacle() else named)


def connect(tpu):
    # A TPU of this machine itself is called `local`.
    address = find_address(tpu) or "local"
    obstacle = find_obstacle() if address == "local" else ""
    if obstacle:
        raise errors.ConfigError(f"expected a TPU of this machine, or --tpu=NAME of another: {obstacle}")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise errors.ConfigError(
            f"expected the TPU {address} to answer, got: {reason}; check its name, that nothing else uses it, and that "
            "TensorFlow is a build for TPUs: tensorflow-tpu is, tensorflow and tensorflow-cpu see none"
        ) from error
