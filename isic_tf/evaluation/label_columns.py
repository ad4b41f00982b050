"""Reads columns of the label tables that the package does not know: classes and groups of the user's own."""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.evaluation import joined_tables
from tfrecord_tools import errors, option_paths, schema
from tfrecord_tools.io import csv_output, csv_tables, name_join
from tfrecord_tools.table_formats import raw_table

LABELS = "the labels"


def name_labels(labels: joined_tables.TableSource) -> str:
    """Returns what the labels are called in messages: their paths, or `the labels` for a DataFrame."""
    return LABELS if isinstance(labels, pd.DataFrame) else os.fspath(labels)


def read_raw_tables(labels: joined_tables.TableSource) -> list[raw_table.RawTable]:
    """Reads the tables of labels with their columns as they are in the files.

    Args:
        labels: CSV file, or several separated by commas, or a DataFrame.

    Returns:
        List of `RawTable`.

    Raises:
        IsicError: A file does not exist or is not a CSV file.

    Examples:
        >>> (table,) = read_raw_tables(pd.DataFrame({"image": ["a"], "clinic": ["north"]}))
        >>> table.header
        ('image', 'clinic')
    """
    if isinstance(labels, pd.DataFrame):
        content = csv_output.format_table(joined_tables.to_text(labels)).encode()
        return [raw_table.make_raw(LABELS, content)]
    return [raw_table.read_raw(path) for path in option_paths.split_paths(os.fspath(labels))]


def find_table(tables: Sequence[raw_table.RawTable], columns: Sequence[str]) -> raw_table.RawTable | None:
    """Returns the first table that has all of some columns, in any case of letters; None where no table has."""
    return next((table for table in tables if all(table.has(name) for name in columns)), None)


def require_table(tables: Sequence[raw_table.RawTable], columns: Sequence[str], option: str) -> raw_table.RawTable:
    """Returns the first table that has all of some columns.

    Args:
        tables: See `read_raw_tables`.
        columns: Names of columns, in any case of letters.
        option: The option that names them.

    Returns:
        `RawTable`.

    Raises:
        IsicError: No table has all of them.
    """
    table = find_table(tables, columns)
    if table is None:
        known = list(dict.fromkeys(name for each in tables for name in each.header))
        found = csv_tables.describe_columns(pd.DataFrame(columns=known))
        lacking = [name for name in columns if not any(each.has(name) for each in tables)] or columns
        raise errors.IsicError(
            f"expected the column {', '.join(lacking)} ({option}) in {' and '.join(each.path for each in tables)}, "
            f"which has only {found}; correct the option, or add the column"
        )
    return table


def read_texts(table: raw_table.RawTable, columns: Sequence[str], rows: pd.DataFrame) -> pd.DataFrame:
    """Reads columns of a table for images, joined by image name or, where the table has none, by lesion.

    Args:
        table: Table that has the columns.
        columns: Names of columns, in any case of letters.
        rows: DataFrame of n images with `image_name`, and `lesion_id` where the table is one of lesions.

    Returns:
        DataFrame `[n]` of text, a column under each name as it was given, "" where blank or where the table lacks the
        image.

    Raises:
        IsicError: The table has neither images nor lesions, or one of them twice, or none of those of the rows.
    """
    key = _find_key(table)
    texts = table.read([key, *columns])
    is_named = texts[key] != ""
    listed = pd.Series(texts[key][is_named], dtype=object)
    by_image = key in _list_names("image_name")
    name = "image_name" if by_image else "lesion_id"
    if name not in rows:
        raise errors.IsicError(
            f"expected image names in {table.path}, or lesions in another table of the labels to join it by, got "
            f"neither; add the table that lists the lesion of each image"
        )
    repeated = listed[listed.duplicated()]
    if len(repeated):
        raise errors.IsicError(
            f"{table.path} must list every image or lesion once, but repeats {len(repeated)}, for example "
            f"{repeated.iloc[0]}; remove the repeats"
        )
    if by_image:
        places = name_join.find_rows(rows[name], listed, table.path)
    else:
        places = pd.Index(listed, dtype=object).get_indexer(pd.Index(rows[name], dtype=object))
    name_join.refuse_empty_join(places, rows[name], listed, f"the images of the labels and the rows of {table.path}")
    found = {column: texts[column][is_named][places] for column in columns}
    return pd.DataFrame({column: np.where(places >= 0, values, "") for column, values in found.items()}, dtype=object)


def _find_key(table: raw_table.RawTable) -> str:
    """Returns the column that names the images of a table or, where there is none, its lesions."""
    names = [*_list_names("image_name"), *_list_names("lesion_id")]
    key = next((name for name in names if table.has(name)), None)
    if key is None:
        raise errors.IsicError(
            f"{table.path} needs the column image_name or lesion_id; it has only "
            f"{csv_tables.describe_columns(pd.DataFrame(columns=list(table.header)))}; add or rename it"
        )
    return key


def _list_names(column: str) -> tuple[str, ...]:
    return (column, *schema.COLUMN_ALIASES.get(column, ()))
