"""Reads the images of HDF5 files that hold the bytes of one image file per data set, as that of ISIC 2024."""

import re
from typing import Any

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import filesystem, image_formats

# The first, the last and a few between are looked at to tell whether a file holds images.
_NUM_LOOKED_AT = 5
_REMEDY = "write it as the bytes of one image file"


def open_file(path: str) -> Any:
    """Opens an HDF5 file for reading.

    Args:
        path: Local path, or URL of a bucket.

    Returns:
        `h5py.File`.

    Raises:
        CorruptRecordError: The file is not an intact HDF5 file.
    """
    # Only here: the import takes a third of a second.
    import h5py

    try:
        return h5py.File(filesystem.open(path) if filesystem.is_remote(path) else path, "r")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, (FileNotFoundError, PermissionError)):
            raise
        reason = " ".join(str(error).split())
        raise errors.CorruptRecordError(
            f"{path} is not an intact HDF5 file: {reason}; download it again, or move it out of --images"
        ) from error


def list_members(file: Any) -> list[str]:
    """Lists the names of the images of a file, in order; none where the file holds something else, such as weights.

    Args:
        file: See `open_file`.
    """
    names = sorted(file)
    places = {(len(names) - 1) * number // (_NUM_LOOKED_AT - 1) for number in range(_NUM_LOOKED_AT)} if names else set()
    # One that is damaged or something else must not hide all others.
    return names if any(_is_image(file, names[place]) for place in places) else []


def _is_image(file: Any, name: str) -> bool:
    try:
        return image_formats.find_format(_read(file, "", name, image_limits.DEFAULTS)) != ""
    except errors.CorruptRecordError:
        return False


def measure(file: Any, member: str) -> int:
    """Returns the size of an image in bytes; -1 where the file lacks it, or does not state the size."""
    import h5py

    dataset = file.get(member)
    return int(dataset.nbytes) if isinstance(dataset, h5py.Dataset) and dataset.dtype.kind != "O" else -1


def read(file: Any, path: str, member: str, limits: image_limits.ImageLimits) -> bytes:
    """Reads an image.

    Args:
        file: See `open_file`.
        path: Name of the file in errors.
        member: Name of the data set.
        limits: What reading may take.

    Returns:
        Bytes of the image file.

    Raises:
        CorruptRecordError: The data set does not exist, is damaged, is larger than the limits, lies in another file, or
            holds anything but bytes.
    """
    return _read(file, path, member, limits)


def _read(file: Any, path: str, member: str, limits: image_limits.ImageLimits) -> bytes:
    import h5py

    source = f"{path}::{member}"
    try:
        link = file.get(member, getlink=True) if member in file else None
        dataset = file[member] if isinstance(link, h5py.HardLink) else None
    except (KeyError, OSError, RuntimeError, ValueError) as error:
        raise errors.CorruptRecordError(f"{source} is damaged: {error}; download the file again") from error
    if not isinstance(dataset, h5py.Dataset):
        # A link may lead to any file of this machine.
        raise errors.CorruptRecordError(f"{source} is not a data set of this file, expected one; {_REMEDY}")
    if dataset.external or dataset.is_virtual:
        raise errors.CorruptRecordError(f"{source} lies in another file, expected it in this one; {_REMEDY}")
    image_limits.check_memory(limits, source, int(dataset.nbytes))
    try:
        value = dataset[()]
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise errors.CorruptRecordError(f"{source} is damaged: {reason}; download the file again") from error
    # Text of a fixed length is read without the zeros that it ends in, and an image may end in zeros.
    return _to_bytes(value, source).ljust(dataset.dtype.itemsize if dataset.dtype.kind == "S" else 0, b"\0")


def _to_bytes(value: Any, source: str) -> bytes:
    """Returns the bytes of a value: text of bytes, an opaque value, or a row of numbers from 0 to 255."""
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "SVO":
        value = value.item() if value.dtype.kind != "V" else value.reshape(-1)[0]
    if isinstance(value, bytes):
        return bytes(value)
    if isinstance(value, np.void) and value.dtype.fields is None:
        return value.tobytes()
    if isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 1:
        return value.tobytes()
    kind = f"{value.dtype} {list(value.shape)}" if hasattr(value, "dtype") else type(value).__name__
    raise errors.CorruptRecordError(f"{source} holds {kind}, expected the bytes of an image file; {_REMEDY}")
