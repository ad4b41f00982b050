"""Plans the folds of a run: training rows, held-out rows, and initial weights."""

from isic_tf.artifacts import seen_images
from isic_tf.augmentation import presets
from isic_tf.data import clinical_metadata, corrupt_records, mixture, patient_bags, record_metadata, targets
from isic_tf.models import backbones
from isic_tf.optim import lr_schedules
from isic_tf.training import warm_start
from tfrecord_tools import schema
from tfrecord_tools.io import csv_tables, filesystem


def plan_folds(rows, folds, recipe):
    """Plans each fold, of the records that can be read where the recipe skips the others.

    Args:
        rows: See `mixture.read_sets`.
        folds: Numbers of the folds to hold out; None in it to hold out nothing.
        recipe: Dict of the recipe's flags.

    Returns:
        The rows, a dict from fold to `mixture.Plan`, and "" or a text that lists what was skipped.
    """
    options = {name: recipe[name] for name in ("mix", "malignant_repeats", "balance")}
    options["pairs"] = _read_pairs(recipe)

    def make_plans(rows):
        plans = {fold: mixture.plan_fold(rows, fold, **options) for fold in folds}
        if recipe["context"] == "set":
            plans = {fold: patient_bags.fit_samples_per_epoch(plan, recipe["bag_size"]) for fold, plan in plans.items()}
        for plan in plans.values():
            # What does not fit the run's length shows before any image is decoded.
            lr_schedules.make_schedule(recipe, count_steps(plan, recipe))
        return plans

    # Before the records are read through: a flag that does not fit shows at once.
    plans, skipped = make_plans(rows), ""
    if recipe["on_corrupt"] == "skip":
        rows, problems = corrupt_records.skip_corrupt(rows, recipe["threads"])
        skipped = corrupt_records.describe(problems)
    columns = clinical_metadata.columns(recipe["metadata"]) + (["diagnosis"] if recipe["target"] == "diagnosis" else [])
    rows = record_metadata.add_columns(rows, columns, recipe["threads"])
    plans = make_plans(rows) if columns or skipped else plans
    for plan in plans.values():
        # Labels and diagnoses that contradict each other show before any image is decoded.
        targets.label(plan.rows, recipe["target"])
    return rows, plans, skipped


def _parse_fold(fold, index):
    if fold == "all":
        numbers = sorted(set(index.loc[~index["extra"], "fold"]) - {schema.UNKNOWN})
        if not numbers:
            raise ValueError("expected records in folds for --fold=all, found none; see tfrecord_tools.folds")
        return numbers
    if fold == "full":
        return [None]
    if not fold.isdecimal():
        raise ValueError(f"expected a fold's number, 'all' or 'full' for --fold, got {fold!r}")
    return [int(fold)]


def _read_pairs(recipe):
    return csv_tables.read_pairs(recipe["duplicates"]) if recipe["duplicates"] else None


def policy_file(recipe):
    return None if recipe["augment_policy"] in presets.PRESETS else recipe["augment_policy"]


def read_named_files(recipe):
    """Reads the files that a recipe names: with other contents it is another."""
    weights = recipe["weights"] not in backbones.WEIGHTS and recipe["weights"]
    paths = (recipe["duplicates"], recipe["pseudo_csv"], policy_file(recipe), weights)
    return [filesystem.read(path) for path in paths if path]


def choose_source(plan, fold, recipe):
    """Finds the folder of another run's weights that a fold starts from; None where it is to start from --weights."""
    source = warm_start.find_source(recipe["init_from"], fold) if recipe["init_from"] else None
    origin = seen_images.find_origin(source, backbones.weights_path(recipe["weights"]))
    if origin:
        warm_start.refuse_leaks(plan, origin, _read_pairs(recipe))
    return source


def count_steps(plan, recipe):
    """Counts the steps of an epoch."""
    return max(1, plan.size // recipe["global_batch_size"])
