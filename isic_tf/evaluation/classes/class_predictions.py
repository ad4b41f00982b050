"""Reads the probabilities of classes from prediction files, and from submissions in the challenges' format."""

import os

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns
from isic_tf.data.targets import class_set
from isic_tf.evaluation import joined_tables
from isic_tf.evaluation.classes import class_truth, predicted_classes
from isic_tf.metrics import class_metrics
from isic_tf.postprocessing import challenge_predictions
from tfrecord_tools.io import csv_tables


def convert_source(
    source: joined_tables.TableSource, name: str, truth: class_truth.ClassTruth | None
) -> joined_tables.TableSource:
    """Converts a challenge's submission to the table of a prediction file; returns any other source as it is.

    Args:
        source: Prediction file or DataFrame.
        name: What it is called in messages.
        truth: The true classes, or None.

    Returns:
        The source, or a DataFrame, see `challenge_predictions.to_predictions`.

    Raises:
        IsicError: The file is damaged, or a probability is not a number from 0 to 1.

    Examples:
        >>> labels = pd.DataFrame({"image": ["a", "b"], "MEL": [1, 0], "NV": [0, 1]})
        >>> submission = pd.DataFrame({"image": ["a", "b"], "MEL": [0.75, 0.5], "NV": [0.25, 0.5]})
        >>> truth = class_truth.find([submission], ["own"], labels, positive_classes=["MEL"])
        >>> list(convert_source(submission, "own", truth))
        ['image_name', 'prediction', 'probability_MEL', 'probability_NV']
    """
    if truth is None or not challenge_predictions.list_classes(predicted_classes.list_columns(source)):
        return source
    if isinstance(source, pd.DataFrame):
        table = csv_tables.check_table(name, joined_tables.to_text(source), ("image_name",))
    else:
        table = csv_tables.read_table(os.fspath(source), ("image_name",))
    return challenge_predictions.to_predictions(table, name, truth.classes)


def select_predictions(table: pd.DataFrame, classes: class_set.ClassSet) -> class_metrics.ClassPredictions | None:
    """Selects the probabilities and the true classes of an evaluated table.

    Args:
        table: DataFrame with `patient` (number), the columns of `ClassTruth.labels`, and perhaps `probability_CLASS`.
        classes: The classes.

    Returns:
        `ClassPredictions` with the classes in the order of the table; None where it has no probabilities of classes.

    Examples:
        >>> table = pd.DataFrame({"patient": [0], "truth_A": [1], "probability_A": [0.75]})
        >>> select_predictions(table, class_set.ClassSet(("A",), ("A",), multi_label=True)).truth.tolist()
        [[True]]
    """
    names = class_columns.list_classes(table)
    if not names:
        return None
    truth = table[[f"{class_truth.PREFIX}{name}" for name in names]].to_numpy() == 1
    probabilities = table[class_columns.list_columns(names)].to_numpy(np.float64)
    return class_metrics.ClassPredictions(names, truth, probabilities, table["patient"].to_numpy(), classes.multi_label)
