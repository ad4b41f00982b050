"""Reads the arrays of HDF5 files that Keras 2 or 3 wrote, and of the `.keras` files of Keras 3."""

import io
import zipfile
from collections.abc import Iterable
from typing import Any

import h5py
import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

WEIGHTS_IN_KERAS = "model.weights.h5"
_MAX_BYTES = 4 << 30


def read_arrays(path: str) -> dict[str, np.ndarray]:
    """Reads all arrays of an HDF5 or `.keras` file; of the latter's configuration nothing is built or executed.

    Args:
        path: Local or remote file.

    Returns:
        Dict from name, as `layers/conv2d/vars/0`, to array, each of the file's own dtype.

    Raises:
        CorruptRecordError: The file is damaged, refers to other files, or its arrays are larger than 4 GiB.

    Examples:
        >>> read_arrays("model.weights.h5")["layers/conv2d/vars/0"].shape  # doctest: +SKIP
        (3, 3, 3, 32)
    """
    remedy = "copy the file again if it is damaged, or name another"
    with saved_files.explained_damage(path, "an HDF5 or .keras file of weights", remedy):
        content = filesystem.read(path)
        if zipfile.is_zipfile(io.BytesIO(content)):
            content = _extract_weights(content)
        try:
            with h5py.File(io.BytesIO(content), "r") as file:
                return _read_datasets(file)
        except (OSError, RuntimeError) as error:
            raise errors.CorruptRecordError(f"damaged: {str(error)[:200]}") from error


def _extract_weights(content: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entry = archive.getinfo(WEIGHTS_IN_KERAS)
            if entry.file_size > _MAX_BYTES:
                raise errors.CorruptRecordError(f"its weights are larger than {_MAX_BYTES >> 30} GiB")
            with archive.open(entry) as file:
                return _read_exactly(file, entry.file_size)
    except (zipfile.BadZipFile, RuntimeError) as error:
        raise errors.CorruptRecordError(f"the archive is damaged: {str(error)[:200]}") from error


def _read_exactly(file: Any, size: int) -> bytes:
    # One more than expected, so that the checksum at the end of the entry is compared.
    content = file.read(size + 1)
    if len(content) != size:
        raise errors.CorruptRecordError(f"it has {len(content)} bytes of weights, expected {size}")
    return content


def _read_datasets(file: h5py.File) -> dict[str, np.ndarray]:
    # Links to other files are not followed by `visititems`.
    datasets: dict[str, h5py.Dataset] = {}

    def add(name: str, found: Any) -> None:
        if isinstance(found, h5py.Dataset):
            datasets[name] = found

    file.visititems(add)
    if sum(dataset.nbytes for dataset in datasets.values()) > _MAX_BYTES:
        raise errors.CorruptRecordError(f"its arrays are larger than {_MAX_BYTES >> 30} GiB")
    for name, dataset in datasets.items():
        if dataset.external or dataset.is_virtual:
            raise errors.CorruptRecordError(f"{name} lies in another file")
        if dataset.dtype.kind not in "fiub" and dataset.dtype.name != "bfloat16":
            raise errors.CorruptRecordError(f"{name} holds no numbers")
    return {name: np.asarray(dataset[()]) for name, dataset in datasets.items()}


def has_old_layout(names: Iterable[str]) -> bool:
    """Returns whether the names of arrays are those of Keras 2, `stem_conv/stem_conv/kernel:0`.

    Examples:
        >>> has_old_layout(["stem_conv/stem_conv/kernel:0"]), has_old_layout(["layers/conv2d/vars/0"])
        (True, False)
    """
    return any(name.endswith(":0") for name in names)
