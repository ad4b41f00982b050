"""Formats tables as CSV in which no text is a formula of a spreadsheet, and undoes that on reading.

Image names, patients and notes come from other people's tables and files. A spreadsheet calculates a cell that begins
with `=`, `+`, `-` or `@`, also after a tab or a line break. Such text gets an apostrophe in front, which spreadsheets
take for the mark of a text; `csv_tables.read_table` removes it.
"""

import operator
import re
from typing import Any

import pandas as pd
from pandas.api import types

_FIRST_CHARACTERS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_FIRST = operator.itemgetter(slice(1))
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_MARKED = re.compile(r"'+[=+\-@\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def format_table(table: pd.DataFrame, **options: Any) -> str:
    r"""Formats a table as CSV; text that a spreadsheet would calculate is marked as text.

    Args:
        table: DataFrame; its row labels are not written.
        **options: Options of `pandas.DataFrame.to_csv`.

    Returns:
        Text of the CSV file.

    Examples:
        >>> format_table(pd.DataFrame({"image_name": ["=1+1", "-5", "a"], "prediction": [-0.5, 0, 1]}))
        "image_name,prediction\n'=1+1,-0.5\n-5,0.0\na,1.0\n"
    """
    columns = [
        values if types.is_numeric_dtype(values.dtype) else _mark_column(values)
        for values in (table.iloc[:, place] for place in range(table.shape[1]))
    ]
    marked = pd.concat(columns, axis=1) if columns else table
    marked = marked.set_axis([mark(name) for name in table.columns], axis=1)
    return str(marked.to_csv(index=False, **options))


def _mark_column(values: pd.Series) -> pd.Series:
    """Marks the texts of a column; values of other types stay as they are."""
    if _has_no_formula(values):
        return values
    if types.is_string_dtype(values):
        is_formula = values.str.startswith(_FIRST_CHARACTERS, na=False)
    else:
        is_formula = values.map(lambda value: isinstance(value, str) and value.startswith(_FIRST_CHARACTERS))
    is_formula = is_formula.astype(bool)
    if not is_formula.any():
        return values
    return values.astype(object).where(~is_formula, values[is_formula].map(mark))


def _has_no_formula(values: pd.Series) -> bool:
    """Returns whether all values are texts that begin otherwise than a formula; the usual case, told fast."""
    try:
        return set(map(_FIRST, values.to_numpy(object))).isdisjoint(_FIRST_CHARACTERS)
    except (TypeError, KeyError):  # a value is no text
        return False


def mark(value: Any) -> Any:
    """Puts an apostrophe before text that a spreadsheet would calculate.

    Args:
        value: Text, which may be a number, or a value of another type.

    Returns:
        The text with the mark; a number and a value of another type as it is.

    Examples:
        >>> mark("@sum"), mark("-5"), mark("a=b"), mark("'=1")
        ("'@sum", '-5', 'a=b', "''=1")
    """
    if not isinstance(value, str) or not _FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def unmark_column(values: pd.Series) -> pd.Series:
    """Removes the apostrophes of `mark` from a column.

    Args:
        values: Text `[n]`.

    Returns:
        Text `[n]` without the marks.
    """
    is_marked = values.str.startswith("'")
    return values.map(unmark) if is_marked.any() else values


def unmark(text: str) -> str:
    """Removes the apostrophe of `mark`.

    Args:
        text: Text of a cell.

    Returns:
        The text without the mark.

    Examples:
        >>> unmark("'@sum"), unmark("'a'"), unmark("''=1")
        ('@sum', "'a'", "'=1")
    """
    return text[1:] if _MARKED.match(text) else text
