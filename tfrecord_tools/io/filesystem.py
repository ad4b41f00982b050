"""Reads and writes files and directories, local or in a bucket (`gs://...`), with the same functions.

Buckets are accessed through TensorFlow's `tf.io.gfile`. TensorFlow is imported only for a bucket path, because the
import takes seconds and 600 MB, more than everything else that building a shard needs.
"""

import builtins
import glob as local_glob
import os
import shutil
from typing import Any


def _remote(path: str) -> bool:
    return "://" in path


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


def is_failure(error: BaseException) -> bool:
    """Returns whether an exception means that a file could not be read or written."""
    return isinstance(error, OSError) or type(error).__module__ == "tensorflow.python.framework.errors_impl"


def open(path: str, mode: str = "rb") -> Any:
    """Opens a file like the built-in `open`.

    Args:
        path: Local path or URL of a bucket.
        mode: As of the built-in `open`. Text is UTF-8, and its line ends are kept as they are.

    Returns:
        File object, a context manager.
    """
    if _remote(path):
        return _gfile().GFile(path, mode)
    if "b" in mode:
        return builtins.open(path, mode)
    return builtins.open(path, mode, encoding="utf-8", newline="")


def read(path: str) -> bytes:
    """Reads a complete file as bytes."""
    with open(path) as file:
        return file.read()


def size(path: str) -> int:
    """Returns the size of a file in bytes."""
    if _remote(path):
        return _gfile().stat(path).length
    return os.path.getsize(path)


def stamp(path: str) -> tuple[int, int]:
    """Returns the size of a file in bytes and its modification time.

    Args:
        path: Local path or URL of a bucket.

    Returns:
        Bytes, and nanoseconds since the epoch; in a bucket the time has a resolution of one second.
    """
    if _remote(path):
        remote = _gfile().stat(path)
        return remote.length, remote.mtime_nsec
    local = os.stat(path)
    return local.st_size, local.st_mtime_ns


def exists(path: str) -> bool:
    """Returns whether a file or directory exists."""
    return _gfile().exists(path) if _remote(path) else os.path.exists(path)


def isdir(path: str) -> bool:
    """Returns whether a directory exists."""
    return _gfile().isdir(path) if _remote(path) else os.path.isdir(path)


def listdir(path: str) -> list[str]:
    """Returns the sorted names in a directory; an empty list if the directory does not exist."""
    if not isdir(path):
        return []
    if _remote(path):
        return sorted(name.rstrip("/") for name in _gfile().listdir(path))
    return sorted(os.listdir(path))


def glob(pattern: str) -> list[str]:
    """Returns the sorted paths that match a glob pattern."""
    return sorted(_gfile().glob(pattern) if _remote(pattern) else local_glob.glob(pattern))


def makedirs(path: str) -> None:
    """Creates a directory and its parents where they do not exist."""
    if _remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def replace(path: str, target: str) -> None:
    """Renames a file; an existing file at `target` is overwritten."""
    if _remote(path):
        _gfile().rename(path, target, overwrite=True)
    else:
        os.replace(path, target)


def remove(path: str) -> None:
    """Removes a file."""
    if _remote(path):
        _gfile().remove(path)
    else:
        os.remove(path)


def rmtree(path: str) -> None:
    """Removes a directory with its content; does nothing if it does not exist."""
    if not isdir(path):
        return
    if _remote(path):
        _gfile().rmtree(path)
    else:
        shutil.rmtree(path)
