"""Listens at an address, and keeps the one process running that answers; imports neither TensorFlow nor FastAPI."""

import collections
import contextlib
import dataclasses
import json
import logging
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from isic_tf.server.config import HANGING, ServeConfig, require_packages
from tfrecord_tools import errors

_LOG = logging.getLogger(__name__)
TOKEN_VARIABLE = "ISIC_TOKEN"  # noqa: S105  # The name of a variable.
_SHORTEST_TOKEN = 16
_PROGRAM = "from isic_tf.server import worker; worker.main()"
# So often in so many seconds, a worker that is killed is started again; more often, something else is wrong.
_MOST_RESTARTS = 5
_SECONDS = 120.0


def serve(config: ServeConfig) -> None:
    """Serves a run until Ctrl-C or SIGTERM, which let the requests finish that are being answered.

    The run is loaded by a worker process. One that is killed, such as for its memory, is started again; meanwhile new
    requests wait.

    Args:
        config: The run, the address and the limits.

    Raises:
        ConfigError: The address cannot be listened at, the token is too short, or packages are missing.
        IsicError: The worker was killed several times in a row.
        SystemExit: The worker could not load the run, and has printed why.

    Examples:
        >>> from isic_tf.server import ServeConfig, serve
        >>> serve(ServeConfig(workdir="runs/lite0", port=8080))  # doctest: +SKIP
    """
    require_packages()
    token = _choose_token(config)
    with _listen(config) as listener:
        content = {"config": dataclasses.asdict(config), "token": token}
        supervise(lambda: _start_worker(listener, content))


def _choose_token(config: ServeConfig) -> str:
    """Returns the token that requests must send; "" for none, where only this machine is answered."""
    token = os.environ.get(TOKEN_VARIABLE, "")
    if token:
        if len(token) < _SHORTEST_TOKEN or not token.isascii() or any(character.isspace() for character in token):
            raise errors.ConfigError(
                f"expected at least {_SHORTEST_TOKEN} ASCII characters without spaces as {TOKEN_VARIABLE}, got "
                f"{len(token)} characters; choose another token, or unset it to have one made up"
            )
        return token
    if config.is_local:
        return ""
    token = secrets.token_urlsafe(24)
    _LOG.info(f"token, printed only here: {token}")
    return token


def _listen(config: ServeConfig) -> socket.socket:
    try:
        kind, _, _, _, address = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address, family=kind, backlog=128)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise errors.ConfigError(
            f"cannot listen at {config.host} port {config.port} ({reason}); choose another --host or --port"
        ) from error
    listener.set_inheritable(True)
    return listener


def _start_worker(listener: socket.socket, content: dict[str, Any]) -> "subprocess.Popen[bytes]":
    """Starts the process that answers; it ends when this one does, which closes its standard input."""
    process = subprocess.Popen(  # noqa: S603  # The program is a part of this package.
        [sys.executable, "-c", _PROGRAM, str(listener.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[listener.fileno()],
        # Ctrl-C reaches this process alone, which tells the worker.
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if process.stdin:
        process.stdin.write(json.dumps(content).encode() + b"\n")
        process.stdin.flush()
    return process


def supervise(start: Callable[[], "subprocess.Popen[bytes]"]) -> None:
    """Runs a process until Ctrl-C or SIGTERM, and starts it again when it is killed or hangs.

    Args:
        start: Starts the process.

    Raises:
        IsicError: It was killed several times in a row.
        SystemExit: It ended by itself, with its exit code.
    """
    deaths: collections.deque[float] = collections.deque(maxlen=_MOST_RESTARTS)
    with _noted_signals() as noted:
        while not noted:
            process = start()
            code = _wait(process, noted)
            if noted:
                return
            if code == HANGING:
                _LOG.warning("note: the worker hung; another one is started")
                continue
            # SIGTERM from elsewhere, as of a watcher of memory, is a code of the worker's own.
            if code >= 0 and code != 128 + signal.SIGTERM:
                sys.exit(code)
            if len(deaths) == _MOST_RESTARTS and time.monotonic() - deaths[0] < _SECONDS:
                raise errors.IsicError(
                    f"expected a worker that keeps running, but {_MOST_RESTARTS + 1} were killed within "
                    f"{_SECONDS:g} s, the last by signal {_find_signal(code)}; check the memory of the machine"
                )
            deaths.append(time.monotonic())
            _LOG.warning(f"note: the worker was killed by signal {_find_signal(code)}; another one is started")


def _find_signal(code: int) -> int:
    return -code if code < 0 else code - 128


@contextlib.contextmanager
def _noted_signals() -> Iterator[list[int]]:
    """Yields a list to which the numbers of SIGINT and SIGTERM are appended in place of their usual effect."""
    noted: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(kind, lambda number, _: noted.append(number)) for kind in kinds]
    try:
        yield noted
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


def _wait(process: "subprocess.Popen[bytes]", noted: list[int]) -> int:
    """Waits for the end of a process, and tells it once when a signal is noted; returns its exit code."""
    told = False
    while process.poll() is None:
        if noted and not told:
            _LOG.info("stopping; requests that are being answered are finished")
            process.terminate()
            told = True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
    if process.stdin:
        process.stdin.close()
    return process.returncode
