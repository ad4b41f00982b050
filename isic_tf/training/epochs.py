"""Runs the epochs of a fold: steps, validation, weights and history, checkpoint, log line."""

import contextlib
import dataclasses
import functools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.artifacts import fold_results, run_directory
from isic_tf.distribution import workers
from isic_tf.inference import predictor
from isic_tf.metrics import summaries
from isic_tf.optim import ema, lr_schedules
from isic_tf.training import (
    checkpointing,
    config_checks,
    distributed_input,
    divergence,
    profiler,
    tensorboard,
    train_step,
    validation,
)
from isic_tf.training.fold_setup import Fold
from isic_tf.training.linear_probe import probing

_LOG = logging.getLogger(__name__)

# Steps between checks for divergence; each check waits for the device.
_CHECK_STEPS = 100

History = list[dict[str, Any]]


class Monitors(NamedTuple):
    """What runs beside the steps.

    Attributes:
        write_epoch: Writes the metrics of an epoch for TensorBoard, see `tensorboard.writing`.
        profile: Starts and stops the profile, see `profiler.profiling`; called between steps.
        saver: Saves checkpoints, see `checkpointing.saving`.
        check: Raises if the training has diverged.
    """

    write_epoch: tensorboard.WriteEpoch
    profile: Callable[[int, int], None]
    saver: checkpointing.Saver
    check: Callable[[], None]


class EpochResult(NamedTuple):
    """What the steps of an epoch gave.

    Attributes:
        means: Mean `loss` and mean `gradient_norm` of all steps of the epoch.
        steps: Steps that were run now: fewer than those of the epoch if it was resumed.
        waited: Seconds spent waiting for input.
    """

    means: dict[str, float]
    steps: int
    waited: float


def run_epochs(
    fold: Fold,
    state: tf.train.Checkpoint,
    evaluated: tf.keras.Model,
    predict: predictor.Predictor,
    history: History | None = None,
) -> History:
    """Runs the remaining epochs of a fold.

    Args:
        fold: See `fold_setup.Fold`.
        state: See `train_state.make_state`.
        evaluated: The classifier that is evaluated and kept, see `train_state.make_evaluated`.
        predict: Its predictor, see `patient_bag_predictor.make_predictor`.
        history: History of the epochs done, see `fold_progress.restore_history`; None where none are done.

    Returns:
        The history of all epochs, see `run_directory.read_history`.

    Raises:
        DivergenceError: The training diverges.
    """
    config = fold.config
    first_epoch = int(state.epoch)
    history = list(history or [])
    schedule = lr_schedules.make_schedule(config, fold.steps)
    with _monitoring(fold, state) as monitors:
        if config.is_probe:
            batches, step, validate = probing.open_probe(fold, state, evaluated, monitors.saver.pause)
        else:
            first_record = int(state.step) * config.global_batch_size
            batches = distributed_input.make_batches(fold.strategy, fold.plan, fold.images, config, start=first_record)
            validate = functools.partial(validation.validate, predict, fold.plan.held_out, config, fold.images)
        for epoch in range(first_epoch, config.epochs):
            if validation.is_past_best(history, config.early_stop_patience):
                _LOG.info(f"{fold.name}: stopped early, no better epoch in the last {config.early_stop_patience}")
                break
            if not config.is_probe and epoch in (first_epoch, config.num_frozen_epochs):
                # Traced again where the backbone is unfrozen.
                is_frozen = epoch < config.num_frozen_epochs
                step = train_step.make_train_step(fold.strategy, state, config, frozen=is_frozen)
            started = time.monotonic()
            means, num_steps, waited = run_epoch(
                step,
                state,
                batches,
                fold.steps,
                f"{fold.name} epoch {epoch + 1}",
                chunk=config.steps_per_execution,
                pauses=(monitors.profile, monitors.saver.pause),
                check=monitors.check,
            )
            seconds = time.monotonic() - started
            metrics = _evaluate(fold, state, evaluated, validate, monitors.saver.pause)
            learning_rate = float(schedule(int(state.step) - 1))
            history.append({"epoch": epoch + 1, **means, **metrics, "learning_rate": learning_rate})
            _close_epoch(fold, state, evaluated, history)
            monitors.saver.save()
            speed = num_steps * config.global_batch_size / seconds
            _LOG.info(describe_epoch(fold.name, config.epochs, history, speed) + fold.skipped)
            monitors.write_epoch(history[-1], speed, None if config.deterministic else waited / seconds)
    return history


@contextlib.contextmanager
def _monitoring(fold: Fold, state: tf.train.Checkpoint) -> Iterator[Monitors]:
    """Opens TensorBoard's files, the profile and the checkpoints of a fold."""
    config = fold.config
    done = int(state.step)
    checkpoints = os.path.join(fold.output, "checkpoints")
    events = fold.directory if fold.is_written and config.tensorboard else None
    if events and not done:
        # A linear probe does not augment.
        shown = dataclasses.replace(config, augment_strength=0.0) if config.is_probe else config
        tensorboard.write_samples(events, fold.plan.rows, shown)

    def check() -> None:
        newest = next(iter(run_directory.find_checkpoints(checkpoints)), None)
        divergence.check_divergence(state, fold.plan, config, fold.name, newest)

    with (
        tensorboard.writing(events) as write_epoch,
        profiler.profiling(fold.output, config_checks.parse_profile(config.profile), done) as profile,
        checkpointing.saving(state, checkpoints, config.save_steps, fold.strategy, check) as saver,
    ):
        yield Monitors(write_epoch, profile, saver, check)


def run_epoch(
    step: train_step.TrainStep,
    state: tf.train.Checkpoint,
    batches: Iterator[Any],
    steps: int,
    label: str,
    *,
    chunk: int = 1,
    pauses: Sequence[Callable[[int, int], None]] = (),
    check: Callable[[], None] | None = None,
) -> EpochResult:
    """Runs the remaining steps of an epoch.

    Args:
        step: See `train_step.make_train_step`.
        state: See `train_state.make_state`.
        batches: Iterator of distributed batches, from the state's step on.
        steps: Steps per epoch.
        label: Text before the progress bar.
        chunk: Steps that the device runs without returning to the host.
        pauses: Called between steps, with the numbers of steps of the run done before and now.
        check: Called from time to time and at the end; raises if the training has diverged.

    Returns:
        `EpochResult`.
    """
    first = int(state.epoch) * steps
    start = int(state.step)
    last = first + steps
    # Counted here, because reading the state's own number would wait for the device.
    now = start
    waited = []
    with tqdm(desc=label, total=steps, initial=start - first, leave=False, unit="step", disable=None) as progress:
        while now < last:
            before = now
            now = min(before + chunk, last)
            waited.append(step(batches, now - before))
            progress.update(now - before)
            if check and now // _CHECK_STEPS > before // _CHECK_STEPS:
                check()
            for pause in pauses:
                pause(before, now)
    if check:
        check()
    means = {"loss": float(state.loss) / steps, "gradient_norm": float(state.gradient_norm) / steps}
    return EpochResult(means, last - start, float(tf.add_n(waited)) if waited else 0.0)


def _evaluate(
    fold: Fold,
    state: tf.train.Checkpoint,
    evaluated: tf.keras.Model,
    validate: Callable[[Callable[[], None]], pd.DataFrame],
    pause: Callable[[], None],
) -> dict[str, float]:
    """Computes the metrics of the held-out images after an epoch; empty where nothing is held out."""
    validation.average_batch_statistics(state.model)
    ema.copy_averages(state, evaluated)
    table = validate(pause)
    # The same on all workers to the last bit, since these metrics decide when they stop.
    return {name: workers.mean_over_workers(fold.strategy, value) for name, value in summaries.score(table).items()}


def _close_epoch(fold: Fold, state: tf.train.Checkpoint, evaluated: tf.keras.Model, history: History) -> None:
    """Writes the weights, if they are to be kept, and the history; prepares the state for the next epoch."""
    row = history[-1]
    auc = row.get("auc", -1.0)
    best_auc = float(state.best_auc)
    # Where nothing is held out, the last epoch counts as the best.
    is_kept = fold.config.keep_weights == "last" or "auc" not in row or auc > best_auc
    fold_results.keep_weights(fold.output, evaluated, is_kept, int(row["epoch"]))
    run_directory.write_history(fold.output, history)
    state.history.assign(json.dumps(history))
    state.best_auc.assign(max(auc, best_auc))
    state.epoch.assign(len(history))
    state.loss.assign(0.0)
    state.gradient_norm.assign(0.0)


def describe_epoch(name: str, epochs: int, history: Sequence[Mapping[str, Any]], speed: float) -> str:
    """Formats the log line of the last epoch.

    Args:
        name: Name of the fold.
        epochs: Epochs of the run.
        history: See `run_directory.read_history`, at least one row.
        speed: Images per second that were trained on.

    Returns:
        Text such as "fold0 epoch 2/3  loss 0.1234  auc 0.8123  best 0.8456  310 images/s".
    """
    row = history[-1]
    parts = [f"{name} epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.4f}"]
    aucs = [row["auc"] for row in history if "auc" in row]
    if aucs:
        parts += [f"auc {aucs[-1]:.4f}", f"best {max(aucs):.4f}"]
    parts.append(f"{speed:.0f} images/s")
    return "  ".join(parts)
