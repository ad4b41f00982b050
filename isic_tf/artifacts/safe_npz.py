"""NumPy archives: written atomically, and read safely, whatever their origin.

Nothing is unpickled, and the unpacked size is limited.
"""

import io
import math
import typing
import zipfile
from collections.abc import Mapping

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem

_MAX_ARRAYS = 100_000
_MAX_HEADER = 2**16
# NumPy's stored and deflated archives; other methods may need libraries that are absent.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def save(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays into an archive, complete or not at all.

    Args:
        path: The file to write, local or in a bucket; missing directories are created.
        arrays: From name to array, of which none holds Python objects.

    Raises:
        IsicError: The file cannot be written.
        ValueError: An array holds Python objects.
    """
    if any(array.dtype.hasobject for array in arrays.values()):
        # NumPy would pickle them.
        raise ValueError(f"expected arrays of numbers and texts for {path}, got Python objects")
    # Archives are written with seeks, which files in buckets do not support.
    content = io.BytesIO()
    np.savez(content, **typing.cast(dict[str, typing.Any], arrays))
    with atomic_write.replaced(path) as temporary, filesystem.open(temporary, "wb") as file:
        file.write(content.getvalue())


def unpack(file: typing.BinaryIO, max_bytes: int) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive. To be called inside `saved_files.explained_damage`.

    Every size is checked before memory is allocated: neither the archive's own list nor the header of an array is
    believed.

    Args:
        file: Binary file that supports `seek`.
        max_bytes: Largest total size of the arrays.

    Returns:
        Dict from name to array.

    Raises:
        CorruptRecordError: The arrays are larger, hold Python objects, or do not have the size of their headers; or the
            archive is damaged, or it is not an archive.
        Exception: Another error that the damage raises, of those that `saved_files.explained_damage` replaces.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            total = sum(entry.file_size for entry in entries)
            if total > max_bytes or len(entries) > _MAX_ARRAYS:
                raise errors.CorruptRecordError(
                    f"it holds {total} bytes in {len(entries)} arrays, expected at most {max_bytes} in {_MAX_ARRAYS}"
                )
            return {entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in entries}
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        # The text of an error can be as long as the file.
        reason = str(error)[:200]
        raise errors.CorruptRecordError(f"the archive is damaged: {reason}") from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    if entry.compress_type not in _METHODS:
        raise errors.CorruptRecordError(f"{entry.filename} is compressed by an unsupported method")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise errors.CorruptRecordError(f"{entry.filename} has the unsupported version {version}")
        shape, is_fortran, dtype = _READERS[version](file, max_header_size=_MAX_HEADER)
        if dtype.hasobject:
            raise errors.CorruptRecordError(f"{entry.filename} holds Python objects")
        expected = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or expected > entry.file_size:
            raise errors.CorruptRecordError(f"{entry.filename} has fewer bytes than its header states")
        # One more than expected, so that the checksum at the end of the entry is compared.
        content = file.read(expected + 1)
    if len(content) != expected:
        raise errors.CorruptRecordError(f"{entry.filename} has {len(content)} bytes, expected {expected}")
    array = np.frombuffer(bytearray(content), dtype)
    return array.reshape(shape, order="F" if is_fortran else "C")
