"""Finds the true classes of images in the tables of labels."""

import dataclasses
import logging
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns
from isic_tf.data import label_tables
from isic_tf.data.targets import class_set, diagnosis_classes
from isic_tf.evaluation import joined_tables, label_columns
from isic_tf.evaluation.classes import predicted_classes, truth_encoding
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables
from tfrecord_tools.table_formats import raw_table, table_files

_LOG = logging.getLogger(__name__)

PREFIX = "truth_"
SCORED = "is_scored"


@dataclasses.dataclass(frozen=True, eq=False)
class ClassTruth:
    """The true classes of images.

    Attributes:
        classes: The classes, and which of them make the single score.
        labels: DataFrame, see `label_tables.read_labels`, with a column `truth_CLASS` (0 or 1) for each class, and
            `is_scored`.
        described: Where the classes come from, such as `the column dx of labels.csv`.
    """

    classes: class_set.ClassSet
    labels: pd.DataFrame
    described: str


@dataclasses.dataclass(frozen=True)
class _Request:
    """What is asked for: the predicted classes, the option `--target`, and whether images may lack a class."""

    names: tuple[str, ...]
    kind: str | None  # of `class_set.KINDS`; None to look for the classes' own columns
    columns: tuple[str, ...]
    allow_missing: bool


def find(
    sources: Sequence[joined_tables.TableSource],
    names: Sequence[str],
    labels: joined_tables.TableSource,
    target: str | None = None,
    positive_classes: Sequence[str] = (),
    allow_missing: bool = False,
) -> ClassTruth | None:
    """Finds the true classes of the images that several classes were predicted for.

    Args:
        sources: Prediction files or DataFrames.
        names: What these are called in messages.
        labels: CSV file, several separated by commas, or a DataFrame.
        target: `column:NAME` for a column of classes, `columns:A,B` for columns of 0 and 1 that do not exclude each
            other, `diagnosis` for the classes of `--target=diagnosis`; None for the columns named like the classes, of
            which each image has one, or else the column that the network was trained on, by the sidecar.
        positive_classes: Classes that make the single score; none for those of the sidecar, or by their names.
        allow_missing: Whether images without one of the classes are left out.

    Returns:
        `ClassTruth`; None where no file has classes, or (which is logged) the labels have no columns for them.

    Raises:
        ConfigError: The options do not fit the prediction files or each other.
        IsicError: A table is damaged or lacks a column, or an image has none of the classes, or several.
    """
    predicted = predicted_classes.find(sources, names, positive_classes)
    if predicted is None:
        if target or positive_classes:
            option = "--target" if target else "--positive_classes"
            raise errors.ConfigError(
                f"expected predictions of several classes (columns {class_columns.PREFIX}CLASS) with {option}, got "
                f"{', '.join(names)} without; omit it, or predict with a network that was trained on classes"
            )
        return None
    kind, columns = class_set.parse_target(target) if target else (None, ())
    if kind == "binary":
        return None
    tables = label_columns.read_raw_tables(labels)
    if not target and predicted.target.startswith("column:") and _has_column(predicted, tables):
        kind, columns = class_set.parse_target(predicted.target)
    if kind is None and predicted.multi_label:
        kind, columns = "columns", predicted.names
    request = _Request(predicted.names, kind, columns, allow_missing)
    return _read_truth(request, predicted.positive, labels, tables, is_asked=bool(target))


def _has_column(predicted: predicted_classes.PredictedClasses, tables: Sequence[raw_table.RawTable]) -> bool:
    """Returns whether labels have the column that a network was trained on, and no column for each class."""
    _, columns = class_set.parse_target(predicted.target)
    has_each = label_columns.find_table(tables, predicted.names) is not None
    return not has_each and label_columns.find_table(tables, columns) is not None


def _read_truth(
    request: _Request,
    positive: tuple[str, ...],
    labels: joined_tables.TableSource,
    tables: Sequence[raw_table.RawTable],
    is_asked: bool,
) -> ClassTruth | None:
    """Reads the true classes; see `find`."""
    if request.kind is None and set(diagnosis_classes.CLASSES) <= set(request.names):
        request = dataclasses.replace(request, kind="diagnosis")
    if request.kind == "diagnosis":
        return _read_diagnoses(request, positive, labels)
    if request.kind == "columns" and _fold(request.columns) != _fold(request.names):
        raise errors.ConfigError(
            f"expected --target=columns: to name the predicted classes {', '.join(request.names)}, got "
            f"{', '.join(request.columns)}; correct it"
        )
    wanted = request.columns if request.kind == "column" else request.names
    if not is_asked and label_columns.find_table(tables, wanted) is None:
        _LOG.warning(
            f"note: the probabilities of {len(request.names)} classes are not evaluated, since "
            f"{label_columns.name_labels(labels)} has no columns named like them; name the column of the true classes "
            "with --target=column:NAME"
        )
        return None
    table = label_columns.require_table(tables, wanted, "--target")
    classes = _choose_classes(request, positive)
    base = _read_base(labels)
    truth, is_scored, kept = _encode(request, classes, table, wanted, base)
    base, truth, is_scored = base[kept], truth[kept], is_scored[kept]
    target = truth[:, list(classes.places)].max(axis=1)
    path = label_columns.name_labels(labels)
    _compare_targets(tables, base, target, classes, path)
    base = base.assign(target=np.where(target == 1, "1", "0")).reset_index(drop=True)
    described = f"the column {wanted[0]}" if request.kind == "column" else "the columns of the classes"
    known = _add_truth(label_tables.check_labels(path, base), classes, truth, is_scored)
    return ClassTruth(classes, known, f"{described} of {os.path.basename(table.path)}")


def _fold(names: Sequence[str]) -> set[str]:
    return {name.casefold() for name in names}


def _encode(
    request: _Request,
    classes: class_set.ClassSet,
    table: raw_table.RawTable,
    columns: Sequence[str],
    base: pd.DataFrame,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the true classes, int64 `[n, c]`, which images are scored and which are kept, both bool `[n]`."""
    texts = label_columns.read_texts(table, columns, base)
    if request.kind == "column":
        truth, problems = truth_encoding.encode_column(texts[columns[0]], classes)
    else:
        truth, problems = truth_encoding.encode_flags(texts, classes)
    # Only the columns of a challenge have its weights.
    scored = np.ones(len(base), bool) if request.kind else truth_encoding.find_scored(table, base)
    problems = problems.where(scored, "")
    kept = truth_encoding.settle(problems, base["image_name"], table.path, classes, request.allow_missing)
    return truth, scored, kept


def _choose_classes(request: _Request, positive: tuple[str, ...]) -> class_set.ClassSet:
    """Returns the predicted classes with the positive ones, or else those whose names say so."""
    names = ",".join(request.names)
    target = f"columns:{names}" if request.kind == "columns" else "column:of the labels"
    return class_set.make_class_set(target, names, ",".join(positive))


def _read_base(labels: joined_tables.TableSource) -> pd.DataFrame:
    """Reads the images of the labels, their patients and metadata, whatever their target."""
    if isinstance(labels, pd.DataFrame):
        table = csv_tables.check_table(label_columns.LABELS, joined_tables.to_text(labels), ("image_name",))
    else:
        table = table_files.read_tables(os.fspath(labels), ("image_name",), keep_unlabeled=True)
    csv_tables.refuse_repeats(label_columns.name_labels(labels), table, "label")
    if "patient_id" not in table and "lesion_id" not in table:
        _LOG.warning(
            f"note: {label_columns.name_labels(labels)} has no patient_id; each image counts as one of a patient of "
            "its own, so that intervals are too narrow where patients have several images"
        )
    return table.assign(patient_id=table.get("patient_id", ""))


def _compare_targets(
    tables: Sequence[raw_table.RawTable], base: pd.DataFrame, target: np.ndarray, classes: class_set.ClassSet, path: str
) -> None:
    """Logs what the single score is evaluated against, and how many images the labels' own target says otherwise of."""
    positive = ", ".join(classes.positive)
    _LOG.info(f"the single prediction is evaluated against the positive classes {positive}: {target.sum()} images")
    if label_columns.find_table(tables, ["target"]) is None or "target" not in base:
        return
    own = label_tables.encode_columns(path, "target", base["target"]).to_numpy()
    differs = int(((own != target) & (own != schema.UNKNOWN)).sum())
    if differs:
        _LOG.warning(
            f"note: {differs} images of {path} have another target than the positive classes {positive} say; the "
            "classes count"
        )


def _read_diagnoses(
    request: _Request, positive: tuple[str, ...], labels: joined_tables.TableSource
) -> ClassTruth | None:
    """Reads the classes of `--target=diagnosis` from the diagnoses; the target stays that of the labels."""
    known = joined_tables.read_labels(labels)
    path = label_columns.name_labels(labels)
    if "diagnosis" not in known:
        _LOG.warning(
            f"note: the probabilities of the diagnoses are not evaluated, since {path} has no column diagnosis; add it"
        )
        return None
    extra = [diagnosis_classes.OTHER] if diagnosis_classes.OTHER in request.names else []
    wanted = dict.fromkeys((*positive, *extra))
    classes = class_set.make_class_set("diagnosis", "", ",".join(wanted))
    codes = label_tables.encode_columns(path, "diagnosis", known["diagnosis"]).to_numpy()
    places = np.array(diagnosis_classes.list_codes())[codes]
    if extra:
        is_positive = np.isin(places, classes.places)
        places = np.where(~is_positive & (known["target"] == 1), classes.names.index(extra[0]), places)
    truth = np.eye(len(classes.names), dtype=np.int64)[places]
    return ClassTruth(
        classes,
        _add_truth(known, classes, truth, np.ones(len(known), bool)),
        f"the column diagnosis of {os.path.basename(path)}",
    )


def _add_truth(
    known: pd.DataFrame, classes: class_set.ClassSet, truth: np.ndarray, is_scored: np.ndarray
) -> pd.DataFrame:
    columns = [f"{PREFIX}{name}" for name in classes.names]
    added = pd.DataFrame(truth, known.index, columns)
    added[SCORED] = is_scored
    return pd.concat([known, added], axis=1)
