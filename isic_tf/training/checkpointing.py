"""Saves and restores checkpoints."""

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import tensorflow as tf

from isic_tf.artifacts import fold_progress, fold_results, run_directory
from isic_tf.distribution import preemption, workers
from isic_tf.optim import ema
from isic_tf.training import validation
from isic_tf.training.fold_setup import Fold
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, temporary_files

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
            _restore(state, path)
            return
        except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            _LOG.info(f"{path} cannot be read ({reason}); trying the one before")
    if paths:
        directory = os.path.dirname(paths[0])
        raise errors.CorruptRecordError(
            f"expected an intact checkpoint in {directory}, but all {len(paths)} are damaged; remove "
            f"{os.path.dirname(directory)} to train the fold again"
        )


def _restore(state: tf.train.Checkpoint, path: str) -> None:
    """Restores a checkpoint."""
    with temporary_files.without_wildcards(os.path.dirname(path)) as directory:
        _restore_known(state, os.path.join(directory, os.path.basename(path)))


def _restore_known(state: tf.train.Checkpoint, path: str) -> None:
    """Restores what a checkpoint holds; one of release 0.1 holds no history."""
    variables = tf.train.load_checkpoint(path).get_variable_to_shape_map()
    history = getattr(state, "history", None)
    if history is None or any(name.startswith("history/") for name in variables):
        state.restore(path).assert_consumed()
        return
    del state.history
    try:
        state.restore(path).assert_consumed()
    finally:
        state.history = history


def restore_history(fold: Fold, state: tf.train.Checkpoint, is_resumed: bool) -> fold_progress.History:
    """Reads the history of a fold's epochs, and holds it against the checkpoint; the file is mended if it can be.

    Args:
        fold: See `fold_setup.Fold`.
        state: Its state, see `loop.start_state`.
        is_resumed: Whether that is the state of a checkpoint.

    Returns:
        History of the epochs that are done.

    Raises:
        CorruptRecordError: History and checkpoint contradict each other, or one of them is lost.
    """
    if not is_resumed:
        if run_directory.is_finished(fold.directory):
            # Only its predictions or metrics are lost.
            return run_directory.read_history(fold.directory)
        fold_progress.refuse_lost_checkpoints(fold.directory)
        return []
    epochs = int(state.epoch)
    step = int(state.step)
    if not epochs * fold.steps <= step <= (epochs + 1) * fold.steps:
        raise errors.CorruptRecordError(
            f"the checkpoint in {fold.directory} is damaged: expected a step of epoch {epochs + 1}, whose steps are "
            f"{epochs * fold.steps + 1} to {(epochs + 1) * fold.steps}, got {step}; remove {fold.directory} to train "
            "the fold again"
        )
    recorded = state.history.numpy().decode()
    history, is_mended = fold_progress.restore_history(fold.directory, epochs, recorded)
    state.history.assign(json.dumps(history))
    if is_mended and fold.is_written:
        run_directory.write_history(fold.directory, history)
    return history


def restore_weights(
    fold: Fold, state: tf.train.Checkpoint, evaluated: tf.keras.Model, history: fold_progress.History
) -> None:
    """Holds the kept weights against the history; weights that are lost are kept again if they are the checkpoint's.

    Args:
        fold: See `fold_setup.Fold`.
        state: Its state, see `loop.start_state`.
        evaluated: The classifier that is kept, see `train_state.make_evaluated`; changed where weights are kept again.
        history: See `restore_history`.

    Raises:
        CorruptRecordError: Weights that are needed are lost.
    """
    keep = fold.config.keep_weights
    problem = fold_progress.find_weights_problem(fold.directory, history, keep)
    # All workers take part in keeping weights; the first of them may have written the file since another looked.
    if not workers.mean_over_workers(fold.strategy, bool(problem)):
        return
    last = len(history)
    is_at_its_end = int(state.epoch) == last and int(state.step) == last * fold.steps
    is_last_kept = fold_progress.kept_epoch(history, keep) == last
    if is_at_its_end and is_last_kept:
        _LOG.warning(f"note: {problem or fold.directory}; kept again from the checkpoint, which holds them")
        validation.average_batch_statistics(state.model)
        ema.copy_averages(state, evaluated)
        fold_results.keep_weights(fold.output, evaluated, True, last)
    elif (keep == "last" or "auc" not in history[-1]) and last < fold.config.epochs:
        _LOG.warning(f"note: {problem}; those of a later epoch will take their place")
    else:
        fold_progress.refuse_lost_weights(fold.directory, problem)


def _list_checkpoints(directory: str) -> None:
    """Writes TensorFlow's own list of the checkpoints anew: it may be empty or damaged although they are whole."""
    paths = run_directory.find_checkpoints(directory)[::-1]
    listing = os.path.join(directory, "checkpoint")
    if paths:
        lines = [f'model_checkpoint_path: "{os.path.basename(paths[-1])}"']
        for path in paths:
            lines.append(f'all_model_checkpoint_paths: "{os.path.basename(path)}"')
            # Without its time a checkpoint would be forgotten, and never be removed.
            lines.append(f"all_model_checkpoint_timestamps: {filesystem.stamp(f'{path}.index')[1] / 1e9}")
        atomic_write.write_text(listing, "\n".join([*lines, "last_preserved_timestamp: 0"]) + "\n")
    else:
        filesystem.remove(listing, missing_ok=True)


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
    _list_checkpoints(directory)
    asked_to_stop = threading.Event()
    agree_steps = min(_AGREE_STEPS, save_steps)

    def save() -> str:
        check()
        return os.path.join(directory, os.path.basename(manager.save()))

    def pause(before: int = 0, step: int = 0) -> None:
        # Workers agree at the same steps, and not while they evaluate, when each is at another image.
        agree = workers.is_single_worker(strategy) or step // agree_steps > before // agree_steps
        if agree and workers.mean_over_workers(strategy, asked_to_stop.is_set()):
            _LOG.info(f"\nasked to stop: saved {save()}; run the same command to resume")
            sys.exit(0)
        if step // save_steps > before // save_steps:
            save()

    linked = temporary_files.without_wildcards(directory)
    with linked as path, preemption.on_termination(lambda *_: asked_to_stop.set()):
        manager = tf.train.CheckpointManager(state, path, max_to_keep=2)
        yield Saver(save, pause)
        # A signal that came while the last epoch was closed: its checkpoint is written.
        if workers.mean_over_workers(strategy, asked_to_stop.is_set()):
            preemption.exit_cleanly()
