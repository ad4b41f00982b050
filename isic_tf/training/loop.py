"""The training loop: trains one fold, or all folds in turn, and resumes where a run was interrupted.

`train` prepares the run and trains its folds; `train_fold` trains one fold; `epochs.run_epochs` runs its epochs, and
`train_step.make_train_step` creates the step.
"""

import contextlib
import dataclasses
import functools
import logging
import os
from collections.abc import Mapping

import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import disk_space, fold_results, prediction_files, run_directory, run_lock, seen_images
from isic_tf.data import image_cache, mixture, preprocessing_config, read_errors, record_loading, targets
from isic_tf.distribution import cpu, preemption, strategies, workers
from isic_tf.inference import fit_fold_detector, patient_bag_predictor
from isic_tf.models import backbones
from isic_tf.models.pretrained import weights_files
from isic_tf.training import (
    checkpointing,
    compile_check,
    config_checks,
    distributed_input,
    epochs,
    fold_setup,
    history_plot,
    losses,
    memory_estimate,
    train_state,
    validation,
    warm_start,
)
from isic_tf.training.config import TrainConfig
from isic_tf.training.dry_run import dry_runs, training_estimate
from isic_tf.training.fold_setup import Fold
from isic_tf.training.linear_probe import feature_store
from isic_tf.training.run_result import RunResult
from tfrecord_tools import errors
from tfrecord_tools.io import temporary_files

_LOG = logging.getLogger(__name__)

# Options that do not change the result, so that they may differ when a run is resumed.
_FREE_OPTIONS = (
    "data_dir",
    "extra_data_dir",
    "patients_are",
    # Its content counts.
    "table",
    "strategy",
    "tpu",
    "cache",
    "threads",
    "save_steps",
    "steps_per_execution",
    "tensorboard",
    "profile",
)


def train(config: TrainConfig) -> RunResult:
    """Trains one fold, or all folds in turn, in a run directory.

    The same call again resumes an interrupted run from its last checkpoint, with the same result as without the
    interruption. Folds that are trained to the end are left as they are.

    Args:
        config: The configuration of the run.

    Returns:
        `RunResult`: the run directory with its metrics and out-of-fold predictions. After a dry run
        (`dry_run=True`), which writes nothing, its `estimate` holds the time and memory that training would take; or,
        with `compile_for`, `compiled` what the compiler of a TPU says.

    Raises:
        ConfigError: Options contradict each other, or do not fit the data, the machine or the run directory; or another
            process trains one of the folds.
        LeakageError: The initial weights were trained on held-out images, or a patient is in training and held out.
        CorruptRecordError: A record, a shard or a checkpoint is damaged.
        DivergenceError: The training diverges.

    Examples:
        >>> import isic_tf
        >>> config = isic_tf.TrainConfig(data_dir="records/384", workdir="runs/b0", image_size=384)
        >>> result = isic_tf.train(config)  # doctest: +SKIP
        >>> result.roc_auc  # doctest: +SKIP
        0.9312
    """
    config = fold_setup.keep_warmup(config)
    if config.compile_for:
        # Nothing is saved that a clean exit on a signal would stand for.
        return RunResult(config.workdir, compiled=compile_check.check_compilation(config))
    return _train(config)


@preemption.exiting_cleanly()
def _train(config: TrainConfig) -> RunResult:
    """Trains the folds of a run, or estimates what that would take."""
    strategy = _choose_strategy(config)
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    config_checks.check_options(config, strategy.num_replicas_in_sync, on_tpu)
    all_rows = mixture.read_sets(
        config.data_dir, config.extra_data_dir, config.pseudo_csv, config.patients_are, config.pseudo_weight
    )
    all_rows, config = fold_setup.label_classes(all_rows, config)
    # flags.txt records the options as given, not the number of cores of this machine.
    resolved = dataclasses.replace(config, threads=config.threads or cpu.count_cores())
    held_out_folds = fold_setup.parse_fold(config.fold, all_rows)
    directories = {fold: run_directory.fold_dir(config.workdir, fold) for fold in held_out_folds}
    is_chief = workers.is_chief(strategy)
    if is_chief and not config.dry_run:
        run_lock.refuse_others([path for path in directories.values() if not run_directory.is_finished(path)])
    rows, plans, skipped = fold_setup.plan_folds(all_rows, held_out_folds, resolved)
    _LOG.info(strategies.describe_strategy(strategy))
    if config.dry_run:
        return RunResult(config.workdir, _estimate(plans, rows, strategy, resolved))

    unfinished = [fold for fold, directory in directories.items() if fold_setup.needs_training(directory, config)]
    # Before anything is written: weights that leak, or do not exist, are an error.
    sources = {fold: fold_setup.choose_source(plans[fold], fold, resolved) for fold in unfinished}
    for fold, source in sources.items():
        is_replaced = _replaces_weights(directories[fold], source)
        backbones.find_sources(config.backbone, "none" if is_replaced else config.weights)
    with contextlib.ExitStack() as locks:
        if is_chief:
            own = [directories[fold] for fold in unfinished]
            claim = functools.partial(_claim_run_directory, config, rows)
            locks.enter_context(run_lock.claimed(config.workdir, own, claim))
        images = _open_cache(rows, resolved) if unfinished else None
        # Folds that start from the same weights share the features of a linear probe.
        features = feature_store.FeatureStore(int(rows["number"].max()) + 1) if config.is_probe else None
        for fold, directory in directories.items():
            if fold not in unfinished:
                _LOG.info(f"{directory} is already trained; choose another --workdir to train it again")
            else:
                with _open_output(directory, is_chief) as output:
                    train_fold(
                        Fold(
                            plans[fold],
                            resolved,
                            strategy,
                            directory,
                            output,
                            sources[fold],
                            images,
                            skipped=skipped,
                            features=features,
                        )
                    )
            if is_chief:
                with run_lock.updating(config.workdir):
                    facts = config.class_set.facts(config.target)
                    positive, _ = targets.name_groups(config.target)
                    fold_results.merge_folds(config.workdir, rows, facts, positive)
    return RunResult(config.workdir)


def _choose_strategy(config: TrainConfig) -> tf.distribute.Strategy:
    strategy = strategies.choose_strategy(
        config.strategy,
        config.tpu,
        reads={"data_dir": config.data_dir, "extra_data_dir": config.extra_data_dir, "workdir": config.workdir},
        hosted={
            "cache": config.cache != "none" and config.cache,
            # The features of a linear probe are kept in this process.
            "freeze_epochs": config.is_probe and config.freeze_epochs,
        },
    )
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    return strategy


def _estimate(
    plans: Mapping[int | None, mixture.Plan], rows: pd.DataFrame, strategy: tf.distribute.Strategy, config: TrainConfig
) -> training_estimate.TrainingEstimate:
    """Estimates the time and memory of a run by a few steps of its first fold."""
    sources = [fold_setup.choose_source(plan, fold, config) for fold, plan in plans.items()]
    # Weights of another run are not loaded: they do not change the speed.
    own = dataclasses.replace(config, weights="none") if sources[0] else config
    plan = next(iter(plans.values()))
    return dry_runs.estimate_training(plan, rows, strategy, own, folds=len(plans))


def _claim_run_directory(config: TrainConfig, rows: pd.DataFrame, is_shared: bool) -> None:
    """Records the configuration in the run directory, or checks that it is that of the run it resumes or shares."""
    preprocessing = preprocessing_config.read_preprocessing(rows["source"].iloc[0])
    if run_directory.is_begun(config.workdir):
        # What is damaged there is no other configuration.
        TrainConfig.from_run(config.workdir)
    named_files = fold_setup.read_named_files(config)
    run_directory.claim(
        config.workdir,
        config.settings(),
        _FREE_OPTIONS,
        rows,
        named_files,
        preprocessing,
        is_shared,
        defaults={field.name: field.default for field in dataclasses.fields(config)},
        can_grow=config.schedule != "cosine",
    )
    policy = fold_setup.policy_file(config)
    if policy:
        run_directory.keep_policy(config.workdir, policy)


def _open_cache(rows: pd.DataFrame, config: TrainConfig) -> record_loading.ImageReader | None:
    if config.cache == "none":
        return None
    return image_cache.open_images(rows, config.cache, config.image_size, config.threads)


def _open_output(directory: str, is_chief: bool) -> contextlib.AbstractContextManager[str]:
    """Returns the directory to write. All workers must save, since they read the variables together."""
    return contextlib.nullcontext(directory) if is_chief else temporary_files.temporary_directory("worker")


def train_fold(fold: Fold) -> pd.DataFrame:
    """Trains on one fold's training images, and keeps the weights of the epoch with the best ROC AUC, or of the last.

    Args:
        fold: See `fold_setup.Fold`.

    Returns:
        DataFrame of the held-out images, with the `prediction` of the weights that were kept, and `unlike` where the
        fold has a detector.

    Raises:
        DivergenceError: The training diverges.
        CorruptRecordError: A record cannot be read.
        IsicError: Another worker failed.
    """
    config = fold.config
    held_out = fold.plan.held_out
    if fold.is_written and fold_setup.has_grown(fold.directory, config):
        fold_results.reopen_fold(fold.directory)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(config.seed)
    _describe_data(fold)
    state, is_resumed = start_state(fold)
    shards = sorted({*fold.plan.rows["shard"], *held_out["shard"]})
    with (
        disk_space.explained_full_disk(fold.output, lambda: memory_estimate.describe_files(state)),
        read_errors.explained_read_errors(shards),
        workers.lost_worker_errors(),
    ):
        history = checkpointing.restore_history(fold, state, is_resumed)
        evaluated = train_state.make_evaluated(fold.strategy, state, config)
        checkpointing.restore_weights(fold, state, evaluated, history)
        _describe_start(fold, state, is_resumed)
        _record_training_images(fold)
        predict = patient_bag_predictor.make_predictor(evaluated, fold.strategy, held_out, config.class_set)
        if is_resumed or not run_directory.is_finished(fold.directory):
            history = epochs.run_epochs(fold, state, evaluated, predict, history)
        # Evaluated again from the file: the predictions are those of the file, however often the run was resumed.
        weights_files.load_weights(evaluated, os.path.join(fold.directory, run_directory.BEST_WEIGHTS))
        table = validation.validate(predict, held_out, config, fold.images)
        unlike = fit_fold_detector.fit_fold_detector(
            evaluated,
            os.path.join(fold.directory, run_directory.BEST_WEIGHTS) if fold.is_written else "",
            fold.plan.rows.drop_duplicates("image_name"),
            held_out,
            functools.partial(validation.make_dataset, config=config, images=fold.images),
            fold.strategy,
            config.class_set,
        )
        if unlike is not None:
            table = table.assign(**{prediction_files.UNLIKE: unlike})
        if fold.is_written:
            history_plot.draw_history(fold.directory, fold.name)
            positive, _ = targets.name_groups(config.target)
            found = table if len(table) else None
            fold_results.finish_fold(fold.directory, found, history, config.keep_weights, positive)
    return table


def start_state(fold: Fold) -> tuple[tf.train.Checkpoint, bool]:
    """Creates the state of a fold: from its last checkpoint, from the weights of another run, or new.

    Args:
        fold: See `fold_setup.Fold`.

    Returns:
        The state, see `train_state.make_state`; and whether it is that of a checkpoint.

    Raises:
        CorruptRecordError: All checkpoints are damaged.
        IsicError: The workers resume from different steps.
    """
    config = fold.config
    checkpoints = _find_checkpoints(fold.directory)
    source = None if checkpoints else fold.source
    load = functools.partial(warm_start.start_weights, source=source, config=config, rows=fold.plan.rows)
    is_replaced = _replaces_weights(fold.directory, fold.source)
    initial = dataclasses.replace(config, weights="none") if is_replaced else config
    state = train_state.make_state(fold.strategy, initial, fold.steps, load)
    checkpointing.restore(state, checkpoints)
    step = int(state.step)
    if workers.mean_over_workers(fold.strategy, step) != step:
        raise errors.IsicError(
            f"expected all workers to resume from one step, but this one is at step {step} and another is not; give "
            "all workers the same --workdir, where the first of them writes"
        )
    return state, bool(checkpoints)


def _find_checkpoints(directory: str) -> list[str]:
    return run_directory.find_checkpoints(os.path.join(directory, "checkpoints"))


def _replaces_weights(directory: str, source: str | None) -> bool:
    """Returns whether a fold starts from a checkpoint or the weights of a run: others are not even loaded."""
    return bool(source or _find_checkpoints(directory)) or run_directory.is_finished(directory)


def _describe_data(fold: Fold) -> None:
    """Logs what the fold is trained on."""
    _LOG.info(fold.plan.text)
    classes = fold.config.class_set
    if classes.names:
        _LOG.info(targets.describe(fold.plan.rows, fold.config.target, classes))
    if fold.config.loss == "auc":
        _LOG.info(losses.describe_one_class_batches(fold.plan, fold.config.global_batch_size))
        if len(classes.names) > 1:
            _LOG.warning("  note: --loss=auc trains the single score only, not the probability of each class")


def _describe_start(fold: Fold, state: tf.train.Checkpoint, is_resumed: bool) -> None:
    """Logs the size of an epoch, and the step that the training resumes from."""
    parts = [
        f"{fold.steps} steps of {fold.config.global_batch_size} per epoch",
        distributed_input.describe_shuffle(fold.plan.rows, fold.config, is_cached=fold.images is not None),
    ]
    if is_resumed:
        parts.append(f"resuming after step {int(state.step)}")
    _LOG.info(f"  {', '.join(parts)}")


def _record_training_images(fold: Fold) -> None:
    """Writes which images the weights are trained on, including those of the weights that the fold starts from."""
    weights = fold.config.weights
    origin = seen_images.find_origin(fold.source, backbones.weights_path(weights))
    if not origin and weights not in backbones.WEIGHTS:
        _LOG.info(f"  {weights} has no record of its training images: they may include held-out images")
    if not fold.is_written:
        # Nothing of patients is written to the temporary directory of a worker.
        return
    seen_images.write_seen_images(fold.output, seen_images.list_seen_images(fold.plan, origin))
