"""Reads and joins out-of-fold prediction files."""

import typing

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files
from isic_tf.data import label_tables
from isic_tf.postprocessing import cross_validation
from tfrecord_tools import errors, schema


class OutOfFold(typing.NamedTuple):
    """Out-of-fold predictions joined by name."""

    names: list
    scores: np.ndarray  # float64 [n, files]
    targets: np.ndarray  # 0 or 1, [n]
    patients: np.ndarray | None  # text [n], of an unknown patient the image's own; None without labels
    folds: np.ndarray  # int64 [n]: what is fitted on the others is judged on each
    notes: list  # what to tell the user


def read(paths, labels=None, join="equal"):
    """Reads out-of-fold files of runs.

    Args:
        paths: CSV files with `image_name`, `prediction` and `fold`, and `target` where there are no labels.
        labels: CSV file with `image_name`, `patient_id` and `target`, or None.
        join: See `join_by_name`.

    Returns:
        `OutOfFold` in the order of the first file.

    Raises:
        IsicError: A file is not out of fold; names, targets or labels do not fit; or the folds cannot judge a fit:
            there are fewer than two, or outside of one there is one class only.
    """
    found, blanks = zip(*(_read_file(path) for path in paths), strict=True)
    tables, notes = prediction_files.join_by_name(paths, found, join)
    notes = [*filter(None, blanks), *notes]
    names = tables[0]["image_name"]
    known = _read_labels(labels, names) if labels else None
    targets = _find_targets(paths, tables, known, labels)
    patients = None if known is None else known["patient_id"].where(known["patient_id"] != "", "image " + names)
    folds = np.stack([table["fold"] for table in tables], axis=1)
    chosen, more = cross_validation.choose_folds(paths, folds, targets, patients)
    scores = np.stack([table["prediction"] for table in tables], axis=1)
    patients = None if patients is None else patients.to_numpy()
    return OutOfFold(names.tolist(), scores, targets, patients, chosen, notes + more)


def _read_file(path):
    """Reads a file's rows that have a fold; and a text that says how many have none, or ""."""
    table = prediction_files.read_prediction_file(path, keep=("fold", "target"))
    remedy = "give the oof.csv of a run, whose column fold says that no image was trained on"
    if "fold" not in table:
        raise errors.IsicError(f"{path} has no column fold, so is not out of fold; {remedy}")
    blank, note = table["fold"] == "", ""
    if blank.all():
        raise errors.IsicError(f"{path}: the column fold is blank, so nothing is out of fold; {remedy}")
    if blank.any():
        note = f"{path}: {blank.sum()} images are in no fold, {table.loc[blank, 'image_name'].iloc[0]} first; left out"
        table = table[~blank].reset_index(drop=True)
    folds = pd.to_numeric(table["fold"], errors="coerce")
    bad = table.loc[~((folds >= 0) & (folds % 1 == 0)), "image_name"]
    if len(bad):
        raise errors.IsicError(f"{path}: {len(bad)} folds are no whole number from 0 on, that of {bad.iloc[0]} first")
    return table.assign(fold=folds.astype("int64")), note


def _read_labels(path, names):
    table = label_tables.read_labels(path)
    rows = pd.Index(table["image_name"], dtype=object).get_indexer(names.astype(object))
    if (rows < 0).any():
        unknown = names[rows < 0]
        raise errors.IsicError(f"{len(unknown)} out-of-fold images have no label in {path}, {unknown.iloc[0]} first")
    return table.iloc[rows].reset_index(drop=True)


def _find_targets(paths, tables, known, labels):
    """Gives the targets, 0 or 1, on which all the files that have some agree."""
    sources = {} if known is None else {labels: known["target"]}
    for path, table in zip(paths, tables, strict=True):
        if "target" in table:
            sources[path] = label_tables.encode_columns(path, "target", table["target"])
    if not sources:
        raise errors.IsicError(f"{', '.join(paths)}: no column target to fit to; give --labels")
    (origin, targets), *others = sources.items()
    if (targets == schema.UNKNOWN).any():
        raise errors.IsicError(f"{origin}: {(targets == schema.UNKNOWN).sum()} targets are blank; give --labels")
    for path, other in others:
        differing = tables[0].loc[(other != targets) & (other != schema.UNKNOWN), "image_name"]
        if len(differing):
            raise errors.IsicError(f"{path} and {origin} differ in {len(differing)} targets, {differing.iloc[0]} first")
    return targets.to_numpy()
