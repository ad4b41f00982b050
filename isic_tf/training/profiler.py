"""Profiles training steps for TensorBoard."""

import contextlib
import logging
import re

import tensorflow as tf

from tfrecord_tools import errors

_LOG = logging.getLogger(__name__)


def parse_profile(text):
    """Reads `--profile`.

    Returns:
        First and last step to profile, from 1; None for "".

    Raises:
        IsicError: It is not two whole numbers of steps, the first from 1 and below the second.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    steps = tuple(map(int, match.groups())) if match else (0, 0)
    if not 0 < steps[0] < steps[1]:
        raise errors.ConfigError(f"expected --profile=FIRST:LAST, steps from 1, as in 10:20, got {text!r}")
    return steps


@contextlib.contextmanager
def profiling(folder, steps, done=0):
    """Writes a profile of some steps for TensorBoard into a fold's folder, and says of which.

    Args:
        folder: Folder of the fold.
        steps: See `parse_profile`.
        done: Steps done before.

    Yields:
        Function to call between steps, with the numbers of steps done before and now.
    """
    first = last = None

    def watch(before, now):
        nonlocal first, last
        last = now
        if steps and first is None and steps[0] <= now + 1 <= steps[1]:
            tf.profiler.experimental.start(folder)
            first = now + 1
        elif first and now >= steps[1]:
            stop()

    def stop():
        nonlocal first
        tf.profiler.experimental.stop()
        _LOG.info(f"\n  profile of steps {first} to {last} written to {folder}/plugins/profile")
        first = 0

    # The first step's profile begins before it.
    watch(done, done)
    try:
        yield watch
    finally:
        if first:
            stop()
    if steps and first is None:
        wanted = f"steps {steps[0]} to {steps[1]}"
        _LOG.info(f"\n  no profile: {wanted} are not among those from {done + 1} to {last}")
