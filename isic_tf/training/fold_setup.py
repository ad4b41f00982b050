"""Plans the folds of a run: training rows, held-out rows, and initial weights."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import fold_progress, run_directory, seen_images
from isic_tf.augmentation import presets
from isic_tf.data import (
    clinical_metadata,
    corrupt_records,
    mixture,
    patient_bags,
    record_loading,
    record_metadata,
    targets,
)
from isic_tf.models import backbones
from isic_tf.novelty import detector, detector_file
from isic_tf.optim import lr_schedules
from isic_tf.optim.config import OptimizerConfig, default_warmup
from isic_tf.training import validation, warm_start
from isic_tf.training.config import TrainConfig
from isic_tf.training.linear_probe import feature_store
from tfrecord_tools import errors, schema
from tfrecord_tools.io import duplicate_pairs, filesystem

_LOG = logging.getLogger(__name__)


class Fold(NamedTuple):
    """All that the training of one fold needs.

    Attributes:
        plan: What is trained on, and what is held out.
        config: The configuration of the run.
        strategy: See `strategies.choose_strategy`.
        directory: Directory of the fold, whose last checkpoint the training resumes from.
        output: Directory to write: the same, or a temporary one for a worker that is not the chief.
        source: Directory of another run's fold whose weights to start from, see `warm_start.find_source`; or None.
        images: Reader of decoded images, see `image_cache.open_images`; None to decode the records.
        skipped: Lists the corrupt records that were left out, to be added to the log line of every epoch; or "".
        features: Features of images that were computed, for a linear probe; None for another training.
    """

    plan: mixture.Plan
    config: TrainConfig
    strategy: tf.distribute.Strategy
    directory: str
    output: str
    source: str | None = None
    images: record_loading.ImageReader | None = None
    skipped: str = ""
    features: feature_store.FeatureStore | None = None

    @property
    def name(self) -> str:
        """Name of the fold, such as `fold0`, for log lines."""
        return os.path.basename(self.directory)

    @property
    def steps(self) -> int:
        """Steps per epoch."""
        return count_steps(self.plan, self.config)

    @property
    def is_written(self) -> bool:
        """Whether this process writes the files of the fold: false for a worker that is not the chief."""
        return self.output == self.directory


def parse_fold(text: str, rows: pd.DataFrame) -> list[int | None]:
    """Parses the option `--fold`.

    Args:
        text: The number of a fold, `all` or `full`.
        rows: See `mixture.read_sets`.

    Returns:
        The folds to hold out, one after another; `[None]` to hold out nothing.

    Raises:
        ConfigError: The text is something else, or no record is in a fold.
    """
    if text == "all":
        folds = sorted(set(rows.loc[~rows["extra"], "fold"]) - {schema.UNKNOWN})
        if not folds:
            raise errors.ConfigError(
                "expected records in folds for --fold=all, but no record of --data_dir has a fold; make folds with "
                "tfrecord_tools.folds, or use --fold=full"
            )
        return folds
    if text == "full":
        return [None]
    if not text.isdecimal():
        raise errors.ConfigError(f"expected a fold's number, 'all' or 'full' for --fold, got {text!r}")
    return [int(text)]


def plan_folds(
    rows: pd.DataFrame, folds: Sequence[int | None], config: TrainConfig
) -> tuple[pd.DataFrame, dict[int | None, mixture.Plan], str]:
    """Plans each fold. With `--on_corrupt=skip` reads all records, and leaves out those that cannot be read.

    Args:
        rows: See `mixture.read_sets`.
        folds: See `parse_fold`.
        config: The configuration of the run.

    Returns:
        The rows that can be read, with the columns that the model needs; a dict from fold to `mixture.Plan`; and a text
        that lists what was left out, see `corrupt_records.describe`, or "".

    Raises:
        IsicError: Options do not fit the records, or labels contradict diagnoses.
    """
    pairs = _read_pairs(config)
    if pairs is not None:
        duplicate_pairs.log_foreign_pairs(str(config.duplicates), pairs, rows["image_name"])
    # Before the records are read, so that options that do not fit are found at once.
    plans = _make_plans(rows, folds, pairs, config)
    skipped = ""
    if config.on_corrupt == "skip":
        rows, problems = corrupt_records.skip_corrupt(rows, config.threads, config.workdir)
        skipped = corrupt_records.describe(problems)
    columns = clinical_metadata.columns(config.metadata) + (["diagnosis"] if config.target == "diagnosis" else [])
    rows = record_metadata.add_columns(rows, columns, config.threads)
    numeric = clinical_metadata.parse_numeric(config.metadata)
    rows = clinical_metadata.add_values(rows, config.table, numeric)
    clinical_metadata.check_known(rows, config.metadata)
    if columns or skipped or numeric:
        plans = _make_plans(rows, folds, pairs, config)
    for plan in plans.values():
        # Columns from which nothing can be learned are found at once, too.
        clinical_metadata.compute_standards(clinical_metadata.select_values(plan.rows, numeric), numeric)
        # Labels that contradict diagnoses are found before any image is decoded.
        targets.label(pd.concat([plan.rows, plan.held_out]), config.target, config.class_set)
    return rows, plans, skipped


def label_classes(rows: pd.DataFrame, config: TrainConfig) -> tuple[pd.DataFrame, TrainConfig]:
    """Labels records by the columns of the user's table that `--target` names; does nothing for other targets.

    Args:
        rows: See `mixture.read_sets`.
        config: The configuration of the run.

    Returns:
        The rows, see `targets.add_labels`; and the configuration with the names of all classes and the positive ones.

    Raises:
        ConfigError: It is open which classes are positive.
        IsicError: The table lacks a column, or an image of the sets has no value or another one.
    """
    if targets.parse_target(config.target)[0] in ("binary", "diagnosis"):
        return rows, config
    rows, classes = targets.add_labels(rows, config.table or "", config.target, config.classes, config.positive_classes)
    _LOG.info(
        f"{len(classes.names)} {'labels' if classes.multi_label else 'classes'} of {config.table}: "
        f"{', '.join(classes.names)}; positive, and so the single score: {', '.join(classes.positive)}"
    )
    return rows, dataclasses.replace(
        config, classes=",".join(classes.names), positive_classes=",".join(classes.positive)
    )


def _make_plans(
    rows: pd.DataFrame, folds: Sequence[int | None], pairs: pd.DataFrame | None, config: TrainConfig
) -> dict[int | None, mixture.Plan]:
    plans = {}
    for fold in folds:
        plan = mixture.plan_fold(
            rows,
            fold,
            mix=config.mix,
            pairs=pairs,
            malignant_oversampling=config.malignant_oversampling,
            balance=config.balance,
            groups=targets.name_groups(config.target),
        )
        if config.context == "set":
            plan = patient_bags.fit_samples_per_epoch(plan, config.bag_size)
        plans[fold] = plan
    for plan in plans.values():
        # A warm-up that is longer than the run is found before any image is decoded.
        lr_schedules.make_schedule(config, count_steps(plan, config))
    return plans


def _read_pairs(config: TrainConfig) -> pd.DataFrame | None:
    return duplicate_pairs.read_pairs(config.duplicates) if config.duplicates else None


def policy_file(config: TrainConfig) -> str | None:
    """Returns the path of the augmentation policy; None for a preset."""
    return None if config.augment_policy in presets.PRESETS else config.augment_policy


def read_named_files(config: TrainConfig) -> list[bytes]:
    """Reads the files that a configuration names, since it is another configuration if their content changes.

    Args:
        config: The configuration of the run.

    Returns:
        Contents of the files: duplicate pairs, pseudo-labels, the table, augmentation policy and initial weights.
    """
    weights = None if config.weights in backbones.WEIGHTS else config.weights
    duplicates = filesystem.split_list(config.duplicates or "")
    paths = (*duplicates, config.pseudo_csv, config.table, policy_file(config), weights)
    return [filesystem.read(path) for path in paths if path]


def choose_source(plan: mixture.Plan, fold: int | None, config: TrainConfig) -> str | None:
    """Finds the directory of the weights that a fold starts from, and checks them for leakage.

    Args:
        plan: Plan of the fold.
        fold: Number of the fold; None where nothing is held out.
        config: The configuration of the run.

    Returns:
        Directory of a fold of another run; None to start from `--weights`.

    Raises:
        IsicError: There are no such weights.
        LeakageError: The weights, also those of a file in `--weights`, were trained on held-out images.
    """
    source = warm_start.find_source(config.init_from, fold) if config.init_from else None
    origin = seen_images.find_origin(source, backbones.weights_path(config.weights))
    if origin:
        warm_start.check_leakage(plan, origin, _read_pairs(config), config.patients_are)
    return source


def needs_training(directory: str, config: TrainConfig) -> bool:
    """Returns whether a fold is not trained to the end, or lacks something that training it on restores.

    Args:
        directory: Directory of the fold.
        config: The configuration of the run.

    Raises:
        CorruptRecordError: The metrics of the fold are damaged.
    """
    if not run_directory.is_finished(directory):
        return True
    problem = fold_progress.find_result_problem(directory, config.keep_weights)
    if problem or _lacks_detector(directory):
        problem = problem or f"{directory} has no {detector_file.DETECTOR_FILE}"
        _LOG.warning(f"note: {problem}; the fold is finished once more")
        return True
    return has_grown(directory, config)


def _lacks_detector(directory: str) -> bool:
    """Returns whether a trained fold has no detector of unlike images although it has images enough, as of 0.1."""
    if filesystem.exists(detector_file.locate_detector(os.path.join(directory, run_directory.BEST_WEIGHTS))):
        return False
    if run_directory.read_metrics(directory).get("images", 0) < detector.FEWEST_IMAGES:
        return False
    has_list = filesystem.exists(os.path.join(directory, seen_images.SEEN_FILE))
    return has_list and len(seen_images.read_seen_images(directory)) >= detector.FEWEST_IMAGES


def has_grown(directory: str, config: TrainConfig) -> bool:
    """Returns whether a fold was trained to the end of a run that has more epochs now.

    Args:
        directory: Directory of the fold.
        config: The configuration of the run.

    Raises:
        CorruptRecordError: The metrics of the fold are damaged.
    """
    epochs = run_directory.read_metrics(directory).get("epochs", config.epochs)
    if epochs >= config.epochs:
        return False
    return not validation.is_past_best(run_directory.read_history(directory), config.early_stop_patience)


def keep_warmup(config: TrainConfig) -> TrainConfig:
    """Takes over the warm-up that a run began with, where the default is asked for: that depends on the epochs.

    Args:
        config: The configuration of the run.

    Returns:
        The configuration, with the warm-up of the run directory if it holds a run.

    Raises:
        CorruptRecordError: The flags of the run are damaged.
    """
    is_default = config.warmup_epochs == default_warmup(config.epochs, config.schedule)
    if not is_default or not run_directory.is_begun(config.workdir):
        return config
    flags = run_directory.read_flags(config.workdir)
    recorded = {name: flags[name] for name in ("warmup_epochs",) if name in flags}
    own = run_directory.parse_config(OptimizerConfig, config.workdir, recorded)
    if not recorded or own.warmup_epochs == config.warmup_epochs:
        return config
    _LOG.info(f"warming up for {own.warmup_epochs} epochs, as the run in {config.workdir} began")
    return dataclasses.replace(config, warmup_epochs=own.warmup_epochs)


def count_steps(plan: mixture.Plan, config: TrainConfig) -> int:
    """Counts the steps per epoch: complete batches, at least one.

    Args:
        plan: Plan of the fold.
        config: The configuration of the run.

    Returns:
        1 or more.
    """
    return max(1, plan.size // config.global_batch_size)
