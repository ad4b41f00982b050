"""NumPy archives read without trust: nothing is unpickled, and no more bytes are unpacked than expected."""

import zipfile

import numpy as np

from tfrecord_tools import errors


def unpack(file, most_bytes):
    """Reads the arrays of an archive.

    Args:
        file: Binary file that can be sought in.
        most_bytes: Bytes that the arrays may have together.

    Returns:
        Dict from name to array.

    Raises:
        IsicError: The arrays are larger, or the archive is damaged or holds Python objects.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > most_bytes:
            raise errors.IsicError(f"it holds {total} bytes, more than {most_bytes}")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except (KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise errors.IsicError(f"it is damaged: {error}") from error
