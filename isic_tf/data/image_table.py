"""Reads columns of the user's own table for images: classes to train on, and numbers that a network receives."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, name_join
from tfrecord_tools.table_formats import raw_table

_LOG = logging.getLogger(__name__)


def read_columns(path: str, names: Sequence[str] | pd.Series, columns: Sequence[str]) -> pd.DataFrame:
    """Reads columns of a table for images, joined by image name.

    Args:
        path: CSV file with `image_name` (or a name of it in published tables, such as `isic_id`) and the columns; it
            may list other images too.
        names: Text `[n]`, image names; one that occurs several times gets the same row each time.
        columns: Names of columns, in any case of letters.

    Returns:
        DataFrame `[n]` in the order of the names, with a column of text under each name as it was asked for, "" where
        blank, a word like NA, or where the table does not list the image (which is logged).

    Raises:
        IsicError: The file is no table, lacks a column, lists an image twice, or lists none of the images.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("isic_id,Stage", "a,I", "b,", sep=chr(10), file=file, flush=True)
        ...     read_columns(file.name, ["b", "a"], ["stage"])["stage"].tolist()
        ['', 'I']
    """
    return _join(read_table(path, columns), path, names, columns)


def read_set_columns(path: str, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Reads columns of a table for the images of several sets, which may hold one photograph under two names.

    Args:
        path: See `read_columns`.
        rows: DataFrame of images `[n]` with `image_name` and, where several sets are together, `source`.
        columns: See `read_columns`.

    Returns:
        DataFrame `[n]` of text, see `read_columns`, with the index of the rows.

    Raises:
        IsicError: See `read_columns`; the table must list an image of each set.

    Examples:
        >>> import tempfile
        >>> rows = pd.DataFrame({"image_name": ["a", "b"], "source": ["x", "y"]}, index=[5, 3])
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image_name,stage", "b,II", "a,I", sep=chr(10), file=file, flush=True)
        ...     read_set_columns(file.name, rows, ["stage"])["stage"].to_dict()
        {5: 'I', 3: 'II'}
    """
    table = read_table(path, columns)
    sets = [part for _, part in rows.groupby("source", sort=False)] if "source" in rows else [rows]
    # One set after the other, since each name of a photograph is listed for itself.
    parts = [_join(table, path, part["image_name"], columns).set_index(part.index) for part in sets]
    return pd.concat(parts).loc[rows.index]


def _join(table: pd.DataFrame, path: str, names: Sequence[str] | pd.Series, columns: Sequence[str]) -> pd.DataFrame:
    """Joins a table to images by name, see `read_columns`."""
    listed = table["image_name"]
    wanted = pd.Series(names, dtype=object).reset_index(drop=True)
    distinct = wanted.drop_duplicates()
    rows = name_join.find_rows(distinct, listed, path)
    name_join.refuse_empty_join(rows, distinct, listed.tolist(), f"the images and the rows of {path}")
    missing = distinct[rows < 0]
    if len(missing):
        _LOG.warning(f"note: {len(missing)} of {len(distinct)} images are not in {path} (first: {missing.iloc[0]})")
    places = wanted.map(pd.Series(rows, distinct.to_numpy())).to_numpy(np.int64)
    found = {name: table[name].to_numpy(object)[places] for name in dict.fromkeys(columns)}
    return pd.DataFrame({name: np.where(places >= 0, values, "") for name, values in found.items()}, dtype=object)


def read_table(path: str, columns: Sequence[str]) -> pd.DataFrame:
    """Reads the image names and some columns of a table.

    Args:
        path: See `read_columns`.
        columns: See `read_columns`.

    Returns:
        DataFrame of text with `image_name` and the columns, one row per image, "" where blank.

    Raises:
        IsicError: The file is no table, lacks a column, or lists an image twice.
    """
    raw = raw_table.read_raw(path)
    spellings = {name: _find_column(raw, name) for name in dict.fromkeys(("image_name", *columns))}
    lacking = [name for name, spelling in spellings.items() if spelling is None]
    if lacking:
        found = csv_tables.describe_columns(pd.DataFrame(columns=list(raw.header)))
        raise errors.IsicError(
            f"{path} needs the columns {', '.join(spellings)}; it has only {found}; add or rename {', '.join(lacking)}"
        )
    used = {name: spelling for name, spelling in spellings.items() if spelling is not None}
    texts = raw.read(list(dict.fromkeys(used.values())))
    table = pd.DataFrame({name: texts[spelling] for name, spelling in used.items()}, dtype=object)
    is_unnamed = table["image_name"] == ""
    rows = np.flatnonzero(is_unnamed & (table != "").any(axis=1))
    if len(rows):
        raise errors.IsicError(
            f"{path} must name the image of every row, but the image_name of {len(rows)} is blank (first: row "
            f"{rows[0] + 1}); fill it in, or delete these rows"
        )
    table = table[~is_unnamed].reset_index(drop=True)
    csv_tables.refuse_repeats(path, table, "list")
    return table


def _find_column(raw: raw_table.RawTable, name: str) -> str | None:
    """Returns the name under which a table has a column: its own, or one that published tables have for it."""
    choices = (name, *schema.COLUMN_ALIASES.get(name, ()))
    return next((choice for choice in choices if raw.has(choice)), None)
