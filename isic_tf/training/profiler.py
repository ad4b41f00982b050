"""Profiles training steps for TensorBoard."""

import contextlib
import logging
from collections.abc import Callable, Iterator

import tensorflow as tf

_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def profiling(directory: str, steps: tuple[int, int] | None, done: int = 0) -> Iterator[Callable[[int, int], None]]:
    """Writes a profile of some steps for TensorBoard, and logs of which.

    Args:
        directory: Directory of the fold.
        steps: First and last step, see `config_checks.parse_profile`; None for no profile.
        done: Steps done before.

    Yields:
        Function to call between steps, with the numbers of steps done before and now.
    """
    # The first profiled step: None before the profile starts, 0 after it ends.
    first: int | None = None
    last = done

    def watch(before: int, now: int) -> None:
        nonlocal first, last
        last = now
        if steps and first is None and steps[0] <= now + 1 <= steps[1]:
            tf.profiler.experimental.start(directory)
            first = now + 1
        elif steps and first and now >= steps[1]:
            stop()

    def stop() -> None:
        nonlocal first
        tf.profiler.experimental.stop()
        _LOG.info(f"\n  profile of steps {first} to {last} written to {directory}/plugins/profile")
        first = 0

    # The profile of the first step starts before it.
    watch(done, done)
    try:
        yield watch
    finally:
        if first:
            stop()
    if steps and first is None:
        _LOG.info(
            f"\n  no profile was written: steps {steps[0]} to {steps[1]} are not among the trained steps {done + 1} to "
            f"{last}"
        )
