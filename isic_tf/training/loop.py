"""The training loop: trains one fold, or all folds in turn, and resumes where a run stopped."""

import contextlib
import dataclasses
import functools
import logging
import os
import tempfile
import time
import typing

import tensorflow as tf

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.data import image_cache, mixture, preprocessing_config, read_errors, targets
from isic_tf.distribution import cpu, strategies, workers
from isic_tf.inference import patient_bag_predictor
from isic_tf.metrics import summaries
from isic_tf.models import backbones
from isic_tf.optim import lr_schedules
from isic_tf.training import (
    checkpointing,
    distributed_input,
    divergence,
    dry_runs,
    ema,
    epochs,
    fold_setup,
    history_plot,
    losses,
    preemption,
    profiler,
    tensorboard,
    train_state,
    train_step,
    validation,
    warm_start,
)
from isic_tf.training.config import TrainConfig, check_config
from tfrecord_tools import errors

_LOG = logging.getLogger(__name__)

# Flags that do not change the result, so may differ when a run goes on.
_FREE = ("data_dir", "extra_data_dir", "strategy", "tpu", "cache", "threads", "save_steps", "steps_per_execution")
_FREE += ("tensorboard", "profile")


@preemption.exiting_cleanly()
def train(config):
    """Trains one fold, or each in turn.

    Args:
        config: `TrainConfig`.

    Returns:
        `RunResult`; None for a dry run.

    Raises:
        IsicError: A flag does not fit the data, the machine or the run folder; a shard is corrupt; the loss diverged.
    """
    settings = config.settings()
    paths = {"data_dir": config.data_dir, "extra_data_dir": config.extra_data_dir, "workdir": config.workdir}
    hosted = {"cache": config.cache != "none" and config.cache}
    strategy = strategies.choose_strategy(config.strategy, config.tpu, paths, hosted)
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    check_config(config, strategy)
    profiler.parse_profile(config.profile)
    config = dataclasses.replace(config, threads=config.threads or cpu.count_cores())
    rows = mixture.read_sets(config.data_dir, config.extra_data_dir, config.pseudo_csv)
    rows, plans, skipped = fold_setup.plan_folds(rows, fold_setup.parse_fold(config.fold, rows), config)
    _LOG.info(strategies.describe_strategy(strategy))
    if config.dry_run:
        sources = [fold_setup.choose_source(plan, number, config) for number, plan in plans.items()]
        own = dataclasses.replace(config, weights="none") if sources[0] else config
        plan = next(iter(plans.values()))
        dry_runs.rehearse(plan, rows, strategy, own, fold_setup.count_steps(plan, config), len(plans))
        return
    chief, images = workers.is_chief(strategy), None
    folders = {number: run_directory.fold_dir(config.workdir, number) for number in plans}
    left = [number for number, folder in folders.items() if not run_directory.is_finished(folder)]
    sources = {number: fold_setup.choose_source(plans[number], number, config) for number in left}
    if chief:
        preparation = preprocessing_config.read_preprocessing(rows["source"].iloc[0])
        run_directory.claim(config.workdir, settings, _FREE, rows, fold_setup.read_named_files(config), preparation)
        if policy := fold_setup.policy_file(config):
            run_directory.keep_policy(config.workdir, policy)
    for number, folder in folders.items():
        if number not in left:
            _LOG.info(f"{folder} is trained already; another --workdir trains it anew")
        else:
            if config.cache != "none" and not images:
                images = image_cache.open_images(rows, config.cache, config.image_size, config.threads)
            # Every worker must save, since they read the variables together; only the chief's files are kept.
            with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as output:
                train_fold(Fold(plans[number], images, strategy, config, sources[number], folder, output, skipped))
        if chief:
            run_directory.merge_folds(config.workdir, rows)


class Fold(typing.NamedTuple):
    """All that the training of one fold is given."""

    plan: mixture.Plan
    images: typing.Callable | None  # decoded images, see `image_cache.open_images`
    strategy: tf.distribute.Strategy
    config: TrainConfig
    source: str | None  # folder of the weights to start from, see `warm_start.find_source`
    folder: str  # whose last checkpoint the run goes on from
    output: str  # folder to write: the same, or any other for a worker that is not the chief
    skipped: str  # to print at the end of every epoch

    @property
    def name(self):
        """What lines about the fold begin with."""
        return os.path.basename(self.folder)


def train_fold(fold):
    """Trains on some records and keeps the epoch whose exact ROC AUC on the held-out ones is best, or the last.

    Args:
        fold: `Fold`.

    Raises:
        IsicError: The training diverged, or a record cannot be read.
    """
    plan, config = fold.plan, fold.config
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(config.seed)
    _LOG.info(plan.text)
    if config.target == "diagnosis":
        _LOG.info(targets.describe(plan.rows))
    if config.loss == "auc":
        _LOG.info(losses.describe_empty(plan, config.global_batch_size))
    state, resumed = start(fold)
    shuffle = distributed_input.describe_shuffle(plan.rows, config, fold.images)
    batches = f"{fold_setup.count_steps(plan, config)} steps of {config.global_batch_size} an epoch"
    _LOG.info(f"  {batches}, {shuffle}{resumed}")
    origin = seen_images.find_origin(fold.source, backbones.weights_path(config.weights))
    if not origin and config.weights not in backbones.WEIGHTS:
        _LOG.info(f"  nothing tells which images the weights of {config.weights} have seen")
    seen_images.write_seen_images(fold.output, seen_images.list_seen_images(plan, origin))
    judged = train_state.make_evaluated(fold.strategy, state, config)
    predict = patient_bag_predictor.make_predictor(judged, fold.strategy, plan.held_out)
    with (
        read_errors.explained_read_errors(sorted({*plan.rows["shard"], *plan.held_out["shard"]})),
        workers.lost_worker_errors(),
    ):
        run_epochs(fold, state, judged, predict)
        # Judged again from the file, so that the predictions are that file's however often the run was cut off.
        backbones.load_weights(judged, os.path.join(fold.folder, run_directory.BEST_WEIGHTS))
        table = validation.validate(predict, plan.held_out, config, fold.images)
    if fold.output == fold.folder:
        history_plot.draw_history(fold.folder, fold.name)
        run_directory.finish(
            fold.folder, table if len(table) else None, run_directory.read_history(fold.folder), config.keep_weights
        )


def start(fold):
    """Creates the state of a fold: of its last checkpoint, of another run's weights, or new.

    Returns:
        State, see `train_state.make_state`; and "" or a text that says where it goes on.
    """
    saved, config = run_directory.find_checkpoints(os.path.join(fold.folder, "checkpoints")), fold.config
    load = (
        functools.partial(warm_start.load_weights, source=fold.source, config=config)
        if fold.source and not saved
        else None
    )
    own = dataclasses.replace(config, weights="none") if fold.source or saved else config
    state = train_state.make_state(fold.strategy, own, fold_setup.count_steps(fold.plan, config), load)
    checkpointing.restore(state, saved)
    step = int(state.step)
    if workers.mean_over_workers(fold.strategy, step) != step:
        raise errors.IsicError(
            f"expected all workers to go on from one step, this one is at {step} and another is not; give them one "
            "--workdir, where the first of them writes"
        )
    return state, f", going on after step {step}" if saved else ""


def run_epochs(fold, state, judged, predict):
    """Runs the epochs that are left.

    Args:
        fold: `Fold`.
        state: See `train_state.make_state`.
        judged: See `train_state.make_evaluated`.
        predict: Its predictor.
    """
    plan, images, strategy, config, _, folder, output, skipped = fold
    name, batch_size, steps = fold.name, config.global_batch_size, fold_setup.count_steps(plan, config)
    first, history = int(state.epoch), run_directory.read_history(folder)[: int(state.epoch)]
    schedule = lr_schedules.make_schedule(config, steps)
    with watching(fold, state) as (write, profile, save, pause, check):
        batches = distributed_input.make_batches(strategy, plan, images, config, start=int(state.step) * batch_size)
        for epoch in range(first, config.epochs):
            if validation.is_past_best(history, config.early_stop_patience):
                _LOG.info(f"{name} has not got better for {config.early_stop_patience} epochs: stopped")
                break
            if epoch in (first, config.freeze_epochs):
                step = train_step.make_train_step(strategy, state, config, frozen=epoch < config.freeze_epochs)
            started, label = time.monotonic(), f"{name} epoch {epoch + 1}"
            options = {"chunk": config.steps_per_execution, "pauses": (profile, pause), "check": check}
            figures, done, waited = epochs.run_epoch(step, state, batches, steps, label, **options)
            seconds = time.monotonic() - started
            validation.average_batch_statistics(state.model)
            ema.copy_averages(state, judged)
            table = validation.validate(predict, plan.held_out, config, images, pause)
            # Alike on all workers to the last bit, since they stop by it.
            verdict = {
                name: workers.mean_over_workers(strategy, value) for name, value in summaries.score(table).items()
            }
            rate = {"learning_rate": float(schedule(int(state.step) - 1))}
            history.append({"epoch": epoch + 1, **figures, **verdict, **rate})
            close_epoch(state, judged, save, output, history, config.keep_weights)
            speed = done * batch_size / seconds
            _LOG.info(epochs.describe_epoch(name, config.epochs, history, speed) + skipped)
            write(history[-1], speed, None if config.deterministic else waited / seconds)


@contextlib.contextmanager
def watching(fold, state):
    """Opens what goes on beside the steps: TensorBoard's files, the profile, checkpoints and the watch for divergence.

    Yields:
        The functions of `tensorboard.writing` and `profiler.profiling`, the two of `checkpointing.saving`, and one that raises
        where the training has diverged.
    """
    config, folder = fold.config, os.path.join(fold.output, "checkpoints")
    events = fold.folder if fold.output == fold.folder and config.tensorboard else None
    if events and not int(state.step):
        tensorboard.write_samples(events, fold.plan.rows, config)

    def check():
        divergence.refuse_divergence(
            state, fold.plan, config, fold.name, next(iter(run_directory.find_checkpoints(folder)), None)
        )

    with (
        tensorboard.writing(events) as write,
        profiler.profiling(fold.output, profiler.parse_profile(config.profile), int(state.step)) as profile,
        checkpointing.saving(state, folder, config.save_steps, fold.strategy, check) as (save, pause),
    ):
        yield write, profile, save, pause, check


def close_epoch(state, judged, save, output, history, keep):
    """Keeps what an epoch gave: its weights if they are wanted, the history, and last the checkpoint."""
    auc, best_auc = history[-1].get("auc", -1.0), float(state.best_auc)
    # Where nothing is held out the last epoch is the best.
    run_directory.keep_weights(output, judged, keep == "last" or "auc" not in history[-1] or auc > best_auc)
    run_directory.write_history(output, history)
    state.best_auc.assign(max(auc, best_auc))
    state.epoch.assign(len(history))
    state.loss.assign(0.0)
    state.gradient_norm.assign(0.0)
    save()
