"""Translates the values of a column, each distinct one once, and counts what became of them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfrecord_tools.table_formats.diagnoses import Diagnosis


@dataclasses.dataclass
class ValueCount:
    """What became of one value of a table.

    Attributes:
        column: Column of the package.
        original: The value in the table.
        became: What it became; "" for unknown.
        rows: Number of rows.
        understood: Whether it is a value that the format or the package knows.
        malignancy: Of a diagnosis: `benign`, `malignant` or `indeterminate`; else "".
        category: Of a diagnosis: its category in `schema.CATEGORIES`; else "".
    """

    column: str
    original: str
    became: str
    rows: int
    understood: bool = True
    malignancy: str = ""
    category: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as a dict for JSON."""
        return dataclasses.asdict(self)


def translate(texts: np.ndarray, column: str, rule: Callable[[str], Any]) -> tuple[np.ndarray, list[ValueCount]]:
    """Translates the texts of a column.

    Args:
        texts: Text, objects `[n]`, "" where blank; blanks are not counted.
        column: Column of the package.
        rule: Gives the value of a text; None where it is not understood.

    Returns:
        Values, objects `[n]`, "" for blanks and texts that are not understood; and the counts, the most frequent first.

    Examples:
        >>> values, counts = translate(np.array(["M", "", "x", "M"], object), "sex", {"M": "male"}.get)
        >>> values.tolist()
        ['male', '', '', 'male']
        >>> [(count.original, count.became, count.rows, count.understood) for count in counts]
        [('M', 'male', 2, True), ('x', '', 1, False)]
    """
    codes, distinct = pd.factorize(texts)
    results = [rule(text) if text else "" for text in distinct]
    rows = np.bincount(codes, minlength=len(distinct))
    counts = [
        count_value(column, text, found, int(number))
        for text, found, number in zip(distinct, results, rows, strict=True)
        if text
    ]
    counts.sort(key=lambda count: (-count.rows, count.original))
    return spread(["" if found is None else found for found in results], codes), counts


def count_value(column: str, original: str, found: Any, rows: int) -> ValueCount:
    """Describes what became of a value.

    Args:
        column: Column of the package.
        original: The value in the table.
        found: What it became: text, or a `Diagnosis`; None where it is not understood.
        rows: Number of rows.

    Returns:
        `ValueCount`.
    """
    if isinstance(found, Diagnosis):
        return ValueCount(column, original, found.name, rows, True, found.malignancy, found.category)
    return ValueCount(column, original, found or "", rows, found is not None)


def spread(values: Sequence[Any], codes: np.ndarray) -> np.ndarray:
    """Gives each row the value of its code.

    Args:
        values: One value for each code.
        codes: int64 `[n]`, codes from 0.

    Returns:
        Objects `[n]`.
    """
    array = np.empty(len(values), object)
    array[:] = values
    return array[codes]
