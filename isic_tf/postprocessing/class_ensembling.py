"""Combines the probabilities of several classes that several prediction files hold."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from isic_tf.artifacts import class_columns, prediction_files, prediction_sidecar, table_checks
from isic_tf.data.targets import class_set
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables
from tfrecord_tools.table_formats import raw_table

# Methods whose formula is a mean of probabilities, so that those of a softmax still add up to 1.
METHODS = ("mean", "weighted", "greedy")
_REMEDY = "or combine only the single prediction with --classes=drop"


def find_classes(paths: Sequence[str], method: str) -> class_set.ClassSet | None:
    """Finds the classes that all prediction files have.

    Args:
        paths: Prediction files, `[files]`.
        method: How they are combined, see `ensembling`.

    Returns:
        The classes in the order of the first file, without positive ones where no sidecar names them; None where no
        file has classes.

    Raises:
        ConfigError: The files have different classes, or the method is not one of `METHODS`.
        CorruptRecordError: A sidecar is damaged.
    """
    if not have_classes(paths):
        return None
    found = {path: class_columns.list_classes(_read_header(path)) for path in paths}
    first, names = next(iter(found.items()))
    for path, classes in found.items():
        if set(classes) != set(names):
            raise errors.ConfigError(
                f"expected files of the same classes, got {', '.join(names) or 'none'} in {first} and "
                f"{', '.join(classes) or 'none'} in {path}; give files of the same classes, {_REMEDY}"
            )
    class_columns.check_names(names)
    if method not in METHODS:
        raise errors.ConfigError(
            f"expected --method to be one of {', '.join(METHODS)} for files of several classes such as {first}, got "
            f"{method}, which is defined for a single prediction; choose another, {_REMEDY}"
        )
    return _read_facts(paths, names)


def have_classes(paths: Sequence[str]) -> bool:
    """Returns whether any of several prediction files has probabilities of classes."""
    return any(class_columns.list_classes(_read_header(path)) for path in paths)


def _read_header(path: str) -> pd.DataFrame:
    return pd.DataFrame(columns=list(raw_table.read_raw(path).header))


def _read_facts(paths: Sequence[str], names: Sequence[str]) -> class_set.ClassSet:
    """Returns the classes with the positive ones, on which all sidecars that name some agree."""
    known: dict[str, class_set.ClassSet] = {}
    for path in paths:
        facts = prediction_sidecar.read_class_facts(path)
        if not facts:
            continue
        if set(facts["classes"]) != set(names):
            raise errors.ConfigError(
                f"expected {path}.json to name the classes {', '.join(names)} of its file, got "
                f"{', '.join(facts['classes'])}; correct or remove it"
            )
        positive = tuple(name for name in names if name in facts["positive_classes"])
        known[path] = class_set.ClassSet(tuple(names), positive, facts["multi_label"])
    if not known:
        return class_set.ClassSet(tuple(names))
    first, classes = next(iter(known.items()))
    for path, other in known.items():
        if other != classes:
            raise errors.ConfigError(
                f"expected files with the same positive classes, got {_describe(classes)} in {first} and "
                f"{_describe(other)} in {path}; give files of runs with the same --positive_classes, {_REMEDY}"
            )
    return classes


def _describe(classes: class_set.ClassSet) -> str:
    kind = "several labels" if classes.multi_label else "one label"
    return f"{', '.join(classes.positive) or 'none'} ({kind} an image)"


def read_probabilities(paths: Sequence[str], image_names: Sequence[str], classes: class_set.ClassSet) -> np.ndarray:
    """Reads the probabilities of classes of prediction files.

    Args:
        paths: Prediction files that hold all images, `[files]`.
        image_names: Names of the images in the spelling of the first file, `[n]`.
        classes: See `find_classes`.

    Returns:
        float64 `[n, files, classes]`, from 0 to 1.

    Raises:
        IsicError: A probability is not a number from 0 to 1, or those of an image do not add up to 1 though a sidecar
            says that the classes exclude each other.
    """
    # Without a sidecar the classes have no positive ones, and it is open whether they exclude each other.
    adds_to_one = bool(classes.positive) and not classes.multi_label
    wanted = pd.DataFrame({"image_name": pd.Series(image_names, dtype=object)})
    columns = class_columns.list_columns(classes.names)
    read = []
    for path in paths:
        table = csv_tables.read_table(path, ("image_name", *columns))[["image_name", *columns]]
        (_, joined), _ = prediction_files.join_by_name([paths[0], path], [wanted, table], "inner")
        read.append(class_columns.select_probabilities(joined, path, adds_to_one))
    return np.stack(read, axis=1)


def combine(
    probabilities: npt.ArrayLike,
    classes: class_set.ClassSet,
    single: npt.ArrayLike,
    weights: np.ndarray | None = None,
) -> pd.DataFrame:
    """Averages the probabilities of each class.

    Args:
        probabilities: Float `[n, files, classes]`, from 0 to 1.
        classes: See `find_classes`.
        single: The combined single predictions, float `[n]`, for classes of which it is open which are positive.
        weights: Weight of each file, float `[files]`, with the sum 1; None for the plain mean.

    Returns:
        DataFrame of `prediction`, that of the averaged positive classes (of a softmax their sum, of several labels
        the largest), and `probability_CLASS`, all float64.

    Examples:
        >>> classes = class_set.ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL"))
        >>> combine([[[0.25, 0.25, 0.5], [0.75, 0.25, 0.0]]], classes, [0.0]).values.tolist()
        [[0.75, 0.5, 0.25, 0.25]]
    """
    means = np.clip(np.average(np.asarray(probabilities, np.float64), axis=1, weights=weights), 0, 1)
    prediction = np.asarray(single, np.float64)
    if classes.positive:
        prediction = classes.join(means).clip(0, 1)
    table = pd.DataFrame(means, columns=class_columns.list_columns(classes.names))
    table.insert(0, "prediction", prediction)
    return table


def describe_unknown_positive(paths: Sequence[str]) -> str:
    """Returns the note on files whose sidecars do not say which classes are positive."""
    return (
        f"note: no file {table_checks.list_first([f'{path}.json' for path in paths])} says which classes are positive; "
        "prediction is the combination of the predictions of the files"
    )
