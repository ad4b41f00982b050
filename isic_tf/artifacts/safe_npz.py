"""Reads NumPy archives of unknown origin safely: nothing is unpickled, and their unpacked size is limited."""

import typing
import zipfile

import numpy as np

from tfrecord_tools import errors


def unpack(file: typing.BinaryIO, max_bytes: int) -> dict[str, np.ndarray]:
    """Reads the arrays of an archive.

    Args:
        file: Binary file that supports `seek`.
        max_bytes: Largest total size of the arrays.

    Returns:
        Dict from name to array.

    Raises:
        CorruptRecordError: The arrays are larger, the archive is damaged, or it is not an archive.
        ValueError: An array holds Python objects.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > max_bytes:
            raise errors.CorruptRecordError(f"it holds {total} bytes, more than {max_bytes}")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise errors.CorruptRecordError(f"it is damaged: {error}") from error
