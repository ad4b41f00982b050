"""Ends a process cleanly on SIGTERM, which is sent before a machine is preempted."""

import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def exiting_cleanly() -> Iterator[None]:
    """Ends the process with exit code 0 on SIGTERM, while nothing needs to be saved: all files in place are complete.

    A context manager, and a decorator. Outside of the main thread it does nothing.

    Yields:
        Nothing.
    """
    with on_termination(lambda *_: exit_cleanly()):
        yield


def exit_cleanly() -> NoReturn:
    """Logs that the run was asked to stop, and ends the process with exit code 0.

    Raises:
        SystemExit: Always.
    """
    _LOG.info("\nasked to stop; run the same command to resume")
    sys.exit(0)


@contextlib.contextmanager
def on_termination(handler: Callable[..., Any]) -> Iterator[None]:
    """Calls a function on SIGTERM while the block runs. Outside of the main thread it does nothing.

    Args:
        handler: Function of a signal number and a stack frame.

    Yields:
        Nothing.
    """
    # Python allows only the main thread to set a handler.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
