"""Lays out the figures of predictions for the HTML report and for notebooks; without TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from isic_tf.evaluation import svg_plots
from isic_tf.evaluation.unlike import unlike_images

# Classes with a curve of their own and a row of the confusion matrix in a report.
MOST_CLASSES = 40
# Points of the curve of risk against coverage: more of them cannot be told apart.
_MOST_POINTS = 400
# The error rate of fewer images is left out of it.
_FEWEST_IMAGES = 20


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


def plot_risk_coverage(assessment: Mapping[str, Any], table: pd.DataFrame) -> dict[str, Any] | None:
    """Lays out the error rate of the images that are kept, as the most unlike ones are left out.

    Args:
        assessment: See `evaluator.assess`.
        table: DataFrame of a prediction file with `target`, `prediction` and `unlike`.

    Returns:
        See `svg_plots.plot`; the guide is the error rate of all images, that of a random order. None where there is no
        value of `unlike`, or fewer than 20.
    """
    found = assessment.get("unlike")
    if not found or found["images"] < _FEWEST_IMAGES:
        return None
    coverage, risk = unlike_images.plot_points(table, assessment["confusion"]["threshold"])
    first = int(np.searchsorted(coverage, _FEWEST_IMAGES / found["images"]))
    chosen = np.unique(np.linspace(first, len(coverage) - 1, _MOST_POINTS).astype(int))
    coverage, risk = coverage[chosen], risk[chosen]
    ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(0, max(risk.max(), 0.01))
    x = svg_plots.Axis("coverage: share of the images kept", 0, 1, svg_plots.UNIT)
    y = svg_plots.Axis("error rate", 0, ticks[-1], {tick: f"{tick:.4g}" for tick in ticks})
    shapes = [
        {"kind": "line", "style": "guide", "x": [0, 1], "y": [risk[-1], risk[-1]]},
        {"kind": "line", "style": "curve series0", "x": coverage, "y": risk},
    ]
    return svg_plots.plot(x, y, "Risk against coverage: error rate of the least unlike images.", shapes)
