"""Reads, joins and writes prediction files."""

import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd

from isic_tf.artifacts import class_columns, prediction_sidecar, table_checks
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, name_join

_LOG = logging.getLogger(__name__)
# The column that says how unlike the training images an image is; blank where nothing tells.
UNLIKE = "unlike"


def join_by_name(
    paths: Sequence[str], tables: Sequence[pd.DataFrame], join: str
) -> tuple[list[pd.DataFrame], list[str]]:
    """Brings prediction tables into the row order and the spelling of names of the first one.

    Args:
        paths: What each table is called in errors and notes, `[files]`.
        tables: DataFrames with `image_name`, each name once.
        join: `equal` where all tables must have the same names, `inner` to keep the names that all have.

    Returns:
        The tables with their rows in one order; and a list of notes on the images that were left out.

    Raises:
        IsicError: The names differ under `equal`, no name is in all tables, or it is open which of two spellings of a
            name is meant.
    """
    tables = [tables[0], *(_adopt_names(tables[0], paths[0], table) for table in tables[1:])]
    # Indexes of objects: lookups in pandas' own string type take twenty times as long.
    indexes = [pd.Index(table["image_name"], dtype=object) for table in tables]
    first = indexes[0]
    common = first
    differences = []
    for path, names in zip(paths[1:], indexes[1:], strict=True):
        common = common[names.get_indexer(common) >= 0]
        differences += _describe_difference(paths[0], first, path, names)
        if differences and join == "equal":
            raise errors.IsicError(
                f"expected files of the same images, but {'; '.join(differences)}; use --join=inner to keep only the "
                "images that all files hold"
            )
    if not len(common):
        raise errors.IsicError(f"expected files of the same images, but no image is in all of {', '.join(paths)}")
    notes = []
    if differences:
        notes.append(f"{len(common)} images are in all files; left out: {'; '.join(differences)}")
    ordered = [
        table.iloc[names.get_indexer(common)].reset_index(drop=True)
        for table, names in zip(tables, indexes, strict=True)
    ]
    return ordered, notes


def _adopt_names(first: pd.DataFrame, first_path: str, table: pd.DataFrame) -> pd.DataFrame:
    """Spells the names of a table as the first table does."""
    rows = name_join.find_rows(table["image_name"], first["image_name"], first_path)
    is_found = rows >= 0
    names = table["image_name"].to_numpy(object, copy=True)
    names[is_found] = first["image_name"].to_numpy(object)[rows[is_found]]
    return table.assign(image_name=names)


def _describe_difference(first_path: str, first: pd.Index, path: str, names: pd.Index) -> list[str]:
    """Describes the images that only one of two files holds, one text per file that has such images."""
    texts = []
    only_in_first = first[names.get_indexer(first) < 0]
    if len(only_in_first):
        texts.append(f"{len(only_in_first)} only in {first_path} ({table_checks.list_first(only_in_first)})")
    only_in_other = names[first.get_indexer(names) < 0]
    if len(only_in_other):
        texts.append(f"{len(only_in_other)} only in {path} ({table_checks.list_first(only_in_other)})")
    return texts


def read_prediction_file(
    path: str, keep: Sequence[str] = (), submission: bool = False, with_classes: bool = False
) -> pd.DataFrame:
    """Reads the names and predictions of a prediction file.

    Args:
        path: CSV file with `image_name` and `prediction`; other columns are dropped unless `keep` names them.
        keep: Further columns to keep, as text, where the file has them.
        submission: Whether a submission is accepted too: its `target` is taken where there is no `prediction`.
        with_classes: Whether to keep the probabilities of classes too, see `class_columns`.

    Returns:
        DataFrame of `image_name` (text), `prediction` (float64, from 0 to 1), with classes `probability_<class>`
        (float64, from 0 to 1) of each, and the columns of `keep` that exist.

    Raises:
        IsicError: The file does not exist or is not a CSV file, a column is missing, a name is repeated, or a
            prediction is not a number from 0 to 1.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = os.path.join(directory, "oof.csv")
        ...     pd.DataFrame({"image_name": ["a"], "prediction": [0.25], "fold": [0]}).to_csv(path, index=False)
        ...     read_prediction_file(path).to_dict("records")
        [{'image_name': 'a', 'prediction': 0.25}]
    """
    table = csv_tables.read_table(path, ("image_name",) if submission else ("image_name", "prediction"))
    return check_predictions(path, table, keep, with_classes)


def check_predictions(
    path: str, table: pd.DataFrame, keep: Sequence[str] = (), with_classes: bool = False
) -> pd.DataFrame:
    """Checks a table of predictions; see `read_prediction_file`.

    Args:
        path: What the table is called in errors.
        table: DataFrame of text with `image_name` and `prediction`, or `target` as in a submission.
        keep: Further columns to keep, as text, where the table has them.
        with_classes: See `read_prediction_file`.

    Returns:
        DataFrame, see `read_prediction_file`.

    Raises:
        IsicError: See `read_prediction_file`.
    """
    if "prediction" not in table:
        if "target" not in table:
            raise errors.IsicError(f"{path} needs a column prediction, or target as in a submission; it has neither")
        table = table.rename(columns={"target": "prediction"})
    classes = class_columns.list_columns(class_columns.list_classes(table)) if with_classes else []
    table = table[["image_name", "prediction", *classes, *(column for column in keep if column in table)]]
    csv_tables.refuse_repeats(path, table, "hold")
    table = table.assign(prediction=pd.to_numeric(table["prediction"], errors="coerce"))
    problem = table_checks.describe_invalid_probabilities(table["prediction"], table["image_name"])
    if problem:
        raise errors.IsicError(f"{path}: {problem}; correct these rows, or predict the images again")
    if not classes:
        return table
    probabilities = class_columns.select_probabilities(table, path)
    return table.assign(**dict(zip(classes, probabilities.T, strict=True)))


def parse_unlike(path: str, texts: pd.Series) -> pd.Series:
    """Converts the column `unlike` of a prediction file to numbers.

    Args:
        path: What the file is called in errors.
        texts: Text `[n]`.

    Returns:
        float64 `[n]`, 0 or more, NaN where blank.

    Raises:
        IsicError: A value is neither blank nor a number of 0 or more.

    Examples:
        >>> parse_unlike("test.csv", pd.Series(["1.25", ""])).tolist()
        [1.25, nan]
    """
    values = pd.to_numeric(texts, errors="coerce").astype("float64")
    bad = texts[(texts != "") & ~((values >= 0) & (values < float("inf")))]
    if len(bad):
        raise errors.IsicError(
            f"{path}: expected numbers of 0 or more, or blanks, in the column {UNLIKE}, got {bad.iloc[0]!r}; correct "
            "it, or rename a column of other content"
        )
    return values


def write_predictions(
    path: str, table: pd.DataFrame, *, patient_context: bool | None, made_by: str, **facts: Any
) -> None:
    """Writes a prediction file or a submission, and its sidecar.

    Args:
        path: CSV file to write.
        table: DataFrame of `image_name`, then `prediction` (or `target`, as in a submission), then any other columns.
        patient_context: Whether the patient's other images contributed to predictions; None where unknown.
        made_by: The command that made it.
        **facts: Further facts for the sidecar, values of JSON.

    Raises:
        IsicError: A prediction is not a number from 0 to 1.

    Examples:
        >>> import os, tempfile
        >>> table = pd.DataFrame({"image_name": ["a", "b"], "prediction": [0.25, 0.75]})
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = os.path.join(directory, "test.csv")
        ...     write_predictions(path, table, patient_context=False, made_by="my_script")
        ...     sorted(os.listdir(directory))
        ['test.csv', 'test.csv.json']
    """
    values = table.iloc[:, 1]
    class_columns.select_probabilities(table, path)
    problem = table_checks.describe_invalid_probabilities(values, table["image_name"])
    if problem:
        raise errors.IsicError(f"{path} is not written: {problem}; check the weights of the model for NaN")
    prediction_sidecar.write_sidecar(path, patient_context=patient_context, made_by=made_by, **facts)
    atomic_write.write_text(path, csv_output.format_table(table))
    _LOG.info(f"wrote {len(table)} predictions to {path}, mean {values.mean():.4f}")
