"""Lays out the figures of predictions for the HTML report and for notebooks; without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from isic_tf.evaluation import svg_plots

# Classes with a curve of their own and a row of the confusion matrix in a report.
MOST_CLASSES = 40


def plot_predictions(assessment: Mapping[str, Any], tables: Sequence[pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """Lays out the figures of predictions.

    Args:
        assessment: That of the first table, see `evaluator.assess`.
        tables: DataFrames with `target` and `prediction`, one per prediction file.

    Returns:
        Dict of `roc`, `precision_recall`, `reliability` and `histogram`, see `svg_plots.plot`; the first two show all
        tables, the last two the first.
    """
    curves = [(table["target"].to_numpy(), table["prediction"].to_numpy()) for table in tables]
    confusion = assessment["confusion"]
    sensitivity = confusion["sensitivity"]
    predictive_value = confusion["positive_predictive_value"]
    point = None if predictive_value is None else (predictive_value, sensitivity)
    return {
        "roc": svg_plots.roc(curves, (confusion["specificity"], sensitivity)),
        "precision_recall": svg_plots.precision_recall(curves, point),
        "reliability": svg_plots.reliability(
            assessment["calibration"]["bins"], with_intervals=not assessment["summary"]["interval_note"]
        ),
        "histogram": svg_plots.histogram(*curves[0], confusion["threshold"]),
    }


def plot_classes(assessment: Mapping[str, Any], table: pd.DataFrame) -> list[tuple[str, dict[str, Any] | None]]:
    """Lays out the ROC curve of each class against the rest.

    Args:
        assessment: See `evaluator.assess`.
        table: DataFrame of a prediction file with `truth_CLASS` (0 or 1) and `probability_CLASS`.

    Returns:
        List of the name of a class and its curve, see `svg_plots.plot`; None where it has no curve. An empty list
        where there are no classes, or too many to show.
    """
    rows = assessment.get("classes", {}).get("rows", [])
    if len(rows) > MOST_CLASSES:
        return []
    found: list[tuple[str, dict[str, Any] | None]] = []
    for row in rows:
        name = row["class"]
        if row["auc"] is None:
            found.append((name, None))
            continue
        curve = (table[f"truth_{name}"].to_numpy(), table[f"probability_{name}"].to_numpy())
        found.append((name, svg_plots.roc([curve], (row["specificity"], row["sensitivity"]))))
    return found
