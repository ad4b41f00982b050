"""Saves and restores checkpoints."""

import contextlib
import logging
import os
import sys
import threading

import tensorflow as tf

from isic_tf.distribution import workers
from isic_tf.training import preemption
from tfrecord_tools import errors

_LOG = logging.getLogger(__name__)

# Steps between looks of several workers at whether one of them was asked to stop; each look waits for all.
_AGREE_STEPS = 10


def restore(state, paths):
    """Restores the newest checkpoint that is whole, and says so where that is not the newest.

    Args:
        state: `tf.train.Checkpoint`.
        paths: See `find`; none to leave the state as it is.

    Raises:
        IsicError: There are checkpoints, and none of them can be read.
    """
    for path in paths:
        try:
            state.restore(path).assert_consumed()
            return
        except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            _LOG.info(f"{path} cannot be read ({reason}); trying the one before")
    if paths:
        folder = os.path.dirname(paths[0])
        raise errors.IsicError(f"expected a whole checkpoint in {folder}, found none; remove it to train the fold anew")


@contextlib.contextmanager
def saving(state, folder, save_steps, strategy, check=lambda: None):
    """Saves a run's state while it trains, and ends the run in good order where the machine asks for it by SIGTERM.

    Of several workers all save and end at once, whichever of them was asked.

    Args:
        state: `tf.train.Checkpoint`.
        folder: Folder of the checkpoints; the last two are kept.
        save_steps: Steps between checkpoints.
        strategy: `tf.distribute.Strategy`.
        check: Function to call before a checkpoint is written; it raises where the state is not worth saving.

    Yields:
        Function that saves now; and function to call between steps, with the numbers of steps done before and now, and
        between other pieces of work, without.
    """
    manager = tf.train.CheckpointManager(state, folder, max_to_keep=2)
    asked, every = threading.Event(), min(_AGREE_STEPS, save_steps)

    def save():
        check()
        return manager.save()

    def pause(before=0, step=0):
        # Workers look at the same steps, and not while they judge: each is at another image then.
        looks = workers.is_single_worker(strategy) or step // every > before // every
        if looks and workers.mean_over_workers(strategy, asked.is_set()):
            _LOG.info(f"\nasked to stop: saved {save()}; the same command goes on from there")
            sys.exit(0)
        if step // save_steps > before // save_steps:
            save()

    with preemption.on_termination(lambda *_: asked.set()):
        yield save, pause
        # What came while the last epoch was closed: its checkpoint is there.
        if workers.mean_over_workers(strategy, asked.is_set()):
            preemption.exit_cleanly()
