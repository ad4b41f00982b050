"""Selects what is evaluated: images, or lesions, the predictions of whose images are joined."""

import pandas as pd

from isic_tf.artifacts import class_columns
from isic_tf.evaluation import user_groups
from isic_tf.evaluation.classes import class_truth
from isic_tf.postprocessing import lesion_join
from tfrecord_tools import errors

LESION = "lesion"
UNITS = ("image", LESION)


def check(unit: str, join: str) -> None:
    """Checks the options that say what is evaluated; see `evaluate_predictions.evaluate`.

    Raises:
        ConfigError: The unit or the way to join is not one of the choices, or images are not to be joined.
    """
    if unit not in UNITS:
        raise errors.ConfigError(f"expected unit to be one of {', '.join(UNITS)}, got {unit!r}")
    if join not in lesion_join.JOINS:
        raise errors.ConfigError(f"expected join to be one of {', '.join(lesion_join.JOINS)}, got {join!r}")
    if unit != LESION and join != lesion_join.JOINS[0]:
        raise errors.ConfigError(f"expected join={join} with unit=lesion, got unit={unit}; add --unit=lesion")


def select(table: pd.DataFrame, unit: str, join: str) -> pd.DataFrame:
    """Selects what is evaluated: the images that a challenge scores, each or joined by lesion.

    Args:
        table: See `joined_tables.join`.
        unit: See `evaluate_predictions.evaluate`.
        join: See `evaluate_predictions.evaluate`.

    Returns:
        DataFrame with the columns of the table.

    Raises:
        IsicError: No image has a lesion, or the images of a lesion have different targets, classes or groups.
    """
    if class_truth.SCORED in table:
        table = table[table[class_truth.SCORED]].drop(columns=class_truth.SCORED).reset_index(drop=True)
    if unit != LESION:
        return table
    predicted = ["prediction", *class_columns.list_columns(class_columns.list_classes(table))]
    # A lesion is in one group and of one class.
    equal = [name for name in table if name.startswith((class_truth.PREFIX, user_groups.PREFIX))]
    joined = [name for name in (*predicted, "stage_one") if name in table]
    return lesion_join.join_lesions(table, joined, join, equal=["target", *equal])
