"""Explains a full disk: which file, how much room is needed, and how to go on."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

# Messages of the C library, in errors of TensorFlow and HDF5.
_MESSAGES = ("No space left on device", "Disk quota exceeded")
# How HDF5, this package and TensorFlow name the file.
_PATHS = (r"filename = '([^']+)'", r"room for (.+), but the disk", r"(?:^|}} )([^;{}]+); (?:No space|Disk quota)")


def is_full_disk(error: BaseException | None) -> bool:
    """Returns whether an error, or what caused it, means that a disk or quota is full.

    Args:
        error: Of Python, TensorFlow or HDF5.
    """
    while error is not None:
        if getattr(error, "errno", None) in filesystem.NO_ROOM or any(message in str(error) for message in _MESSAGES):
            return True
        error = error.__cause__
    return False


@contextlib.contextmanager
def explained_full_disk(directory: str, estimate: Callable[[], str]) -> Iterator[None]:
    """Replaces the error of a full disk by one that says how much room is needed, and how to go on.

    Args:
        directory: Directory that the block writes to.
        estimate: Describes how much room is needed; called only where the disk is full.

    Yields:
        Nothing.

    Raises:
        IsicError: The disk was full while the block ran.
    """
    try:
        yield
    except Exception as error:
        if not is_full_disk(error):
            raise
        path = find_path(error) or directory
        raise errors.IsicError(
            f"expected room for {path}, but the disk is full ({_describe_free(directory)}); needed are "
            f"{estimate()}; free that much, then run the same command again: it goes on from the last checkpoint"
        ) from error


def find_path(error: BaseException | None) -> str | None:
    """Finds the path of the file in the error of a full disk.

    Args:
        error: Of Python, TensorFlow or HDF5.

    Returns:
        Path; None where the error does not name it.
    """
    while error is not None:
        filename = getattr(error, "filename", None)
        if filename:
            return str(filename)
        text = str(error)
        for pattern in _PATHS:
            match = re.search(pattern, text)
            if match:
                return match[1]
        error = error.__cause__
    return None


def _describe_free(directory: str) -> str:
    """Returns the free bytes of the file system of a directory, which may not exist yet."""
    try:
        return f"{count_free_bytes(directory) / 1e6:.0f} MB are free"
    except OSError:
        return "its free space is unknown"


def count_free_bytes(directory: str) -> int:
    """Returns the free space of the disk of a directory, which may not exist yet, in bytes.

    Args:
        directory: Local path.

    Raises:
        OSError: The disk cannot be asked.
    """
    place = os.path.abspath(directory)
    while not os.path.isdir(place) and place != os.path.dirname(place):
        place = os.path.dirname(place)
    return shutil.disk_usage(place).free
