"""Reads weights files of several formats, which are told apart by their content."""

from collections.abc import Callable

import numpy as np

from isic_tf.artifacts import safe_npz
from isic_tf.models.conversion import keras_files, safetensors_files
from isic_tf.models.pretrained import state_dicts, torch_files, weights_files
from isic_tf.models.pretrained.state_dicts import Source
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

_MAX_BYTES = 8 << 30


def read_source(path: str) -> Source:
    """Reads a weights file. Nothing in it is executed.

    Args:
        path: Local or remote file: `.pth` or `.pt` of PyTorch, `.safetensors`, `.npz`, `.h5` or `.keras`.

    Returns:
        Its format and its arrays; names of a network that was trained in parallel lose their `module.`.

    Raises:
        ConfigError: There is no such file.
        CorruptRecordError: It is damaged, or of another format.

    Examples:
        >>> read_source("model.safetensors").kind  # doctest: +SKIP
        'safetensors'
    """
    if not filesystem.exists(path):
        raise errors.ConfigError(f"expected a weights file at {path}, which does not exist; name one that does")
    if filesystem.isdir(path):
        raise errors.ConfigError(f"expected a weights file at {path}, which is a directory; name a file in it")
    size = filesystem.size(path)
    if size > _MAX_BYTES:
        raise errors.CorruptRecordError(
            f"expected a weights file of at most {_MAX_BYTES} bytes at {path}, found {size}; name another"
        )
    kind = weights_files.find_format(path)
    if kind not in _READERS:
        raise errors.CorruptRecordError(
            f"expected a weights file of PyTorch, safetensors, NumPy or Keras at {path}, but it begins as none of "
            "them; name another, or copy it again if it is damaged"
        )
    label, read = _READERS[kind]
    arrays = state_dicts.strip_parallel(read(path))
    if kind == "hdf5" and keras_files.has_old_layout(arrays):
        label = "Keras 2"
    return Source(path, label, arrays)


def _read_npz(path: str) -> dict[str, np.ndarray]:
    remedy = "copy the file again if it is damaged, or name another"
    with saved_files.explained_damage(path, "a .npz file of arrays", remedy), filesystem.open(path) as file:
        return safe_npz.unpack(file, _MAX_BYTES)


_READERS: dict[str, tuple[str, Callable[[str], dict[str, np.ndarray]]]] = {
    "hdf5": ("Keras 3", keras_files.read_arrays),
    "keras": ("Keras 3", keras_files.read_arrays),
    "npz": ("NumPy", _read_npz),
    "pytorch": ("PyTorch", torch_files.read_state_dict),
    "safetensors": ("safetensors", safetensors_files.read_arrays),
}
