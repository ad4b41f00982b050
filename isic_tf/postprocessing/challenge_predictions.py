"""Reads predictions in the format of the ISIC challenges with several classes: `image`, then a column per class."""

import dataclasses
import logging
from collections.abc import Sequence

import pandas as pd

from isic_tf.artifacts import class_columns
from isic_tf.data.targets import class_set
from tfrecord_tools.io import column_names

_LOG = logging.getLogger(__name__)

# Columns that make a table a prediction file or a submission of the package.
_SINGLE = ("prediction", "target")


def list_classes(columns: Sequence[str]) -> list[str]:
    """Lists the classes of a challenge's submission by the names of its columns.

    Args:
        columns: Names of the columns of a table.

    Returns:
        The names besides the image name; an empty list where the table has a column for a single prediction or for
        `probability_CLASS`, where it names no images, or where there are fewer than two classes.

    Examples:
        >>> list_classes(["image", "MEL", "NV"]), list_classes(["image_name", "prediction", "MEL"])
        (['MEL', 'NV'], [])
    """
    known = {name: column_names.find_known(name) for name in columns}
    classes = [name for name, found in known.items() if found != "image_name"]
    is_own = any(found in _SINGLE for found in known.values()) or any(
        name.startswith(class_columns.PREFIX) for name in columns
    )
    return [] if is_own or len(classes) == len(columns) or len(classes) < 2 else classes


def to_predictions(table: pd.DataFrame, path: str, classes: class_set.ClassSet) -> pd.DataFrame:
    """Converts a challenge's submission to a prediction file.

    Args:
        table: DataFrame of text with `image_name` and a column for each class.
        path: What the table is called in messages.
        classes: The classes.

    Returns:
        DataFrame of `image_name`, `prediction` and `probability_CLASS` (float64). The prediction is the sum of the
        positive classes where the probabilities of every image add up to 1, else their maximum.

    Raises:
        IsicError: A probability is not a number from 0 to 1.

    Examples:
        >>> table = pd.DataFrame({"image_name": ["a"], "BCC": ["0.25"], "MEL": ["0.5"], "NV": ["0.25"]})
        >>> classes = class_set.ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL"))
        >>> to_predictions(table, "own.csv", classes)["prediction"].tolist()
        [0.75]
    """
    columns = class_columns.list_columns(classes.names)
    renamed = table[["image_name", *classes.names]].set_axis(["image_name", *columns], axis=1)
    probabilities = class_columns.select_probabilities(renamed, path)
    adds_to_one = bool(class_columns.add_to_one(probabilities).all()) and not classes.multi_label
    prediction = dataclasses.replace(classes, multi_label=not adds_to_one).join(probabilities).clip(0, 1)
    how = "the sum" if adds_to_one else "the maximum"
    _LOG.info(f"{path}: the single prediction is {how} of the probabilities of {', '.join(classes.positive)}")
    found = pd.DataFrame(probabilities, table.index, columns)
    found.insert(0, "prediction", prediction)
    found.insert(0, "image_name", table["image_name"])
    return found
