"""The columns of prediction files that hold the probability of each class, beside the single prediction."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import table_checks
from tfrecord_tools import errors

PREFIX = "probability_"
# Largest difference from 1 that the sum of the probabilities of an image may have, after rounding in a file.
_SUM_TOLERANCE = 1e-3
_MOST_CLASSES = 1000
_MOST_CHARACTERS = 100


def list_classes(table: pd.DataFrame) -> list[str]:
    """Lists the classes of a table of predictions.

    Args:
        table: DataFrame with any columns.

    Returns:
        Names of the classes in the order of their columns; an empty list where predictions are of one class.

    Examples:
        >>> list_classes(pd.DataFrame(columns=["image_name", "prediction", "probability_MEL", "probability_NV"]))
        ['MEL', 'NV']
    """
    return [str(name).removeprefix(PREFIX) for name in table.columns if str(name).startswith(PREFIX)]


def list_columns(classes: Sequence[str]) -> list[str]:
    """Returns the names of the columns that hold the probabilities of classes.

    Args:
        classes: Names of the classes.

    Returns:
        Names of the columns, in the same order.

    Examples:
        >>> list_columns(["MEL", "NV"])
        ['probability_MEL', 'probability_NV']
    """
    return [f"{PREFIX}{name}" for name in classes]


def select_probabilities(table: pd.DataFrame, path: str = "the predictions", adds_to_one: bool = False) -> np.ndarray:
    """Selects the probabilities of all classes.

    Args:
        table: DataFrame with `image_name`, and a column for each class, numbers or text.
        path: What the table is called in errors.
        adds_to_one: Whether the probabilities of an image must add up to 1, as those of a softmax do.

    Returns:
        float64 `[n, classes]`, from 0 to 1; `[n, 0]` where the table has no classes.

    Raises:
        IsicError: A probability is not a number from 0 to 1, or those of an image do not add up to 1.

    Examples:
        >>> table = pd.DataFrame({"image_name": ["a"], "probability_MEL": ["0.25"], "probability_NV": [0.75]})
        >>> select_probabilities(table)
        array([[0.25, 0.75]])
    """
    columns = list_columns(list_classes(table))
    if not columns:
        return np.zeros((len(table), 0))
    numbers = [pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in columns]
    for name, values in zip(columns, numbers, strict=True):
        problem = table_checks.describe_invalid_probabilities(values, table["image_name"].tolist(), f"values of {name}")
        if problem:
            raise errors.IsicError(f"{path}: {problem}; correct these rows, or predict the images again")
    probabilities = np.stack(numbers, axis=1)
    wrong = ~add_to_one(probabilities)
    if adds_to_one and wrong.any():
        row = int(wrong.argmax())
        raise errors.IsicError(
            f"{path}: expected probabilities of the classes {', '.join(list_classes(table))} that add up to 1, those "
            f"of {wrong.sum()} images do not (first: {table['image_name'].iloc[row]}, {probabilities[row].sum():.4f}); "
            "predict the images again"
        )
    return probabilities


def add_to_one(probabilities: np.ndarray) -> np.ndarray:
    """Returns which images' probabilities add up to 1, up to what rounding in a file explains.

    Args:
        probabilities: float `[n, classes]`.

    Returns:
        bool `[n]`.

    Examples:
        >>> add_to_one(np.array([[0.25, 0.75], [0.25, 0.5]]))
        array([ True, False])
    """
    fits: np.ndarray = np.abs(probabilities.sum(axis=1) - 1) <= _SUM_TOLERANCE
    return fits


def check_names(names: Sequence[str]) -> None:
    """Checks that names can stand for classes in flags, files and the names of columns.

    Args:
        names: Names of the classes.

    Raises:
        ConfigError: There are fewer than one or too many, or one is empty, occurs twice, is too long, or has a comma or
            a control character.

    Examples:
        >>> check_names(["MEL", "basal cell carcinoma"])
    """
    if not 0 < len(names) <= _MOST_CLASSES:
        raise errors.ConfigError(f"expected 1 to {_MOST_CLASSES} classes, got {len(names)}; group rare values first")
    for name in names:
        is_bad = (
            not name or name != name.strip() or len(name) > _MOST_CHARACTERS or "," in name or not name.isprintable()
        )
        if is_bad:
            raise errors.ConfigError(
                f"expected names of classes of 1 to {_MOST_CHARACTERS} characters without commas and control "
                f"characters, got {name[:_MOST_CHARACTERS]!r}; rename it in the table"
            )
    folded = [name.casefold() for name in names]
    repeated = sorted({name for name in names if folded.count(name.casefold()) > 1})
    if repeated:
        raise errors.ConfigError(
            f"expected classes of different names, whatever the case of letters, got {', '.join(repeated)}; spell each "
            "in one way"
        )
