"""Reads and writes files and directories, local or in a bucket (`gs://...`), with the same functions.

Buckets are accessed through TensorFlow's `tf.io.gfile`. TensorFlow is imported only for a bucket path, because the
import takes seconds and 600 MB, more than everything else that building a shard needs.
"""

import builtins
import contextlib
import errno
import glob as local_glob
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from tfrecord_tools import errors

# Numbers of the errors of a full disk.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
# A part of the path is not what it has to be.
_WRONG_PATH = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP)
_BLOCK_BYTES = 2**20
# In characters; that of Linux.
_LONGEST_PATH = 4096


def is_remote(path: str) -> bool:
    """Returns whether a path is in a bucket."""
    return "://" in path


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


def is_failure(error: BaseException) -> bool:
    """Returns whether an exception means that a file could not be read or written."""
    return isinstance(error, OSError) or type(error).__module__ == "tensorflow.python.framework.errors_impl"


@contextlib.contextmanager
def explained_write_errors(path: str) -> Iterator[None]:
    """Replaces errors of the system by one that names the file to write and the remedy.

    Args:
        path: What the block writes.

    Yields:
        Nothing.

    Raises:
        IsicError: The block failed because there is no room, or nothing can be written at the path.
    """
    try:
        yield
    except Exception as error:
        explained = explain_write_error(path, error)
        if explained is None:
            raise
        raise explained from error


def explain_write_error(path: str, error: BaseException) -> errors.IsicError | None:
    """Returns an error that names the file to write, what went wrong and the remedy.

    Args:
        path: The file or directory that was to be written.
        error: What the system raised.

    Returns:
        `IsicError`; None where the error does not mean that the place cannot be written.
    """
    number = getattr(error, "errno", None)
    if number in NO_ROOM:
        return make_full_disk_error(path)
    if number in _NOT_ALLOWED:
        remedy = "choose a place where this user may write"
    elif number in _WRONG_PATH:
        remedy = "choose another path, whose parts are directories"
    elif not isinstance(error, OSError) and is_failure(error):
        remedy = "check the path, the network and the permissions"
    else:
        return None
    reason = getattr(error, "strerror", None) or getattr(error, "message", None) or error
    return errors.IsicError(f"expected to be able to write {path}, got: {reason}; {remedy}")


def make_full_disk_error(path: str) -> errors.IsicError:
    """Returns the error that there is no room for a file or directory."""
    return errors.IsicError(
        f"expected room for {path}, but the disk is full; free disk space, then run the same command again"
    )


def is_regular(path: str) -> bool:
    """Returns whether a path is a file that can be read to its end: no directory, named pipe, socket or device."""
    if not is_remote(path):
        return os.path.isfile(path)
    try:
        return not _gfile().stat(path).is_directory
    except Exception as error:
        if not is_failure(error):
            raise
        return False


def open(path: str, mode: str = "rb") -> Any:
    """Opens a file like the built-in `open`.

    Args:
        path: Local path or URL of a bucket.
        mode: As of the built-in `open`. Text is UTF-8, and its line ends are kept as they are.

    Returns:
        File object, a context manager.
    """
    if is_remote(path):
        return _gfile().GFile(path, mode)
    if "b" in mode:
        return builtins.open(path, mode)
    return builtins.open(path, mode, encoding="utf-8", newline="")


def read(path: str) -> bytes:
    """Reads a complete file as bytes."""
    with open(path) as file:
        return file.read()


def compute_sha256(path: str) -> str:
    """Computes the SHA-256 of a file, in hexadecimal digits; the file is not held in memory."""
    return compute_digests(path, ["sha256"])["sha256"]


def compute_digests(path: str, algorithms: Iterable[str]) -> dict[str, str]:
    """Computes digests of a file, which is read once and not held in memory.

    Args:
        path: Local path or URL of a bucket.
        algorithms: Names that `hashlib` knows, such as `sha256` or `md5`.

    Returns:
        Dict from algorithm to digest, in hexadecimal digits.
    """
    digests = {algorithm: hashlib.new(algorithm, usedforsecurity=False) for algorithm in algorithms}
    with open(path) as file:
        while block := file.read(_BLOCK_BYTES):
            for digest in digests.values():
                digest.update(block)
    return {algorithm: digest.hexdigest() for algorithm, digest in digests.items()}


def size(path: str) -> int:
    """Returns the size of a file in bytes."""
    if is_remote(path):
        return _gfile().stat(path).length
    return os.path.getsize(path)


def stamp(path: str) -> tuple[int, int]:
    """Returns the size of a file in bytes and its modification time.

    Args:
        path: Local path or URL of a bucket.

    Returns:
        Bytes, and nanoseconds since the epoch; in a bucket the time has a resolution of one second.
    """
    if is_remote(path):
        remote = _gfile().stat(path)
        return remote.length, remote.mtime_nsec
    local = os.stat(path)
    return local.st_size, local.st_mtime_ns


def exists(path: str) -> bool:
    """Returns whether a file or directory exists."""
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def isdir(path: str) -> bool:
    """Returns whether a directory exists."""
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def listdir(path: str) -> list[str]:
    """Returns the sorted names in a directory; an empty list if the directory does not exist."""
    if not isdir(path):
        return []
    if is_remote(path):
        return sorted(name.rstrip("/") for name in _gfile().listdir(path))
    return sorted(os.listdir(path))


def glob(pattern: str) -> list[str]:
    """Returns the sorted paths that match a glob pattern; local names that exist as they are, such as `set[1]`, count.

    Args:
        pattern: Path of a file, or a glob pattern.

    Returns:
        Sorted paths.
    """
    return sorted(_gfile().glob(pattern) if is_remote(pattern) else local_glob.glob(_escape_existing(pattern)))


def _escape_existing(pattern: str) -> str:
    """Escapes the longest beginning of a pattern that is the path of a file or directory."""
    if not local_glob.has_magic(pattern):
        return pattern
    if os.path.exists(pattern):
        return local_glob.escape(pattern)
    parent, name = os.path.split(pattern)
    return os.path.join(_escape_existing(parent), name) if parent not in ("", pattern) else pattern


def split_list(text: str) -> list[str]:
    """Splits a list of paths or patterns at its commas, except within a path that exists or a pattern that matches.

    Args:
        text: Paths separated by commas.

    Returns:
        Paths without blanks at their ends; none that are blank.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory(suffix=",b") as directory:
        ...     split_list(f"{directory}, records/384") == [directory, "records/384"]
        True
    """
    return rejoin(text.split(","), lambda path: exists(path) or bool(glob(path)))


def rejoin(parts: Sequence[str], is_known: Callable[[str], bool]) -> list[str]:
    """Joins neighbors in a list that was split at commas, where they are one name with a comma.

    Args:
        parts: Parts of the list.
        is_known: Whether a text, which may have commas, is a name.

    Returns:
        Names without blanks at their ends, as long as possible; none that are blank.

    Examples:
        >>> rejoin(["a", "b", "c"], {"a,b", "c"}.__contains__)
        ['a,b', 'c']
    """
    names = []
    start = 0
    while start < len(parts):
        lengths = itertools.accumulate(len(part) + 1 for part in parts[start:])
        last = start + sum(1 for _ in itertools.takewhile(lambda length: length <= _LONGEST_PATH, lengths))
        joined = ((end, ",".join(parts[start:end]).strip()) for end in range(last, start + 1, -1))
        # A bucket is not asked over the network.
        end = next((end for end, name in joined if not is_remote(name) and is_known(name)), start + 1)
        names.append(",".join(parts[start:end]).strip())
        start = end
    return [name for name in names if name]


def makedirs(path: str) -> None:
    """Creates a directory and its parents where they do not exist."""
    if is_remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def make_missing(path: str) -> list[str]:
    """Creates a directory and its parents where they do not exist.

    Args:
        path: Path of the directory; "" for the current one.

    Returns:
        Paths of the local directories that did not exist, the deepest first, for `remove_empty`.
    """
    missing = []
    if not is_remote(path):
        place = path.rstrip("/")
        while place and not os.path.exists(place):
            missing.append(place)
            place = os.path.dirname(place)
    if path:
        makedirs(path)
    return missing


def remove_empty(paths: Iterable[str]) -> None:
    """Removes local directories, in order, up to the first that holds anything."""
    with contextlib.suppress(OSError):
        for path in paths:
            os.rmdir(path)


def copy(path: str, target: str) -> None:
    """Copies a file; either may be remote, and `target` must not exist."""
    if is_remote(path) or is_remote(target):
        _gfile().copy(path, target)
    else:
        shutil.copyfile(path, target)


def replace(path: str, target: str) -> None:
    """Renames a file; an existing file at `target` is overwritten."""
    if is_remote(path):
        _gfile().rename(path, target, overwrite=True)
    else:
        os.replace(path, target)


def remove(path: str, *, missing_ok: bool = False) -> None:
    """Removes a file.

    Args:
        path: The file.
        missing_ok: Whether it is no error that there is no such file.

    Raises:
        OSError, tf.errors.OpError: There is no such file, or it cannot be removed.
    """
    if missing_ok and not exists(path):
        return
    if is_remote(path):
        _gfile().remove(path)
    else:
        os.remove(path)


def rmtree(path: str) -> None:
    """Removes a directory with its content; does nothing if it does not exist."""
    if not isdir(path):
        return
    if is_remote(path):
        _gfile().rmtree(path)
    else:
        shutil.rmtree(path)
