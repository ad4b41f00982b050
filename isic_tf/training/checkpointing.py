"""Saves and restores checkpoints."""

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from isic_tf.distribution import preemption, workers
from tfrecord_tools import errors

_LOG = logging.getLogger(__name__)

# Steps after which several workers ask each other whether one of them was told to stop; all of them wait for it.
_AGREE_STEPS = 10


class Saver(NamedTuple):
    """The functions of `saving`.

    Attributes:
        save: Saves now; returns the path of the checkpoint.
        pause: Saves or ends the run where that is due. Called between steps with the numbers of steps done before and
            now, and between other pieces of work without arguments.
    """

    save: Callable[[], str]
    pause: Callable[..., None]


def restore(state: tf.train.Checkpoint, paths: Sequence[str]) -> None:
    """Restores the newest intact checkpoint; logs if that is not the newest.

    Args:
        state: See `train_state.make_state`.
        paths: Checkpoints, the newest first, see `run_directory.find_checkpoints`; empty to leave the state unchanged.

    Raises:
        CorruptRecordError: There are checkpoints, but none can be read.
    """
    for path in paths:
        try:
            state.restore(path).assert_consumed()
            return
        except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            _LOG.info(f"{path} cannot be read ({reason}); trying the one before")
    if paths:
        directory = os.path.dirname(paths[0])
        raise errors.CorruptRecordError(
            f"expected an intact checkpoint in {directory}, but all {len(paths)} are damaged; remove the directory to "
            "train the fold again"
        )


def _accept() -> None:
    pass


@contextlib.contextmanager
def saving(
    state: tf.train.Checkpoint,
    directory: str,
    save_steps: int,
    strategy: tf.distribute.Strategy,
    check: Callable[[], None] = _accept,
) -> Iterator[Saver]:
    """Saves the state while a run trains; on SIGTERM saves and ends the process with exit code 0.

    Of several workers all save and end at the same step, whichever of them received the signal.

    Args:
        state: See `train_state.make_state`.
        directory: Directory of the checkpoints; the last two are kept.
        save_steps: Steps between checkpoints.
        strategy: See `strategies.choose_strategy`.
        check: Called before a checkpoint is written; raises if the state must not be saved.

    Yields:
        `Saver`.
    """
    manager = tf.train.CheckpointManager(state, directory, max_to_keep=2)
    asked_to_stop = threading.Event()
    agree_steps = min(_AGREE_STEPS, save_steps)

    def save() -> str:
        check()
        return manager.save()

    def pause(before: int = 0, step: int = 0) -> None:
        # Workers agree at the same steps, and not while they evaluate, when each is at another image.
        agree = workers.is_single_worker(strategy) or step // agree_steps > before // agree_steps
        if agree and workers.mean_over_workers(strategy, asked_to_stop.is_set()):
            _LOG.info(f"\nasked to stop: saved {save()}; run the same command to resume")
            sys.exit(0)
        if step // save_steps > before // save_steps:
            save()

    with preemption.on_termination(lambda *_: asked_to_stop.set()):
        yield Saver(save, pause)
        # A signal that came while the last epoch was closed: its checkpoint is written.
        if workers.mean_over_workers(strategy, asked_to_stop.is_set()):
            preemption.exit_cleanly()
