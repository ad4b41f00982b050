"""Finds the classes of prediction files, and which of them make the single prediction."""

import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns, prediction_sidecar
from isic_tf.data.targets import class_set
from isic_tf.evaluation import joined_tables
from isic_tf.postprocessing import challenge_predictions
from tfrecord_tools import errors
from tfrecord_tools.table_formats import raw_table

_LOG = logging.getLogger(__name__)

# Largest difference of a prediction that rounding in a file explains.
_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class PredictedClasses:
    """The classes of one or several prediction files.

    Attributes:
        names: Names of the classes in the order of the first file.
        positive: Those that the single prediction is of; none where neither the user nor a sidecar says so.
        multi_label: Whether a sidecar says that they do not exclude each other.
        target: What the network was trained on, see `class_set.parse_target`; "" where no sidecar says so.
    """

    names: tuple[str, ...]
    positive: tuple[str, ...]
    multi_label: bool
    target: str = ""


def list_classes(source: joined_tables.TableSource) -> list[str]:
    """Lists the classes of a prediction file.

    Args:
        source: CSV file or DataFrame.

    Returns:
        The names, see `class_columns.list_classes`, or those of a challenge's submission, see
        `challenge_predictions.list_classes`; an empty list where there is the single prediction only.

    Examples:
        >>> list_classes(pd.DataFrame(columns=["image_name", "prediction", "probability_MEL", "probability_NV"]))
        ['MEL', 'NV']
    """
    columns = list_columns(source)
    return class_columns.list_classes(pd.DataFrame(columns=columns)) or challenge_predictions.list_classes(columns)


def list_columns(source: joined_tables.TableSource) -> list[str]:
    """Returns the names of the columns of a CSV file or a DataFrame."""
    if isinstance(source, pd.DataFrame):
        return [str(name) for name in source.columns]
    return list(raw_table.read_raw(os.fspath(source)).header)


def find(
    sources: Sequence[joined_tables.TableSource], names: Sequence[str], positive_classes: Sequence[str] = ()
) -> PredictedClasses | None:
    """Finds the classes that all prediction files have; those without classes do not count.

    Args:
        sources: Prediction files or DataFrames.
        names: What these are called in messages.
        positive_classes: The classes that the single prediction is of; none for those of the sidecars.

    Returns:
        `PredictedClasses`; None where no file has classes.

    Raises:
        ConfigError: The files have different classes, or their single predictions are of different ones, or of others
            than those that are asked for.
    """
    found = {name: tuple(list_classes(source)) for source, name in zip(sources, names, strict=True)}
    with_classes = {name: classes for name, classes in found.items() if classes}
    if not with_classes:
        return None
    first, predicted = next(iter(with_classes.items()))
    for name, classes in with_classes.items():
        if set(classes) != set(predicted):
            raise errors.ConfigError(
                f"expected prediction files of the same classes, got {', '.join(predicted)} in {first} and "
                f"{', '.join(classes)} in {name}; evaluate one at a time"
            )
    class_columns.check_names(predicted)
    files = [
        os.fspath(source)
        for source, name in zip(sources, names, strict=True)
        if name in with_classes and not isinstance(source, pd.DataFrame)
    ]
    facts = {path: read for path in files if (read := prediction_sidecar.read_class_facts(path))}
    _check_facts(facts, predicted, positive_classes)
    known = next(iter(facts.values()), {})
    positive = tuple(positive_classes) or tuple(known.get("positive_classes", ()))
    return PredictedClasses(predicted, positive, known.get("multi_label", False), known.get("target", ""))


def _check_facts(facts: Mapping[str, Mapping[str, Any]], predicted: Sequence[str], asked: Sequence[str]) -> None:
    """Refuses sidecars that contradict their file, each other, or the classes that are asked for."""
    if not facts:
        return
    first, known = next(iter(facts.items()))
    for path, read in facts.items():
        if set(read["classes"]) != set(predicted):
            raise errors.ConfigError(
                f"expected {path}.json to name the classes {', '.join(predicted)} of its file, got "
                f"{', '.join(read['classes'])}; correct or remove it"
            )
        own = ", ".join(read["positive_classes"])
        if set(read["positive_classes"]) != set(known["positive_classes"]):
            raise errors.ConfigError(
                "expected prediction files whose single prediction is of the same classes, got "
                f"{', '.join(known['positive_classes'])} in {first} and {own} in {path}; evaluate one at a time"
            )
        if asked and {name.casefold() for name in asked} != {name.casefold() for name in read["positive_classes"]}:
            raise errors.ConfigError(
                f"expected --positive_classes={own.replace(', ', ',')}, the classes that the single prediction of "
                f"{path} is of ({path}.json), got {', '.join(asked)}; omit the option"
            )


def note_misfits(table: pd.DataFrame, name: str, classes: class_set.ClassSet) -> None:
    """Logs how many single predictions do not fit the probabilities of the classes; all are evaluated as they are.

    Args:
        table: DataFrame of a prediction file: `image_name`, `prediction` and perhaps `probability_CLASS`.
        name: What it is called in messages.
        classes: The classes.
    """
    if not class_columns.list_classes(table):
        return
    probabilities = table[class_columns.list_columns(classes.names)].to_numpy(np.float64)
    how = "the largest" if classes.multi_label else "the sum"
    of_positive = f"{how} of the probabilities of {', '.join(classes.positive)}"
    difference = np.abs(table["prediction"].to_numpy(np.float64) - classes.join(probabilities))
    _note(difference > _TOLERANCE, table, f"{name} have another prediction than {of_positive}")
    if not classes.multi_label:
        _note(
            ~class_columns.add_to_one(probabilities),
            table,
            f"{name} have probabilities of the classes that do not add up to 1",
        )


def _note(differs: np.ndarray, table: pd.DataFrame, text: str) -> None:
    if differs.any():
        first = table["image_name"].to_numpy()[differs.argmax()]
        _LOG.warning(f"note: {differs.sum()} of {len(table)} images of {text} (first: {first})")
