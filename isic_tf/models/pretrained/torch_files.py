"""Reads the tensors of a PyTorch file (`.pth`, `.pt`) without PyTorch, and without executing anything in it.

Such a file is a pickle, whose instructions could call any function: see `torch_pickles`.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from isic_tf.models.pretrained import torch_pickles
from isic_tf.models.pretrained.torch_pickles import FormatError, Tensor
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_MAGIC = 0x1950A86A20F9469CFC6C
_MAX_BYTES = 8 << 30
# How often tensors may share their storage, as those of tied layers do.
_MAX_SHARED = 4
# Keys under which a training checkpoint holds the weights.
_NESTED = ("state_dict", "model", "model_state_dict")


def read_state_dict(path: str) -> dict[str, np.ndarray]:
    """Reads the state dict of a PyTorch file, of the old format or of the zip format that came with PyTorch 1.6.

    Args:
        path: Local or remote file: a dict of tensors, or a dict that holds one under `state_dict`, `model` or
            `model_state_dict`.

    Returns:
        Dict from name to array, in the file's order, each of the file's own dtype.

    Raises:
        CorruptRecordError: The file is truncated, is of another kind, or holds anything but tensors.

    Examples:
        >>> read_state_dict("efficientnet-lite0.pth")["_bn0.weight"].shape  # doctest: +SKIP
        (32,)
    """
    try:
        if filesystem.size(path) > _MAX_BYTES:
            raise FormatError(f"is larger than the limit of {_MAX_BYTES >> 30} GiB")
        content = filesystem.read(path)
        found, storages = _read_zip(content) if zipfile.is_zipfile(io.BytesIO(content)) else _read_old(content)
        tensors = _find_state_dict(found)
        _check_size(tensors, len(content))
        return {
            name: _to_array(name, tensor, storages.get(tensor.storage.key, b"")) for name, tensor in tensors.items()
        }
    except FormatError as problem:
        raise errors.CorruptRecordError(
            f"expected a PyTorch file of tensors at {path}, but it {problem}; name a state dict (what "
            "torch.save(model.state_dict(), PATH) writes), or copy the file again if it is damaged"
        ) from problem


def is_torch_file(head: bytes) -> bool:
    """Returns whether a file that begins with these bytes, 14 or more, may be a PyTorch file of the old format."""
    return head[:4] == b"\x80\x02\x8a\x0a" and head[4:14] == _MAGIC.to_bytes(10, "little")


def _read_old(content: bytes) -> tuple[Any, Mapping[str, bytes]]:
    """Reads the old format: four pickles, the list of storages, and the storages, each after its number of elements."""
    if not is_torch_file(content[:14]):
        raise FormatError("does not begin as one")
    file = io.BytesIO(content)
    # The magic number, the version and the sizes of types.
    for _ in range(3):
        torch_pickles.read_pickle(file)
    found, sizes = torch_pickles.read_pickle(file)
    keys, _ = torch_pickles.read_pickle(file)
    storages = {}
    if not isinstance(keys, list):
        raise FormatError("lacks its list of storages")
    for key in keys:
        if not isinstance(key, str) or key not in sizes:
            raise FormatError("lists a storage that no tensor uses")
        count = int.from_bytes(file.read(8), "little")
        if count != sizes[key].size:
            raise FormatError(
                f"is truncated or damaged: storage {key[:80]!r} has {count} elements instead of {sizes[key].size}"
            )
        storages[key] = file.read(min(sizes[key].bytes, len(content)))
    return found, storages


def _read_zip(content: bytes) -> tuple[Any, Mapping[str, bytes]]:
    """Reads the zip format: an entry `NAME/data.pkl`, and the storages uncompressed in `NAME/data/KEY`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            pickled = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise FormatError("is a zip file without data.pkl")
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise FormatError("is a compressed zip file, as PyTorch writes none")
            root = pickled[0].removesuffix("data.pkl")
            order = f"{root}byteorder"
            if order in archive.namelist() and archive.read(order) != b"little":
                raise FormatError("is of a big-endian machine")
            found, sizes = torch_pickles.read_pickle(io.BytesIO(archive.read(pickled[0])))
            # Entries may overlap, so that a small file would fill the memory.
            if sum(archive.getinfo(f"{root}data/{key}").file_size for key in sizes) > len(content):
                raise FormatError("is damaged: its storages are larger than the file")
            return found, {key: archive.read(f"{root}data/{key}") for key in sizes}
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, RuntimeError) as error:
        raise FormatError(f"is truncated or damaged ({str(error)[:200]})") from error


def _find_state_dict(found: Any) -> dict[str, Tensor]:
    if not isinstance(found, dict):
        raise FormatError("holds no dict")
    nested = next((found[key] for key in _NESTED if isinstance(found.get(key), dict)), found)
    foreign = [name for name, part in nested.items() if not isinstance(part, Tensor)]
    if foreign or not nested:
        raise FormatError(f"holds something else under {str(foreign[0])[:80]!r}" if foreign else "holds none")
    return {str(name): part for name, part in nested.items()}


def _check_size(tensors: Mapping[str, Tensor], limit: int) -> None:
    """Refuses tensors that would take far more memory than the file, before any is allocated."""
    total = sum(tensor.bytes for tensor in tensors.values())
    if total > _MAX_SHARED * limit:
        raise FormatError(f"is damaged: it has {limit} bytes, and tensors of {total}")


def _to_array(name: str, tensor: Tensor, content: bytes) -> np.ndarray:
    storage = tensor.storage
    if len(content) != storage.bytes:
        raise FormatError(f"is truncated: {name[:80]!r} has {len(content)} bytes of {storage.bytes}")
    flat = np.frombuffer(content, storage.dtype)
    count = math.prod(tensor.shape)
    last = tensor.offset + sum((side - 1) * step for side, step in zip(tensor.shape, tensor.strides, strict=True))
    # A stride of 0 would make a large array of few bytes.
    if count and (last >= storage.size or count > storage.size):
        raise FormatError(f"is damaged: {name[:80]!r} of shape {tensor.shape} lies outside its storage")
    steps = [step * storage.dtype.itemsize for step in tensor.strides]
    try:
        return np.lib.stride_tricks.as_strided(flat[tensor.offset :], tensor.shape, steps, writeable=False).copy()
    except (ValueError, OverflowError) as error:
        # A side or a stride beyond what NumPy counts, beside a side of 0 or 1.
        raise FormatError(f"is damaged: {name[:80]!r} has the shape {tensor.shape} ({error})") from error
