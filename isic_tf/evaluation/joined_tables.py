"""Joins predictions with labels and with the metadata of records."""

import logging
import os
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from tqdm import tqdm

from isic_tf.artifacts import class_columns, person_numbers, prediction_files, table_checks
from isic_tf.data import label_tables
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, identity, manifest, name_join, record_index, tfrecord

_LOG = logging.getLogger(__name__)

# A table, or the path of its CSV file.
TableSource: TypeAlias = str | os.PathLike[str] | pd.DataFrame
# Columns that a prediction file may have besides its predictions.
_FURTHER_COLUMNS = ("target", "stage_one", prediction_files.UNLIKE, *label_tables.TEXTS, *label_tables.NUMBERS)


def read_predictions(source: TableSource, name: str | None = None) -> pd.DataFrame:
    """Reads a prediction file, or a submission, with its further columns.

    Args:
        source: CSV file or DataFrame with `image_name` and `prediction`, or `target` as in a submission.
        name: What the table is called in errors; None for the path.

    Returns:
        DataFrame of `image_name` (text), `prediction` and `probability_CLASS` of each class that the source has
        (float64), those of `label_tables.TEXTS` and `label_tables.NUMBERS` that it has and, next to a `prediction`,
        where the source has them, `target` (int, 0 or 1, -1 where blank), `stage_one` (float64, from 0 to 1, the
        predictions of the image-level model that `isic_tf.context` started from) and `unlike` (float64, 0 or more, NaN
        where blank).

    Raises:
        IsicError: A name is repeated, a prediction is not a number from 0 to 1, or another column is damaged.
    """
    if isinstance(source, pd.DataFrame):
        path = name or "predictions"
        text = csv_tables.check_table(path, to_text(source), ("image_name",))
    else:
        path = os.fspath(source)
        text = csv_tables.read_table(path, ("image_name",))
    probabilities = class_columns.list_columns(class_columns.list_classes(text))
    table = prediction_files.check_predictions(path, text, (*_FURTHER_COLUMNS, *probabilities))
    columns = ["image_name", "prediction", *probabilities]
    if probabilities:
        table[probabilities] = class_columns.select_probabilities(table, path)
    if "target" in table:
        table["target"] = label_tables.encode_columns(path, "target", table["target"])
        columns.append("target")
    if "stage_one" in table:
        table["stage_one"] = pd.to_numeric(table["stage_one"], errors="coerce")
        problem = table_checks.describe_invalid_probabilities(table["stage_one"], table["image_name"], "stage_one")
        if problem:
            raise errors.IsicError(f"{path}: {problem}; correct these rows")
        columns.append("stage_one")
    if prediction_files.UNLIKE in table:
        table[prediction_files.UNLIKE] = prediction_files.parse_unlike(path, table[prediction_files.UNLIKE])
        columns.append(prediction_files.UNLIKE)
    return label_tables.select_columns(path, table, columns)


def read_labels(source: TableSource, name: str = "labels") -> pd.DataFrame:
    """Reads labels from a CSV file or a DataFrame.

    Args:
        source: CSV file or DataFrame, see `label_tables.read_labels`.
        name: What a DataFrame is called in errors.

    Returns:
        DataFrame, see `label_tables.read_labels`.

    Raises:
        IsicError: See `label_tables.read_labels`.
    """
    if isinstance(source, pd.DataFrame):
        text = csv_tables.check_table(name, to_text(source), label_tables.LABEL_COLUMNS)
        return label_tables.check_labels(name, text)
    return label_tables.read_labels(os.fspath(source))


def to_text(table: pd.DataFrame) -> pd.DataFrame:
    """Converts a DataFrame to the texts that a CSV file of it would have.

    Args:
        table: DataFrame with values of any type.

    Returns:
        DataFrame of strings, "" where a value is missing. Floats keep all their digits.
    """
    columns = {str(name): [_to_text(value) for value in table[name].array] for name in table.columns}
    return pd.DataFrame(columns, dtype=str)


def _to_text(value: object) -> str:
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    if isinstance(value, (float, np.floating)):
        return repr(float(value))
    return str(value)


def read_records(pattern: str) -> pd.DataFrame:
    """Reads from records what labels may lack: the sizes of image and file, and metadata; never a target.

    Args:
        pattern: Glob pattern of shards, or several separated by commas.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, `bytes` (size of the JPEG), `width`, `height` (of the original
        image in pixels, -1 where unknown), `sex`, `age_approx`, `anatom_site_general_challenge` and `diagnosis` (text,
        "" where unknown).

    Raises:
        IsicError: No shard matches, all are empty, or one is damaged.
    """
    rows = []
    for file in tqdm(record_index.match_shards(pattern), unit="shard", disable=None):
        for position, (_, _, record) in enumerate(tfrecord.read(file)):
            rows.append(_describe_record(file, position, record))
    if not rows:
        raise errors.IsicError(f"the shards of {pattern!r} hold no records; check --records")
    table = pd.DataFrame(rows)
    unconfirmed = manifest.find_unconfirmed(table["shard"].unique(), list(table.columns))
    for file, names in unconfirmed.items():
        table.loc[table["shard"] == file, names] = ""
    if unconfirmed:
        file, names = next(iter(unconfirmed.items()))
        _LOG.warning(
            f"note: {', '.join(names)} of the records in {len(unconfirmed)} shards (first: {file}) are not used, since "
            "no table confirms what their codes mean; index the records with --csv"
        )
    # Several sets may hold an image; the first counts.
    return table.drop_duplicates("image_name")


def _describe_record(shard: str, position: int, record: dict[str, Any]) -> dict[str, Any]:
    metadata = [name for name in label_tables.TEXTS if name in schema.METADATA]
    return {
        "shard": shard,
        "position": position,
        "image_name": record["image_name"],
        "bytes": len(record["image"]),
        "width": record.get("width", schema.UNKNOWN),
        "height": record.get("height", schema.UNKNOWN),
        **{name: _decode(name, record.get(name, schema.UNKNOWN)) for name in metadata},
    }


def _decode(column: str, code: int) -> str:
    """Returns the text that tables have for a record's code."""
    categories = schema.CATEGORIES.get(column)
    if code < 0 or (categories and code >= len(categories)):
        return ""
    return categories[code] if categories else str(code)


def join(
    source: TableSource,
    labels_name: str,
    labels: pd.DataFrame,
    records: pd.DataFrame | None = None,
    name: str | None = None,
    allow_missing: bool = False,
) -> pd.DataFrame:
    """Reads predictions and joins them with the labels, and with records where the tables know less.

    Args:
        source: See `read_predictions`.
        labels_name: What the labels are called in errors.
        labels: See `read_labels`.
        records: See `read_records`; None for none.
        name: What the predictions are called in errors; None for the path.
        allow_missing: Whether images may have a label but no prediction, or a prediction but no label; they are left
            out. Out-of-fold predictions, which have a column `fold`, may be those of some folds only.

    Returns:
        DataFrame in the order of the labels, see `evaluator.assess`. A column of several tables is taken from the
        predictions before the labels before the records.

    Raises:
        IsicError: A table is damaged, an image has no prediction, no label or different targets, or none of the images
            is in the records.
    """
    path = name or ("predictions" if isinstance(source, pd.DataFrame) else os.fspath(source))
    table = read_predictions(source, path)
    place = name_join.find_rows(table["image_name"], labels["image_name"], labels_name)
    name_join.refuse_empty_join(place, table["image_name"], labels["image_name"], f"{path} and {labels_name}")
    unknown = table.loc[place < 0, "image_name"].sort_values()
    remedy = "add their labels, or remove their predictions"
    name_join.settle_missing(unknown, f"images of {path} have no label in {labels_name}", remedy, allow_missing)
    is_unpredicted = np.ones(len(labels), bool)
    is_unpredicted[place[place >= 0]] = False
    _settle_unpredicted(path, table, labels_name, labels[is_unpredicted], allow_missing)
    # Each label is of one prediction at most, so that this is the order of the labels.
    order = np.full(len(labels), -1)
    order[place[place >= 0]] = np.flatnonzero(place >= 0)
    table = table.iloc[order[~is_unpredicted]].reset_index(drop=True)
    place = np.flatnonzero(~is_unpredicted)
    if "target" in table:
        _refuse_other_targets(path, table, labels_name, labels["target"].to_numpy()[place])
        table = table.drop(columns="target")
    table = _add_columns(table, labels, place)
    # One spelling of each patient; a word for an unknown one, such as NA, is no patient.
    keys = identity.person_keys(table["patient_id"])
    table["patient_id"] = person_numbers.first_spellings(table["patient_id"], keys)
    if records is None:
        return table
    place = name_join.find_rows(table["image_name"], records["image_name"], "the records")
    if (place < 0).all():
        raise errors.IsicError(f"none of the {len(table)} images of {path} is in the records; check --records")
    absent = table.loc[place < 0, "image_name"]
    name_join.settle_missing(absent, f"images of {path} are not in the records", "name more shards", allowed=True)
    return _add_columns(table, records.drop(columns=["shard", "position"]), place)


def _settle_unpredicted(
    path: str, table: pd.DataFrame, labels_name: str, others: pd.DataFrame, allow_missing: bool
) -> None:
    """Refuses, or logs, the images that have a label but no prediction; `others` are their rows of the labels."""
    if "fold" in table and (table["fold"] != "").any():
        if "fold" in others:
            others = others[others["fold"].isin(table["fold"])]
        else:
            # They may be those of folds that are not trained.
            allow_missing = True
    name_join.settle_missing(
        others["image_name"],
        f"images of {labels_name} have no prediction in {path} and are not evaluated",
        "predict them, or remove their labels",
        allow_missing,
    )


def _refuse_other_targets(path: str, table: pd.DataFrame, labels_name: str, targets: np.ndarray) -> None:
    different = (table["target"] != targets) & (table["target"] != schema.UNKNOWN)
    if different.any():
        first = table.loc[different, "image_name"].iloc[0]
        raise errors.IsicError(
            f"{path} and {labels_name} have different targets for {different.sum()} images (first: {first}); check "
            "that both are of the same data"
        )


def _add_columns(table: pd.DataFrame, other: pd.DataFrame, place: np.ndarray) -> pd.DataFrame:
    """Adds the columns that a table lacks from the rows of another, where there is one (`place` from 0)."""
    columns = [name for name in other if name not in table]
    found = other[columns].take(place).reset_index(drop=True)
    if (place >= 0).all():
        return pd.concat([table, found], axis=1)
    for name in columns:
        unknown = schema.UNKNOWN if name in label_tables.NUMBERS else ""
        found[name] = found[name].where(place >= 0, unknown)
    return pd.concat([table, found], axis=1)
