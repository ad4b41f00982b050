"""Values of numeric columns of the user's own table: joined to images by name, and parsed."""

import difflib
import typing

import numpy as np
import pandas as pd

from isic_tf.data import image_table
from isic_tf.data.clinical_metadata import numeric_columns
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables
from tfrecord_tools.table_formats import raw_table

# Of the columns of their values, beside those of the schema.
PREFIX = "numeric:"
_MOST_LISTED = 5
# Unlike in columns of the schema, -1 is a number.
_UNKNOWN_WORDS = ("", "unknown", "unk", "na", "n/a", "nan", "null", "none", "<na>")


def add_values(rows: pd.DataFrame, table: str | None, names: typing.Sequence[str]) -> pd.DataFrame:
    """Adds the values of numeric columns to images.

    Args:
        rows: DataFrame of images with `image_name` and, where several sets are together, `source`.
        table: CSV file with `image_name` and the columns; it is not read where there are no names.
        names: Names of columns, exactly as in the table.

    Returns:
        The rows with the values for `select_values`.

    Raises:
        ConfigError: There is no table, though there are names.
        IsicError: The table lacks a column or all images of a set, or a value is not a number.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image_name,area", "a,2.5", "b,", sep=chr(10), file=file, flush=True)
        ...     rows = add_values(pd.DataFrame({"image_name": ["b", "a"]}), file.name, ["area"])
        >>> select_values(rows, ["area"]).tolist()
        [[nan], [2.5]]
    """
    if not names:
        return rows
    numeric_columns.check_table(table, names)
    path = str(table)
    check_header(path, raw_table.read_raw(path).header, names)
    texts = image_table.read_set_columns(path, rows, names)
    values = {PREFIX + name: parse_numbers(path, name, texts[name], rows["image_name"]) for name in names}
    return rows.assign(**values)


def check_header(table: str, header: typing.Sequence[str], names: typing.Sequence[str]) -> None:
    """Refuses names that a table does not have in exactly this spelling.

    Args:
        table: Path of the CSV file, for errors.
        header: Names of its columns.
        names: Names of columns.

    Raises:
        IsicError: The table lacks one; the error names a similar one.
    """
    for name in names:
        if name not in header:
            folded = {own.casefold(): own for own in header}
            similar = difflib.get_close_matches(name.casefold(), folded, 1, cutoff=0.6)
            remedy = f"did you mean {folded[similar[0]]}?" if similar else "correct the name, or use another table"
            found = csv_tables.describe_columns(pd.DataFrame(columns=list(header)))
            raise errors.IsicError(f"{table} has no column {name}, only {found}; {remedy}")


def parse_numbers(table: str, column: str, texts: pd.Series, names: pd.Series) -> np.ndarray:
    """Parses the values of a column.

    Args:
        table: Path of the table, for errors.
        column: Name of the column, for errors.
        texts: Text `[n]`, "" where unknown.
        names: Image names `[n]`, for errors.

    Returns:
        float64 `[n]`, NaN where the value is blank or a word for an unknown one.

    Raises:
        IsicError: A value is not a finite number.
    """
    is_unknown = texts.str.strip().str.casefold().isin(_UNKNOWN_WORDS).to_numpy(bool)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
    with np.errstate(over="ignore"):
        wrong = ~is_unknown & ~np.isfinite(numbers.astype(np.float32))
    if wrong.any():
        first = ", ".join(repr(text) for text in texts[wrong].unique()[:_MOST_LISTED])
        raise errors.IsicError(
            f"{table}: expected a number in the column {column} for every image, or a blank where it is unknown, got "
            f"{first} ({wrong.sum()} of {len(texts)} images, first: {names[wrong].iloc[0]}); correct the table, or "
            "leave the column out"
        )
    return np.where(is_unknown, np.nan, numbers)


def parse_columns(table: str, rows: pd.DataFrame, names: typing.Sequence[str]) -> pd.DataFrame:
    """Parses numeric columns of a table that is read already.

    Args:
        table: Path of the table, for errors.
        rows: Text `[n]` with `image_name` and all columns of the table.
        names: Names of columns, exactly as in the table.

    Returns:
        float64 `[n, k]`, NaN where unknown.

    Raises:
        IsicError: The table lacks a column, or a value is not a number.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["a", "b"], "area": ["2.5", "NA"]})
        >>> parse_columns("t.csv", rows, ["area"])["area"].tolist()
        [2.5, nan]
    """
    check_header(table, [str(name) for name in rows], names)
    return pd.DataFrame({name: parse_numbers(table, name, rows[name], rows["image_name"]) for name in names})


def select_values(rows: pd.DataFrame, names: typing.Sequence[str]) -> np.ndarray:
    """Returns the values of numeric columns that `add_values` added.

    Args:
        rows: DataFrame of n images.
        names: Names of the columns.

    Returns:
        float64 `[n, k]`, NaN where unknown.

    Examples:
        >>> select_values(pd.DataFrame({"numeric:area": [2.0]}), ["area"]).tolist()
        [[2.0]]
    """
    return rows[[PREFIX + name for name in names]].to_numpy(np.float64).reshape(len(rows), len(names))
