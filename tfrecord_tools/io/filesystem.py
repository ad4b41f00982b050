"""Files and folders of this machine or of a bucket (`gs://...`), by the same functions.

Buckets are reached through TensorFlow's `tf.io.gfile`, which is loaded for them alone: it takes seconds and 600 MB,
more than all that the making of a shard needs otherwise.
"""

import builtins
import glob as local_glob
import os
import shutil


def _remote(path):
    return "://" in path


def _gfile():
    import tensorflow as tf

    return tf.io.gfile


def is_failure(error):
    """Tells whether an exception says that a file could not be read or written."""
    return isinstance(error, OSError) or type(error).__module__ == "tensorflow.python.framework.errors_impl"


def open(path, mode="rb"):
    """Opens a file as the built-in `open`; text is UTF-8 with line ends as they are."""
    if _remote(path):
        return _gfile().GFile(path, mode)
    return builtins.open(path, mode) if "b" in mode else builtins.open(path, mode, encoding="utf-8", newline="")


def read(path):
    """Reads a whole file as bytes."""
    with open(path) as file:
        return file.read()


def size(path):
    """Gives a file's size in bytes."""
    return _gfile().stat(path).length if _remote(path) else os.path.getsize(path)


def stamp(path):
    """Gives a file's size in bytes and the time of its last change in nanoseconds, to a second in a bucket."""
    found = _gfile().stat(path) if _remote(path) else os.stat(path)
    return (found.length, found.mtime_nsec) if _remote(path) else (found.st_size, found.st_mtime_ns)


def exists(path):
    """Tells whether there is a file or folder."""
    return _gfile().exists(path) if _remote(path) else os.path.exists(path)


def isdir(path):
    """Tells whether there is a folder."""
    return _gfile().isdir(path) if _remote(path) else os.path.isdir(path)


def listdir(path):
    """Lists the names in a folder in order, nothing where there is no folder."""
    if not isdir(path):
        return []
    return sorted(name.rstrip("/") for name in _gfile().listdir(path)) if _remote(path) else sorted(os.listdir(path))


def glob(pattern):
    """Lists the paths that match a pattern, in order."""
    return sorted(_gfile().glob(pattern) if _remote(pattern) else local_glob.glob(pattern))


def makedirs(path):
    """Makes a folder and those above it, where they are not there."""
    if _remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def replace(path, target):
    """Gives a file another name, over a file of that name."""
    if _remote(path):
        _gfile().rename(path, target, overwrite=True)
    else:
        os.replace(path, target)


def remove(path):
    """Removes a file."""
    _gfile().remove(path) if _remote(path) else os.remove(path)


def rmtree(path):
    """Removes a folder and all in it, where it is there."""
    if isdir(path):
        _gfile().rmtree(path) if _remote(path) else shutil.rmtree(path)
