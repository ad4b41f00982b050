"""Labels images by columns of the user's own table: classes of one column, or several columns of 0 and 1."""

import dataclasses

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns
from isic_tf.data import image_table
from isic_tf.data.targets.class_set import ClassSet, make_class_set, parse_target, split_names
from tfrecord_tools import errors, schema

_PREFIX = "class:"
_FLAGS = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
_MOST_LISTED = 20


@dataclasses.dataclass(frozen=True)
class _Texts:
    """The texts of the columns of a table for the images of some rows, and what errors say about them."""

    table: str
    columns: tuple[str, ...]
    names: pd.Series  # image names
    values: pd.DataFrame  # text, a column for each of the table

    def refuse(self, column: str, wrong: pd.Series, expected: str, remedy: str) -> None:
        """Refuses values, which are listed with their counts."""
        if not wrong.any():
            return
        counts = self.values.loc[wrong, column].value_counts()
        found = [
            f"{count} {value!r}" if value else f"{count} blank or not in the table" for value, count in counts.items()
        ]
        more = [f"and {len(found) - _MOST_LISTED} other values"] if len(found) > _MOST_LISTED else []
        raise errors.IsicError(
            f"{self.table}: expected {expected} in the column {column} for every image of the record sets, got "
            f"{', '.join(found[:_MOST_LISTED] + more)} (first: {self.names[wrong].iloc[0]}); {remedy}"
        )


def add_labels(
    rows: pd.DataFrame, table: str, target: str, classes: str = "", positive_classes: str = ""
) -> tuple[pd.DataFrame, ClassSet]:
    """Labels images by columns of a table.

    Args:
        rows: See `mixture.read_sets`. Images of the main sets that are in no fold, where others are, are never used and
            need no label.
        table: CSV file with `image_name` and the columns; it may list images of all sets, and others.
        target: `column:NAME` or `columns:A,B`, see `parse_target`.
        classes: Names of the classes of `column:NAME`; "" for the values of the main sets, sorted.
        positive_classes: See `make_class_set`.

    Returns:
        The rows with the labels that `label` returns, and with `target` (0 or 1) and `label` by the positive classes;
        `pseudo` is true, since these labels are not those of the records. And the classes.

    Raises:
        ConfigError: See `make_class_set`.
        IsicError: The table lacks a column, or an image has no value or another one.

    Examples:
        >>> import tempfile
        >>> rows = pd.DataFrame({"image_name": ["a", "b"], "source": "set", "extra": False, "fold": [0, 1]})
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image_name,dx", "a,nv", "b,mel", sep=chr(10), file=file, flush=True)
        ...     labeled, found = add_labels(rows, file.name, "column:dx")
        >>> labeled["target"].tolist(), found.names
        ([0, 1], ('mel', 'nv'))
    """
    kind, columns = parse_target(target)
    is_used = rows["extra"] | (rows["fold"] != schema.UNKNOWN)
    if not (is_used & ~rows["extra"]).any():
        is_used[:] = True
    used = rows[is_used]
    texts = _Texts(table, columns, used["image_name"], image_table.read_set_columns(table, used, columns))
    if kind == "columns":
        found = make_class_set(target, classes, positive_classes)
        labels = _read_flags(texts)
    else:
        names = split_names(classes) or _list_values(texts, ~used["extra"])
        found = make_class_set(target, ",".join(names), positive_classes)
        labels = _encode_classes(texts, found)
    positive = labels[:, list(found.places)].max(axis=1).astype(np.int64)
    added = pd.DataFrame(labels, used.index, list_columns(found)).assign(target=positive, label=positive.astype(float))
    rows = rows.drop(columns=["target", "label"], errors="ignore").join(added)
    rows = rows.fillna(dict.fromkeys(added, schema.UNKNOWN)).astype({"target": "int64"})
    return rows.assign(pseudo=True), found


def list_columns(classes: ClassSet) -> list[str]:
    """Returns the names of the columns of rows that hold the labels of classes, see `add_labels`."""
    return [f"{_PREFIX}{name}" for name in classes.names]


def _list_values(texts: _Texts, is_main: pd.Series) -> list[str]:
    """Returns the values of the images of the main sets, sorted."""
    (column,) = texts.columns
    found = sorted(set(texts.values.loc[is_main, column]) - {""})
    class_columns.check_names(found)
    return found


def _encode_classes(texts: _Texts, classes: ClassSet) -> np.ndarray:
    """Returns the one-hot classes of images, float32 `[n, classes]`."""
    (column,) = texts.columns
    places = {name: place for place, name in enumerate(classes.names)}
    codes = texts.values[column].map(places)
    texts.refuse(
        column,
        codes.isna(),
        f"one of the classes {', '.join(classes.names)}",
        "correct the table, name these values in --classes too, or leave these images out of the record sets",
    )
    return np.eye(len(places), dtype=np.float32)[codes.to_numpy(np.int64)]


def _read_flags(texts: _Texts) -> np.ndarray:
    """Returns the labels of images, 0 or 1, float32 `[n, columns]`."""
    found = []
    for column in texts.columns:
        flags = texts.values[column].map(_FLAGS)
        texts.refuse(column, flags.isna(), "0 or 1", "correct the table, or leave these images out of the record sets")
        found.append(flags.to_numpy(np.float32))
    return np.stack(found, axis=1)
