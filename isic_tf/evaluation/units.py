"""Selects what is evaluated: files of the same images; images, or lesions, whose images' predictions are joined."""

import os
from collections.abc import Sequence

import pandas as pd

from isic_tf.artifacts import class_columns, prediction_files
from isic_tf.evaluation import joined_tables, user_groups
from isic_tf.evaluation.classes import class_truth
from isic_tf.evaluation.config import LESION
from isic_tf.postprocessing import lesion_join
from tfrecord_tools import errors


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
    joined = [name for name in (*predicted, "stage_one", prediction_files.UNLIKE) if name in table]
    return lesion_join.join_lesions(table, joined, join, equal=["target", *equal])


def name_sources(predictions: Sequence[joined_tables.TableSource]) -> list[str]:
    """Names each prediction table: a file by its path, a DataFrame `predictions`, `predictions 2` and so on."""
    names = []
    for number, source in enumerate(predictions, start=1):
        if isinstance(source, pd.DataFrame):
            names.append("predictions" if number == 1 else f"predictions {number}")
        else:
            names.append(os.fspath(source))
    return names


def refuse_other_images(paths: Sequence[str], tables: Sequence[pd.DataFrame]) -> None:
    """Refuses prediction files of different images: their difference would be that of the images.

    Args:
        paths: Names for the message.
        tables: DataFrames in order of `image_name`.

    Raises:
        IsicError: A table has other names than the first.
    """
    first = pd.Index(tables[0]["image_name"])
    for path, table in zip(paths[1:], tables[1:], strict=True):
        names = pd.Index(table["image_name"])
        only = {paths[0]: first[~first.isin(names)], path: names[~names.isin(first)]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in only.items() if len(own)]
        if texts:
            raise errors.IsicError(
                f"files can be compared on the same images only: {'; '.join(texts)}; evaluate one at a time"
            )
