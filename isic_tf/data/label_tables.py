"""Reads label tables and encodes their columns."""

import logging
import re
from collections.abc import Sequence

import pandas as pd

from isic_tf.artifacts import person_numbers
from tfrecord_tools import errors, schema
from tfrecord_tools.io import column_names, csv_tables, identity
from tfrecord_tools.table_formats import table_files

_LOG = logging.getLogger(__name__)

LABEL_COLUMNS = ["image_name", "patient_id", "target"]
# Optional columns, used for subgroups and for the audit of shortcuts.
NUMBERS = ("width", "height", "bytes")
TEXTS = ("fold", "source", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis")


def read_labels(path: str) -> pd.DataFrame:
    """Reads a table of labels.

    Args:
        path: CSV file with `image_name`, `patient_id` and `target`.

    Returns:
        DataFrame of `image_name` and `patient_id` (text, one spelling per patient, "" where unknown), `target` (int, 0
        or 1), `lesion_id` (as `patient_id`) where the file has it, and those of `TEXTS` and `NUMBERS` that it has, see
        `select_columns`.

    Raises:
        IsicError: A name occurs twice, a target is neither 0 nor 1, or another column is damaged.
    """
    return check_labels(path, table_files.read_tables(path, LABEL_COLUMNS))


def check_labels(path: str, table: pd.DataFrame) -> pd.DataFrame:
    """Checks and encodes a table of labels; see `read_labels`.

    Args:
        path: Name of the table in error messages.
        table: DataFrame of text with the columns of `LABEL_COLUMNS`, see `csv_tables.check_table`.

    Returns:
        DataFrame, see `read_labels`.

    Raises:
        IsicError: See `read_labels`.
    """
    csv_tables.refuse_repeats(path, table, "label")
    table["target"] = encode_columns(path, "target", table["target"])
    unlabeled = table.loc[table["target"] == schema.UNKNOWN, "image_name"]
    if len(unlabeled):
        raise errors.IsicError(
            f"{path} must label every image, the target of {unlabeled.iloc[0]} is blank; fill it in with 0 or 1, or "
            "delete the row"
        )
    people = [column for column in ("patient_id", "lesion_id") if column in table]
    for column in people:
        table[column] = _unify_spellings(path, column, table[column])
    return select_columns(path, table, list(dict.fromkeys((*LABEL_COLUMNS, *people))))


def _unify_spellings(path: str, column: str, texts: pd.Series) -> pd.Series:
    """Spells each patient or lesion in one way, words for an unknown one as ""; logs what this changes."""
    keys = identity.person_keys(texts)
    for line in person_numbers.describe_changes(column, texts, keys):
        _LOG.warning(f"note: {path}: {line}")
    return person_numbers.first_spellings(texts, keys)


def encode_columns(path: str, column: str, values: pd.Series) -> pd.Series:
    """Encodes a column of a table as codes, see `schema.encode`; logs values that the schema does not have.

    Args:
        path: Name of the table in error messages.
        column: Name of the column.
        values: Series of text `[n]`.

    Returns:
        Series of int `[n]`, -1 where blank.

    Raises:
        IsicError: A value is not one of the column's.
    """
    unknown = column_names.count_unknown_values(column, values)
    if unknown:
        _LOG.warning(
            f"note: {path}: {sum(unknown.values())} values of {column} are not in the schema and taken as unknown: "
            f"{csv_tables.describe_first_cases(list(unknown))}"
        )
    try:
        return identity.map_distinct(values, lambda value: schema.encode(column, value)).astype("int64")
    except ValueError as error:
        raise errors.IsicError(f"{path}: {error}") from error


def select_columns(path: str, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Selects the requested columns and those of `TEXTS` and `NUMBERS` that a table has, and checks the latter.

    Args:
        path: Name of the table in error messages.
        table: DataFrame of text, except for columns that are encoded already.
        columns: Columns to select in any case.

    Returns:
        DataFrame of these columns. Those of `NUMBERS` are int64, -1 where blank; `fold` has no decimals, "" where
        unknown.

    Raises:
        IsicError: A value of `NUMBERS` or `age_approx` is not a number.
    """
    known = [name for name in (*TEXTS, *NUMBERS) if name in table]
    selected = table[[*columns, *known]].copy()
    for name in NUMBERS:
        if name in selected:
            selected[name] = _parse_numbers(path, selected[name])
    if "age_approx" in selected:
        encode_columns(path, "age_approx", selected["age_approx"])
    if "fold" in selected:
        # Other tools write folds as 0.0, and unknown ones as -1.
        selected["fold"] = identity.map_distinct(selected["fold"], _spell_fold)
    return selected


def _spell_fold(fold: str) -> str:
    whole = re.sub(r"\.0+$", "", fold)
    return "" if whole == "-1" else whole


def _parse_numbers(path: str, values: pd.Series) -> pd.Series:
    codes, texts = pd.factorize(values.to_numpy(object))
    numbers = pd.Series(pd.to_numeric(texts, errors="coerce"))
    bad = texts[(numbers.isna() | (numbers < -1)) & (texts != "")]
    if len(bad):
        raise errors.IsicError(f"{path}: the column {values.name} must hold whole numbers or blanks, got {bad[0]!r}")
    parsed = numbers.fillna(schema.UNKNOWN).astype("int64").to_numpy()
    return pd.Series(parsed[codes], values.index, name=values.name)
