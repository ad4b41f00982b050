"""Ends a run cleanly on SIGTERM."""

import contextlib
import logging
import signal
import sys
import threading

_LOG = logging.getLogger(__name__)


def exiting_cleanly():
    """Ends the process with code 0 at SIGTERM, while it does nothing that must be saved: what is in place is whole."""
    return on_termination(lambda *_: exit_cleanly())


def exit_cleanly():
    _LOG.info("\nasked to stop; the same command goes on where this one was")
    sys.exit(0)


@contextlib.contextmanager
def on_termination(handler):
    """Calls a function at SIGTERM."""
    # Python lets no other thread set a handler.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
