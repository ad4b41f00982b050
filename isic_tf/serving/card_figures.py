"""Figures of a model card: of folds and groups, and counts of the training data."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from isic_tf.artifacts import run_directory, run_flags
from isic_tf.evaluation import number_format
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, record_index

_LOG = logging.getLogger(__name__)

# What `isic_tf.evaluate --output` wrote for the out-of-fold predictions of a run, where the user put it there.
EVALUATION_FILE = "evaluation.json"
# Groups whose names cannot be those of patients or images; a column of the user's own may hold anything.
_KINDS = ("fold", "source", "sex", "age", "site", "image size", "images of the patient")

_NUMBERS = number_format.NumberFormat(
    digits=4,
    missing="?",
    minus="-",
    space=" ",
    interval_pattern="{low} to {high}",
    missing_interval="no interval: too few patients",
)


def read_metrics(workdir: str, directories: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Reads the metrics of folds and, of several, those of all together.

    Args:
        workdir: Run directory.
        directories: Directories of the folds that were exported.

    Returns:
        Dict from a name, such as `fold0` or `all together`, to metrics, see `run_directory.read_metrics`; without
        those that have no ROC AUC.

    Raises:
        CorruptRecordError: A file of metrics is damaged.
    """
    found = {os.path.basename(directory): run_directory.read_metrics(directory) for directory in directories}
    if len(directories) > 1:
        found["all together"] = run_directory.read_metrics(workdir)
    return {name: metrics for name, metrics in found.items() if "auc" in metrics}


def format_row(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the cells of a row of a table of metrics: of a fold, or of a group of images."""
    note = metrics.get("interval_note") or metrics.get("note")
    return {
        "name": name,
        "images": metrics.get("images", "?"),
        "malignant": metrics.get("malignant", "?"),
        "patients": metrics.get("patients", "?"),
        "auc": _NUMBERS.number(metrics.get("auc")),
        "partial_auc": _NUMBERS.number(metrics.get("partial_auc")),
        "interval": note or _NUMBERS.interval(metrics.get("auc_low"), metrics.get("auc_high")),
    }


def read_evaluation(workdir: str, metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Reads groups and shortcuts of the run's out-of-fold predictions from `evaluation.json`.

    Args:
        workdir: Run directory.
        metrics: Metrics of the same predictions: of all folds together, or of the only one.

    Returns:
        Dict of `groups` and `shortcuts`, rows as `format_row` returns them; groups also have `by`. Empty lists where
        there is no such file, or it is of other predictions.

    Raises:
        CorruptRecordError: The file is damaged.
    """
    path = os.path.join(workdir, EVALUATION_FILE)
    nothing: dict[str, list[dict[str, Any]]] = {"groups": [], "shortcuts": []}
    if not filesystem.exists(path):
        return nothing
    try:
        evaluation = json.loads(filesystem.read(path))["files"][0]
        summary = evaluation["summary"]
        # The order of sums may differ in the last digits.
        is_same = summary["images"] == metrics.get("images") and np.isclose(summary["auc"], metrics["auc"], atol=1e-6)
        if not is_same:
            _LOG.warning(f"note: {path} is not of this run's out-of-fold predictions; the card leaves it out")
            return nothing
        groups = [
            {"by": kind["by"], **format_row(_hide(row["group"]), row)}
            for kind in evaluation["groups"]
            if kind["by"] in _KINDS
            for row in kind["rows"]
        ]
        shortcuts = [format_row(row["shortcut"], row) for row in evaluation["shortcuts"]["rows"]]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise errors.CorruptRecordError(
            f"{path} does not hold what isic_tf.evaluate --output writes ({type(error).__name__}: {error}); write it "
            "again, or remove it"
        ) from error
    return {"groups": groups, "shortcuts": shortcuts}


def _hide(name: str) -> str:
    return str(run_flags.hide_directories({"group": name})["group"])


def count_records(directories: str) -> str:
    """Counts the training records of record sets.

    Args:
        directories: Directories, separated by commas.

    Returns:
        Text, such as `120 images, 9 malignant, 40 patients`; "" where the indexes cannot be read: the records may be on
        another machine by now.
    """
    try:
        tables = [record_index.read_index(path, "train") for path in filesystem.split_list(directories)]
    except errors.IsicError:
        return ""
    images, malignant = sum(map(len, tables)), sum(int((table["target"] == 1).sum()) for table in tables)
    patients = sum(table.loc[table["patient_id"] != "", "patient_id"].nunique() for table in tables)
    return f"{images:,} images, {malignant:,} malignant, {patients:,} patients" if tables else ""
