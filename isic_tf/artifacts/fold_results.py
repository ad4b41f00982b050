"""Writes the results of trained folds: weights, out-of-fold predictions and metrics."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from isic_tf.artifacts import (
    class_columns,
    fold_progress,
    kept_weights,
    prediction_files,
    prediction_sidecar,
    run_directory,
)
from isic_tf.metrics import summaries
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, filesystem, temporary_files

if TYPE_CHECKING:
    import tensorflow as tf

_LOG = logging.getLogger(__name__)


def keep_weights(directory: str, classifier: "tf.keras.Model", wanted: bool, epoch: int = 0) -> None:
    """Keeps the weights of an epoch where they are wanted.

    They are saved in any case: all workers read the variables together, and may disagree in the last bit on which
    epoch is the best.

    Args:
        directory: Directory of the fold.
        classifier: Keras model.
        wanted: Whether to keep them.
        epoch: Epoch whose weights they are, from 1; 0 if unknown.
    """
    with temporary_files.temporary_directory("weights") as local:
        # Keras writes HDF5 to local files only.
        weights = os.path.join(local, run_directory.BEST_WEIGHTS)
        classifier.save_weights(weights)
        if wanted:
            kept_weights.replace_weights(os.path.join(directory, run_directory.BEST_WEIGHTS), weights, epoch)


def finish_fold(
    directory: str,
    table: pd.DataFrame | None,
    history: Sequence[Mapping[str, Any]],
    keep: str = "best",
    positive: str = "malignant",
) -> dict[str, Any]:
    """Writes `oof.csv` and, last, `metrics.json` of a fold that is trained to the end.

    Args:
        directory: Directory of the fold.
        table: Rows of the held-out images in the index, with the `prediction` of the weights that were kept, and the
            columns of `class_columns` where there are classes, and `unlike` where there is a detector of unlike images;
            None where nothing was held out.
        history: See `run_directory.read_history`.
        keep: Which weights were kept: those of the `best` epoch or of the `last`.
        positive: What images of target 1 are called in the log.

    Returns:
        The content of `metrics.json`.
    """
    name = os.path.basename(directory)
    if table is None:
        metrics = {"epochs": len(history), "loss": history[-1]["loss"]}
        _write_metrics(directory, metrics)
        _LOG.info(f"{name}: trained for {len(history)} epochs; not evaluated, because nothing was held out")
        return metrics
    probabilities = class_columns.list_columns(class_columns.list_classes(table))
    unlike = [prediction_files.UNLIKE] if prediction_files.UNLIKE in table else []
    oof = table[["image_name", "prediction", *probabilities, *unlike, "fold", "target"]]
    atomic_write.write_text(os.path.join(directory, run_directory.OOF_FILE), csv_output.format_table(oof))
    summary = summaries.summarize(table)
    metrics = {**summary, "kept_epoch": fold_progress.kept_epoch(history, keep), "epochs": len(history)}
    _write_metrics(directory, metrics)
    _LOG.info(f"{name}: {summaries.describe(summary, positive)}, epoch {metrics['kept_epoch']} of {len(history)}")
    return metrics


def reopen_fold(directory: str) -> None:
    """Removes the metrics and predictions of a fold that is trained on: its weights will change.

    Args:
        directory: Directory of the fold.
    """
    for name in (run_directory.METRICS_FILE, run_directory.OOF_FILE):
        filesystem.remove(os.path.join(directory, name), missing_ok=True)


def merge_folds(
    workdir: str,
    index: pd.DataFrame,
    class_facts: Mapping[str, Any] | None = None,
    positive: str = "malignant",
) -> dict[str, Any] | None:
    """Joins the out-of-fold predictions of the folds trained so far; evaluates those of several folds together.

    Args:
        workdir: Run directory. Its `oof.csv` and, with several folds, `metrics.json` are written.
        index: DataFrame with `image_name`, `patient_id` and perhaps `lesion_id` of the images that were held out.
        class_facts: What the sidecars say of the classes, see `targets.ClassSet.facts`; None where there are none.
        positive: What images of target 1 are called in the log.

    Returns:
        The content of `metrics.json`; None with fewer than two folds.
    """
    paths = run_directory.fold_files(workdir, run_directory.OOF_FILE)
    if not paths:
        return None
    joined = os.path.join(workdir, run_directory.OOF_FILE)
    has_context = run_directory.read_flags(workdir).get("context") == "set"
    tables = [csv_tables.read_table(path, ("image_name", "prediction")) for path in paths]
    table = _join_folds(tables)
    for path, own in zip((*paths, joined), (*tables, table), strict=True):
        facts = class_facts if class_facts and class_columns.list_classes(own) else {}
        prediction_sidecar.write_sidecar(path, patient_context=has_context, made_by="isic_tf.train", **facts)
    atomic_write.write_text(joined, csv_output.format_table(table))
    _note_missing_predictions(workdir)
    if len(paths) < 2:
        joined_metrics = os.path.join(workdir, run_directory.METRICS_FILE)
        if filesystem.exists(joined_metrics):
            _LOG.warning(f"note: {joined_metrics} was of several folds, of which one is left; removed")
            filesystem.remove(joined_metrics)
        return None
    images = index.drop_duplicates("image_name").set_index("image_name")
    people = {name: table["image_name"].map(images[name]) for name in ("patient_id", "lesion_id") if name in images}
    table = table.astype({"prediction": "float64", "target": "int64"})
    summary = summaries.summarize(table.assign(**people))
    metrics = {"folds": len(paths), **summary}
    _write_metrics(workdir, metrics)
    _LOG.info(f"{len(paths)} folds together: {summaries.describe(summary, positive)}")
    return metrics


def _join_folds(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Joins the predictions of folds; without the probabilities of classes if not all folds have them."""
    table = pd.concat(tables)
    incomplete = [
        name for name in class_columns.list_columns(class_columns.list_classes(table)) if table[name].isna().any()
    ]
    if incomplete:
        _LOG.warning(
            f"note: the predictions of some folds, trained by an earlier release, have no {incomplete[0]}; the "
            "probabilities of classes are left out of the predictions of all folds"
        )
    if prediction_files.UNLIKE in table:
        # A fold may have too few images for a detector.
        table[prediction_files.UNLIKE] = table[prediction_files.UNLIKE].fillna("")
    return table.drop(columns=incomplete)


def _note_missing_predictions(workdir: str) -> None:
    """Warns of folds that are trained to the end but have lost their predictions."""
    for path in run_directory.fold_files(workdir, run_directory.METRICS_FILE):
        directory = os.path.dirname(path)
        predictions = os.path.join(directory, run_directory.OOF_FILE)
        if "auc" in run_directory.read_metrics(directory) and not filesystem.exists(predictions):
            _LOG.warning(
                f"note: {predictions} is missing, so that this fold is not among the predictions of all folds; run "
                f"isic_tf.train --fold={os.path.basename(directory).removeprefix('fold')} to write it again"
            )


def _write_metrics(directory: str, metrics: Mapping[str, Any]) -> None:
    content = json.dumps(metrics, indent=1, allow_nan=False)
    atomic_write.write_text(os.path.join(directory, run_directory.METRICS_FILE), content + "\n")
