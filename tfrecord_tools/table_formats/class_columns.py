"""Reads one-hot columns: one column for each diagnosis, of which each row has at most one."""

import functools
from collections.abc import Mapping

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.table_formats import value_counts
from tfrecord_tools.table_formats.diagnoses import Diagnosis
from tfrecord_tools.table_formats.table_format import TableFormat
from tfrecord_tools.table_formats.value_counts import ValueCount

_SET = {"1", "1.0", "true", "yes", "x", "y"}
_NOT_SET = {"", "0", "0.0", "false", "no", "n", "-"}
_NO_CLASS = "(no class)"


def read_classes(
    path: str, text: Mapping[str, np.ndarray], num_rows: int, table_format: TableFormat
) -> tuple[np.ndarray, np.ndarray, list[ValueCount]]:
    """Returns the diagnosis of the class that is set in each row.

    Args:
        path: Name of the table in errors.
        text: Dict from column to its texts, with any of the columns of `table_format.classes`.
        num_rows: Number of rows.
        table_format: The format.

    Returns:
        A `Diagnosis` or "" `[n]`; the name of the class, `(no class)` where none is set and the format says what that
        stands for, or "" `[n]`; and how often each class is set.

    Raises:
        IsicError: Several classes of a row are set, or a value is neither 0 nor 1.
    """
    names = [name for name in table_format.classes if name in text]
    is_set = np.zeros((num_rows, len(names)), bool)
    # Where a class is blank or its column is absent, that no other is set says nothing.
    is_filled = np.full(num_rows, len(names) == len(table_format.classes))
    for place, name in enumerate(names):
        flags, _ = value_counts.translate(text[name], name, functools.partial(_read_flag, path, name))
        is_set[:, place] = flags == "1"
        is_filled &= text[name] != ""
    _refuse_several(path, names, is_set)
    rest = table_format.otherwise
    choices: list[tuple[str, Diagnosis | str]] = [(name, table_format.classes[name]) for name in names]
    choices += [("", ""), (_NO_CLASS if rest else "", rest or "")]
    chosen = is_set.argmax(axis=1) if names else np.zeros(num_rows, np.int64)
    codes = np.where(is_set.any(axis=1), chosen, len(names) + is_filled)
    counts = [
        value_counts.count_value("diagnosis", word, finding, int((codes == code).sum()))
        for code, (word, finding) in enumerate(choices)
        if word and (codes == code).any()
    ]
    found = value_counts.spread([finding for _, finding in choices], codes)
    return found, value_counts.spread([word for word, _ in choices], codes), counts


def _refuse_several(path: str, names: list[str], is_set: np.ndarray) -> None:
    several = is_set.sum(axis=1) > 1
    if several.any():
        row = int(np.argmax(several))
        chosen = ", ".join(name for name, flag in zip(names, is_set[row], strict=True) if flag)
        raise errors.IsicError(
            f"{path}: expected at most one class in each row, {int(several.sum())} have more (first: row {row + 1}, "
            f"{chosen}); correct them"
        )


def _read_flag(path: str, name: str, value: str) -> str:
    folded = value.casefold()
    if folded not in _SET | _NOT_SET:
        raise errors.IsicError(
            f"{path}: expected 0 or 1 in the column {name}, got {value!r}; correct it, or leave "
            "the table out if it holds predictions"
        )
    return "1" if folded in _SET else "0"
