"""Reads and joins out-of-fold prediction files."""

import typing
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files
from isic_tf.data import label_tables
from isic_tf.metrics import summaries
from isic_tf.postprocessing import cross_validation
from tfrecord_tools import errors, schema
from tfrecord_tools.io import name_join

_REMEDY = "give the oof.csv of a run, whose column fold says which network did not train on an image"


class OutOfFold(typing.NamedTuple):
    """Out-of-fold predictions of one or more files, joined by name."""

    names: list[str]
    scores: np.ndarray  # float64 [n, files]
    targets: np.ndarray  # 0 or 1, [n]
    patients: np.ndarray | None  # text [n], see `summaries.group_by_patient`; None without labels
    folds: np.ndarray  # int64 [n], of the cross-validation
    notes: list[str]  # on images left out and on shared patients


def read(paths: Sequence[str], labels: str | None = None, join: str = "equal") -> OutOfFold:
    """Reads out-of-fold files of runs.

    Args:
        paths: CSV files with `image_name`, `prediction` and `fold`, and `target` where there are no labels.
        labels: CSV file with `image_name`, `patient_id` and `target`; None to trust the folds of the files.
        join: See `prediction_files.join_by_name`.

    Returns:
        The predictions in the order of the first file.

    Raises:
        IsicError: A file is not out of fold; names, targets or labels do not fit; or a fit cannot be evaluated: there
            are fewer than two folds, or one class only outside of a fold.
    """
    tables = []
    blank_notes = []
    for path in paths:
        table, note = _read_file(path)
        tables.append(table)
        blank_notes += [note] if note else []
    tables, join_notes = prediction_files.join_by_name(paths, tables, join)
    names = tables[0]["image_name"]
    known = _read_labels(labels, names) if labels else None
    targets = _find_targets(paths, tables, known, labels)
    patients = None
    if known is not None:
        patients = summaries.group_by_patient(known.assign(image_name=names))
    folds = np.stack([table["fold"] for table in tables], axis=1)
    chosen, fold_notes = cross_validation.choose_folds(paths, folds, targets, patients)
    return OutOfFold(
        names=names.tolist(),
        scores=np.stack([table["prediction"] for table in tables], axis=1),
        targets=targets,
        patients=None if patients is None else patients.to_numpy(),
        folds=chosen,
        notes=[*blank_notes, *join_notes, *fold_notes],
    )


def _read_file(path: str) -> tuple[pd.DataFrame, str]:
    """Returns the rows of a file that have a fold; and a note on how many have none, or ""."""
    table = prediction_files.read_prediction_file(path, keep=("fold", "target"))
    if "fold" not in table:
        raise errors.IsicError(f"{path} has no column fold, so it is not out of fold; {_REMEDY}")
    blank = table["fold"] == ""
    if blank.all():
        raise errors.IsicError(f"{path}: the column fold is blank, so nothing is out of fold; {_REMEDY}")
    note = ""
    if blank.any():
        first = table.loc[blank, "image_name"].iloc[0]
        note = f"{path}: left out {blank.sum()} images that are in no fold (first: {first})"
        table = table[~blank].reset_index(drop=True)
    folds = pd.to_numeric(table["fold"], errors="coerce")
    invalid = table.loc[~((folds >= 0) & (folds % 1 == 0)), "image_name"]
    if len(invalid):
        raise errors.IsicError(
            f"{path}: expected integers from 0 in the column fold, {len(invalid)} are not (first: {invalid.iloc[0]}); "
            f"{_REMEDY}"
        )
    return table.assign(fold=folds.astype("int64")), note


def _read_labels(path: str, names: pd.Series) -> pd.DataFrame:
    """Returns the labels of the images, in their order."""
    table = label_tables.read_labels(path)
    rows = name_join.find_rows(names, table["image_name"], path)
    unlabeled = names[rows < 0]
    if len(unlabeled):
        raise errors.IsicError(
            f"{len(unlabeled)} out-of-fold images have no label in {path} (first: {unlabeled.iloc[0]}); add their "
            "labels"
        )
    return table.iloc[rows].reset_index(drop=True)


def _find_targets(
    paths: Sequence[str], tables: Sequence[pd.DataFrame], known: pd.DataFrame | None, labels: str | None
) -> np.ndarray:
    """Returns the targets, 0 or 1, on which all sources that have some agree."""
    sources: list[tuple[str, pd.Series]] = []
    if known is not None and labels:
        sources.append((labels, known["target"]))
    for path, table in zip(paths, tables, strict=True):
        if "target" in table:
            sources.append((path, label_tables.encode_columns(path, "target", table["target"])))
    if not sources:
        raise errors.IsicError(f"{', '.join(paths)}: no column target to fit to; give --labels")
    origin, targets = sources[0]
    blank = targets == schema.UNKNOWN
    if blank.any():
        raise errors.IsicError(f"{origin}: {blank.sum()} targets are blank; give --labels")
    for path, other in sources[1:]:
        differing = tables[0].loc[(other != targets) & (other != schema.UNKNOWN), "image_name"]
        if len(differing):
            raise errors.IsicError(
                f"{path} and {origin} have different targets for {len(differing)} images (first: {differing.iloc[0]}); "
                "check that both are of the same data"
            )
    return targets.to_numpy()
