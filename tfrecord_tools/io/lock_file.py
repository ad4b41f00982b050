"""The file that locks an output, and the process that it names."""

import contextlib
import dataclasses
import datetime
import errno
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator

from tfrecord_tools.io import filesystem, temporary_files

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# A lock that the operating system does not hold is renewed, and counts as abandoned, after these times.
_SECONDS_TO_RENEW = 30.0
_SECONDS_TO_ABANDON = 120.0
# Another process may look at a lock for an instant while this one takes it.
_ATTEMPTS = 5
_SECONDS_BETWEEN_ATTEMPTS = 0.01
_MAX_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class Writer:
    """The process that holds a lock.

    Attributes:
        process: Its number.
        host: Name of its machine.
        machine: See `temporary_files.machine`.
        started: Local time at which it took the lock, as ISO 8601.
        token: Random text that tells two locks of one process apart.
    """

    process: int
    host: str
    machine: str
    started: str
    token: str = ""

    def __str__(self) -> str:
        """Returns the process, its host and since when it writes."""
        return f"process {self.process} on {self.host} (since {self.started})"


class HeldError(Exception):
    """Another process holds the lock."""

    def __init__(self, writer: Writer | None) -> None:
        super().__init__()
        self.writer = writer


class Lock:
    """A lock that this process holds.

    Attributes:
        former: The process that ended without releasing the lock, if any.
    """

    def __init__(self, path: str) -> None:
        """Takes the lock.

        Args:
            path: The lock's file; its directory exists.

        Raises:
            HeldError: Another process holds it.
            OSError: The file cannot be written; in a bucket an error of TensorFlow.
        """
        self._path = path
        self._writer = Writer(
            os.getpid(),
            socket.gethostname(),
            temporary_files.machine(),
            datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
            secrets.token_hex(8),
        )
        self.former: Writer | None = None
        self._file: int | None = None
        if fcntl is not None and not filesystem.is_remote(path):
            self._file = _lock_file(path)
        try:
            self._claim()
        except BaseException:
            self._close()
            raise

    def _claim(self) -> None:
        """Writes the name of this process into the file, unless a process elsewhere holds the lock."""
        former = _read(self._path)
        if former is not None:
            is_vouched_for = self._file is not None and former.machine == temporary_files.machine()
            if not is_vouched_for and _is_current(self._path, former):
                raise HeldError(former)
        self.former = former
        self._write()
        if self._file is None:
            found = _read(self._path)
            if found != self._writer:
                raise HeldError(found)

    def _write(self) -> None:
        content = json.dumps(dataclasses.asdict(self._writer))
        if self._file is not None:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content.encode(), 0)
        else:
            with filesystem.open(self._path, "w") as file:
                file.write(content)

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews the time of the file while the block runs."""
        # The lock is held all the same where that fails: a bucket may be out of reach for a while.
        with temporary_files.repeated(self._renew, _SECONDS_TO_RENEW):
            yield

    def _renew(self) -> None:
        if filesystem.is_remote(self._path):
            self._write()
        else:
            os.utime(self._path)

    def release(self) -> None:
        """Removes the file, and with it the lock."""
        with contextlib.suppress(Exception):
            if _read(self._path) in (None, self._writer):
                filesystem.remove(self._path)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _lock_file(path: str) -> int | None:
    """Opens and locks a file; returns its descriptor, or None where the file system has no locks.

    Raises:
        HeldError: Another process holds the lock.
    """
    for _ in range(_ATTEMPTS):
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        except PermissionError:
            if not os.path.exists(path):
                raise
            # Another user's process made it.
            break
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            if error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                return None
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        else:
            # Its last owner may have removed the file since it was opened.
            if os.path.exists(path) and os.path.samestat(os.fstat(file), os.stat(path)):
                return file
            os.close(file)
        time.sleep(_SECONDS_BETWEEN_ATTEMPTS)
    raise HeldError(_read(path))


def _read(path: str) -> Writer | None:
    """Reads which process a lock names; None where it names none, as in the instant before it does."""
    try:
        with filesystem.open(path) as file:
            writer = Writer(**json.loads(file.read(_MAX_BYTES)))
        return writer if isinstance(writer.process, int) and writer.process > 0 else None
    except (ValueError, TypeError):
        return None
    except Exception as error:
        if not filesystem.is_failure(error):
            raise
        return None


def _is_current(path: str, writer: Writer) -> bool:
    """Returns whether a process that the operating system does not vouch for still holds its lock."""
    changed = temporary_files.changed_at(path)
    if changed is None:
        return False
    if writer.machine == temporary_files.machine():
        return temporary_files.is_running(writer.process, changed)
    return time.time() - changed < _SECONDS_TO_ABANDON
