"""Locks outputs, so that two processes never write the same files at the same time.

The lock of `runs/b0/fold0` is the file `runs/b0/.lock-fold0`, which names its process. The operating system holds the
lock (`flock`), and releases it however the process ends. Where it does not (in a bucket, on Windows, and between
machines that share a drive whose locks hold on one machine only), the process renews the time of the file: the lock is
respected while it is recent. That is best effort: two processes that start in the same instant may both begin.
"""

import contextlib
import functools
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, lock_file, temporary_files
from tfrecord_tools.io.lock_file import Writer

_LOG = logging.getLogger(__name__)

_PREFIX = ".lock-"
_SECONDS_BETWEEN_LOOKS = 0.2
ConfigT = TypeVar("ConfigT")
ResultT = TypeVar("ResultT")


def lock_path(target: str) -> str:
    """Returns the path of the lock of a file or directory."""
    directory, name = os.path.split(target.rstrip("/"))
    return os.path.join(directory, f"{_PREFIX}{name}")


@contextlib.contextmanager
def locked(*targets: str | None, wait: bool = False) -> Iterator[None]:
    """Locks files or directories while the block runs, and removes leftovers of killed processes beside them.

    Missing directories are created, and removed at the end if they are still empty.

    Args:
        *targets: Paths of what the block writes, local or in a bucket; None for nothing. They need not exist.
        wait: Whether to wait where another process holds a lock; otherwise that is an error.

    Yields:
        Nothing.

    Raises:
        ConfigError: Another process holds a lock, or the place cannot be written.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     with locked(f"{directory}/scores.csv"):
        ...         print(os.listdir(directory))
        ...     print(os.listdir(directory))
        ['.lock-scores.csv']
        []
    """
    with contextlib.ExitStack() as stack:
        for target in targets:
            if target:
                stack.enter_context(_locked(target, wait))
        yield


@contextlib.contextmanager
def _locked(target: str, wait: bool) -> Iterator[None]:
    path = lock_path(target)
    with filesystem.explained_write_errors(target):
        created = filesystem.make_missing(os.path.dirname(path))
        lock = _take_patiently(target, path) if wait else _take(target, path)
    if lock.former:
        _LOG.info(f"{lock.former} was stopped while it wrote {target}; going on")
    try:
        _clean_once(os.path.dirname(path))
        with lock.renewed():
            yield
    finally:
        lock.release()
        filesystem.remove_empty(created)


def locking(*options: str) -> Callable[[Callable[[ConfigT], ResultT]], Callable[[ConfigT], ResultT]]:
    """Decorates a function of a configuration: it holds the locks of the outputs that the configuration names.

    Args:
        *options: Names of the options that hold the path of an output, or None.

    Returns:
        Decorator.

    Examples:
        >>> @locking("output")
        ... def write(config): ...
    """

    def decorate(function: Callable[[ConfigT], ResultT]) -> Callable[[ConfigT], ResultT]:
        @functools.wraps(function)
        def hold(config: ConfigT) -> ResultT:
            with locked(*(getattr(config, option) for option in options)):
                return function(config)

        return hold

    return decorate


@functools.cache
def _clean_once(directory: str) -> None:
    """Removes temporary files and locks that killed processes left, the first time that this process writes here."""
    temporary_files.remove_leftovers_once(directory or ".")
    # To look at an abandoned lock removes it.
    find_locked(directory, ".*")


def _take(target: str, path: str) -> lock_file.Lock:
    try:
        return lock_file.Lock(path)
    except lock_file.HeldError as error:
        raise errors.ConfigError(_describe(target, path, error.writer)) from error


def _describe(target: str, path: str, writer: Writer | None) -> str:
    remedy = "wait until it ends, or choose another output"
    is_here = writer is not None and writer.machine == temporary_files.machine()
    if writer is not None and not (is_here and temporary_files.is_running(writer.process, time.time())):
        remedy += f"; if it does not run any more, remove {path}"
    return f"expected {target} to be free, but {writer or 'another process'} is writing it; {remedy}"


def _take_patiently(target: str, path: str) -> lock_file.Lock:
    announced = False
    while True:
        try:
            return lock_file.Lock(path)
        except lock_file.HeldError as error:
            if not announced:
                _LOG.info(f"waiting for {error.writer or 'another process'}, which is writing {target}")
            announced = True
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def find_writer(target: str) -> Writer | None:
    """Finds the process that holds the lock of a file or directory.

    Args:
        target: Path of the file or directory.

    Returns:
        The process, perhaps this one; None where no running process holds the lock.
    """
    path = lock_path(target)
    if not filesystem.exists(path):
        return None
    try:
        lock_file.Lock(path).release()
    except lock_file.HeldError as error:
        return error.writer or Writer(0, "this machine", temporary_files.machine(), "an instant ago")
    return None


def refuse_writer(target: str) -> None:
    """Refuses a file or directory that another process is writing.

    Args:
        target: Path of the file or directory.

    Raises:
        ConfigError: A running process holds its lock.
    """
    writer = find_writer(target)
    if writer is not None:
        raise errors.ConfigError(_describe(target, lock_path(target), writer))


def find_locked(directory: str, pattern: str) -> list[str]:
    """Lists what running processes are writing in a directory.

    Args:
        directory: Path of the directory; it may not exist.
        pattern: Regular expression that the complete name of a file or directory matches.

    Returns:
        Names, sorted.
    """
    locks = [name for name in filesystem.listdir(directory or ".") if name.startswith(_PREFIX)]
    names = [name[len(_PREFIX) :] for name in locks]
    return [name for name in names if re.fullmatch(pattern, name) and find_writer(os.path.join(directory, name))]
