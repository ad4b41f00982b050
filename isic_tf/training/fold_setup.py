"""Plans the folds of a run: training rows, held-out rows, and initial weights."""

from isic_tf.artifacts import seen_images
from isic_tf.augmentation import presets
from isic_tf.data import clinical_metadata, corrupt_records, mixture, patient_bags, record_metadata, targets
from isic_tf.models import backbones
from isic_tf.optim import lr_schedules
from isic_tf.training import warm_start
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, filesystem


def plan_folds(rows, folds, config):
    """Plans each fold, of the records that can be read where the config skips the others.

    Args:
        rows: See `mixture.read_sets`.
        folds: Numbers of the folds to hold out; None in it to hold out nothing.
        config: The configuration.

    Returns:
        The rows, a dict from fold to `mixture.Plan`, and "" or a text that lists what was skipped.
    """
    options = {name: getattr(config, name) for name in ("mix", "malignant_oversampling", "balance")}
    options["pairs"] = _read_pairs(config)

    def make_plans(rows):
        plans = {fold: mixture.plan_fold(rows, fold, **options) for fold in folds}
        if config.context == "set":
            plans = {fold: patient_bags.fit_samples_per_epoch(plan, config.bag_size) for fold, plan in plans.items()}
        for plan in plans.values():
            # What does not fit the run's length shows before any image is decoded.
            lr_schedules.make_schedule(config, count_steps(plan, config))
        return plans

    # Before the records are read through: a flag that does not fit shows at once.
    plans, skipped = make_plans(rows), ""
    if config.on_corrupt == "skip":
        rows, problems = corrupt_records.skip_corrupt(rows, config.threads)
        skipped = corrupt_records.describe(problems)
    columns = clinical_metadata.columns(config.metadata) + (["diagnosis"] if config.target == "diagnosis" else [])
    rows = record_metadata.add_columns(rows, columns, config.threads)
    plans = make_plans(rows) if columns or skipped else plans
    for plan in plans.values():
        # Labels and diagnoses that contradict each other show before any image is decoded.
        targets.label(plan.rows, config.target)
    return rows, plans, skipped


def parse_fold(fold, index):
    """Returns the numbers of the folds to hold out, None in it to hold out nothing; `fold` is the flag's text."""
    if fold == "all":
        numbers = sorted(set(index.loc[~index["extra"], "fold"]) - {schema.UNKNOWN})
        if not numbers:
            raise errors.IsicError("expected records in folds for --fold=all, found none; see tfrecord_tools.folds")
        return numbers
    if fold == "full":
        return [None]
    if not fold.isdecimal():
        raise errors.IsicError(f"expected a fold's number, 'all' or 'full' for --fold, got {fold!r}")
    return [int(fold)]


def _read_pairs(config):
    return csv_tables.read_pairs(config.duplicates) if config.duplicates else None


def policy_file(config):
    return None if config.augment_policy in presets.PRESETS else config.augment_policy


def read_named_files(config):
    """Reads the files that a config names: with other contents it is another."""
    weights = config.weights not in backbones.WEIGHTS and config.weights
    paths = (config.duplicates, config.pseudo_csv, policy_file(config), weights)
    return [filesystem.read(path) for path in paths if path]


def choose_source(plan, fold, config):
    """Finds the folder of another run's weights that a fold starts from; None where it is to start from --weights."""
    source = warm_start.find_source(config.init_from, fold) if config.init_from else None
    origin = seen_images.find_origin(source, backbones.weights_path(config.weights))
    if origin:
        warm_start.refuse_leaks(plan, origin, _read_pairs(config))
    return source


def count_steps(plan, config):
    """Counts the steps of an epoch."""
    return max(1, plan.size // config.global_batch_size)
