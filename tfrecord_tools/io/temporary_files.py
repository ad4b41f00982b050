"""Names temporary files by the process that writes them, and removes those of processes that were killed."""

import contextlib
import functools
import hashlib
import logging
import os
import re
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)

# As in `.tmp-4711-0f3a9c1e-oof.csv`: process, machine and final name. Release 0.1 wrote no machine.
_NAME = re.compile(r"\.tmp-(\d+)-(?:([0-9a-f]{8})-)?.+", re.DOTALL)
_WILDCARDS = frozenset("*?[")
_SECONDS_PER_DAY = 24 * 3600
# Clocks of processes and files may differ by this many seconds.
_CLOCK_TOLERANCE = 60.0
_SECONDS_TO_RENEW = 3600.0
_SECONDS_TO_JOIN = 30.0


def make_name(name: str) -> str:
    """Returns the name of a temporary file of this process.

    Args:
        name: Final name of the file, without directory.
    """
    return f".tmp-{os.getpid()}-{machine()}-{name}"


@functools.cache
def machine() -> str:
    """Returns 8 hexadecimal digits for the machine, or container, in which a process number is unique."""
    space = ""
    # Containers may share the name of their host, but count their processes by themselves.
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()}{space}".encode()).hexdigest()[:8]


def is_running(process: int, since: float) -> bool:
    """Returns whether a process of this machine runs that was running at a time.

    Args:
        process: Number of the process.
        since: Seconds since the epoch. A process that started later was given the number of one that ended.
    """
    try:
        found = psutil.Process(process)
        return found.status() != psutil.STATUS_ZOMBIE and found.create_time() <= since + _CLOCK_TOLERANCE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def remove_leftovers(directory: str) -> list[str]:
    """Removes the temporary files and directories of processes that were killed, and logs how many.

    Those of a process on this machine are removed when it does not run any more; those of other machines and of
    release 0.1, whose names lack the machine, after a day.

    Args:
        directory: Path of the directory, local or in a bucket; it may not exist.

    Returns:
        The names that were removed.
    """
    removed = []
    for name in filesystem.listdir(directory):
        path = os.path.join(directory, name)
        match = _NAME.fullmatch(name)
        if match and _is_leftover(path, int(match[1]), match[2]) and _remove(path):
            removed.append(name)
    if removed:
        _LOG.info(f"removed {len(removed)} temporary files of processes that were stopped from {directory}")
    return removed


def changed_at(path: str) -> float | None:
    """Returns when a file was changed, in seconds since the epoch; None where it was removed in the meantime."""
    try:
        return filesystem.stamp(path)[1] / 1e9
    except Exception as error:
        if not filesystem.is_failure(error):
            raise
        return None


def _is_leftover(path: str, process: int, written_on: str | None) -> bool:
    changed = changed_at(path)
    if changed is None:
        return False
    if written_on == machine():
        return not is_running(process, changed)
    # A directory of a bucket has no time.
    return changed > 0 and time.time() - changed > _SECONDS_PER_DAY


def _remove(path: str) -> bool:
    """Removes a file, or a directory with its content; returns whether that was possible."""
    try:
        if filesystem.isdir(path) and not os.path.islink(path):
            filesystem.rmtree(path)
        else:
            filesystem.remove(path)
    except Exception as error:
        # Another process may have removed it at the same time, or another user may own it.
        if not filesystem.is_failure(error):
            raise
        return False
    return True


@functools.cache
def remove_leftovers_once(directory: str) -> None:
    """Removes leftovers like `remove_leftovers`, the first time that this process writes to a directory.

    Args:
        directory: Path of the directory.
    """
    remove_leftovers(directory)


@contextlib.contextmanager
def temporary_directory(name: str, parent: str | None = None) -> Iterator[str]:
    """Creates a directory that is removed when the block ends; or, after a kill, when a later process starts here.

    Args:
        name: What it holds, such as `predictions`.
        parent: Directory to create it in, local or in a bucket; that of the system for temporary files if None.

    Yields:
        Path of the directory; on a local disk only this user may read it.

    Raises:
        IsicError: The directory cannot be created.
    """
    parent = tempfile.gettempdir() if parent is None else parent
    path = os.path.join(parent, make_name(f"{name}-{secrets.token_hex(4)}"))
    with filesystem.explained_write_errors(path):
        created = filesystem.make_missing(parent)
        remove_leftovers_once(parent)
        if filesystem.is_remote(parent):
            filesystem.makedirs(path)
        else:
            os.mkdir(path, 0o700)
    try:
        # Other machines take what was not changed for a day for a leftover.
        with repeated(lambda: os.utime(path), _SECONDS_TO_RENEW):
            yield path
    finally:
        filesystem.rmtree(path)
        filesystem.remove_empty(created)


@contextlib.contextmanager
def without_wildcards(directory: str) -> Iterator[str]:
    """Gives a directory a second name that holds no wildcards, while the block runs.

    TensorFlow looks for the files of a checkpoint by a pattern, and finds none in a directory such as `b0 [2]`.

    Args:
        directory: Path of the directory, which is created if it does not exist.

    Yields:
        Path of a link to it; the path itself if it holds no wildcards, or is in a bucket.

    Raises:
        IsicError: The link cannot be created.
    """
    if filesystem.is_remote(directory) or not _WILDCARDS.intersection(directory):
        yield directory
        return
    with temporary_directory("link") as parent:
        link = os.path.join(parent, "link")
        with filesystem.explained_write_errors(link):
            filesystem.makedirs(directory)
            os.symlink(os.path.abspath(directory), link, target_is_directory=True)
        yield link


@contextlib.contextmanager
def repeated(action: Callable[[], object], seconds: float) -> Iterator[None]:
    """Calls a function again and again, in a thread, while the block runs; what it raises is ignored.

    Args:
        action: The function.
        seconds: Time between two calls.

    Yields:
        Nothing.
    """
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            with contextlib.suppress(Exception):
                action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        # A bucket that is out of reach must not keep the command from ending.
        thread.join(timeout=_SECONDS_TO_JOIN)
