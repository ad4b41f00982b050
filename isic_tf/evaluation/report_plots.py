"""Lays out the figures of predictions for the HTML report and for notebooks; without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from isic_tf.evaluation import svg_plots


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
