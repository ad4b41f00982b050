"""Reads label tables and encodes their columns."""

import re

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables

# What groups and shortcuts are made of, where a table has it.
NUMBERS = ("width", "height", "bytes")
TEXTS = ("fold", "source", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis")


def read_labels(path):
    """Reads a table of labels.

    Args:
        path: CSV file with `image_name`, `patient_id` and `target`.

    Returns:
        DataFrame of `image_name` and `patient_id` (text), `target` (int, 0 or 1) and those of `TEXTS` and `NUMBERS`
        that are there.

    Raises:
        IsicError: A name comes twice, a target is neither 0 nor 1, or another column is damaged.
    """
    columns = ["image_name", "patient_id", "target"]
    table = csv_tables.read_table(path, columns)
    csv_tables.refuse_repeats(path, table, "label")
    table["target"] = encode_columns(path, "target", table["target"])
    if (table["target"] == schema.UNKNOWN).any():
        name = table.loc[table["target"] == schema.UNKNOWN, "image_name"].iloc[0]
        raise errors.IsicError(f"{path} must label every image, the target of {name} is blank")
    return _known(path, table, columns)


def encode_columns(path, column, values):
    """Turns a column of a table into codes; see `schema.encode`.

    Args:
        path: The table's name for the message.
        column: Name of the column.
        values: Series of text.

    Returns:
        Series of int.

    Raises:
        IsicError: A value is none of the column's.
    """
    try:
        return values.map({value: schema.encode(column, value) for value in values.unique()})
    except ValueError as error:
        raise errors.IsicError(f"{path}: {error}") from error


def _known(path, table, columns):
    """Keeps the columns that are asked for or known, numbers as such, -1 where blank."""
    table = table[columns + [name for name in (*TEXTS, *NUMBERS) if name in table]].copy()
    for name in NUMBERS:
        if name in table:
            numbers = pd.to_numeric(table[name], errors="coerce")
            bad = table.loc[(numbers.isna() | (numbers < -1)) & (table[name] != ""), name]
            if len(bad):
                raise errors.IsicError(
                    f"{path}: the column {name} must hold whole numbers or blanks, got {bad.iloc[0]!r}"
                )
            table[name] = numbers.fillna(schema.UNKNOWN).astype("int64")
    if "age_approx" in table:
        encode_columns(path, "age_approx", table["age_approx"])
    if "fold" in table:
        # Folds that passed through other tools are written as 0.0, unknown ones as -1.
        spelled = {fold: re.sub(r"\.0+$", "", fold) for fold in table["fold"].unique()}
        table["fold"] = table["fold"].map(spelled | {"-1": "", "-1.0": ""})
    return table
