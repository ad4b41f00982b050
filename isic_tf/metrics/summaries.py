"""Summarizes predictions: counts, exact areas, and intervals over patients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.metrics import roc
from tfrecord_tools import errors


def score(table: pd.DataFrame) -> dict[str, float]:
    """Computes the ROC AUC (`auc`) and the partial ROC AUC (`partial_auc`) of predictions.

    Args:
        table: DataFrame with `target` and `prediction`.

    Returns:
        Dict of both, NaN where there is one class only; empty without predictions.
    """
    if table.empty:
        return {}
    targets = table["target"]
    predictions = table["prediction"]
    return {"auc": roc.roc_auc(targets, predictions), "partial_auc": roc.partial_roc_auc(targets, predictions)}


def group_by_patient(table: pd.DataFrame) -> pd.Series:
    """Returns the patient of each image; an image of an unknown patient is a patient of its own.

    Args:
        table: DataFrame with `image_name` and `patient_id` ("" where unknown).

    Returns:
        Series of text, `[n]`.
    """
    return table["patient_id"].where(table["patient_id"] != "", "image " + table["image_name"])


def figures(table: pd.DataFrame) -> dict[str, Any]:
    """Counts images and computes the exact areas of their predictions.

    Args:
        table: DataFrame with `image_name`, `patient_id`, `target` and `prediction`.

    Returns:
        Dict of images, malignant, patients, auc and partial_auc.

    Raises:
        IsicError: There is one class only, or a prediction is not finite.
    """
    targets = table["target"].to_numpy()
    scores = table["prediction"].to_numpy()
    if not np.isfinite(scores).all():
        raise errors.IsicError(
            f"expected finite predictions, {(~np.isfinite(scores)).sum()} of {len(scores)} are not; predict these "
            "images again, or remove them"
        )
    if len(set(targets)) < 2:
        raise errors.IsicError(
            f"ROC AUC needs benign and malignant images, all {len(targets)} have target {targets[0]}; evaluate images "
            "of both classes"
        )
    return {
        "images": len(table),
        "malignant": int(targets.sum()),
        "patients": int(group_by_patient(table).nunique()),
        "auc": roc.roc_auc(targets, scores),
        "partial_auc": roc.partial_roc_auc(targets, scores),
    }


def summarize(table: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Summarizes predictions: counts, exact areas and the 95 % interval of the ROC AUC over patients.

    Args:
        table: DataFrame with `image_name`, `patient_id` ("" where unknown), `target` (0 or 1) and `prediction`.
        resamples: Number of resamples for the interval.
        seed: Seed of the resampling.

    Returns:
        Dict of images, malignant, patients, auc, partial_auc, auc_low and auc_high (None where there are too few
        patients).

    Raises:
        IsicError: There is one class only, or a prediction is not finite.

    Examples:
        >>> table = pd.DataFrame({"image_name": list("abcd"), "patient_id": list("ppqr"), "target": [0, 1, 0, 1]})
        >>> summary = summarize(table.assign(prediction=[0.1, 0.4, 0.3, 0.2]))
        >>> summary["patients"], summary["auc"]
        (3, 0.75)
    """
    found = figures(table)
    low, high = roc.roc_auc_interval(table["target"], table["prediction"], group_by_patient(table), resamples, seed)
    return {**found, "auc_low": low, "auc_high": high}


def describe(summary: Mapping[str, Any]) -> str:
    """Formats a summary as one line.

    Args:
        summary: See `summarize`.

    Returns:
        Text without a line break.
    """
    interval = "(too few patients for an interval)"
    if summary["auc_low"] is not None:
        interval = f"[{summary['auc_low']:.4f}, {summary['auc_high']:.4f}] (95 % interval over patients)"
    counts = f"{summary['images']} images, {summary['malignant']} malignant, {summary['patients']} patients"
    return f"ROC AUC {summary['auc']:.4f} {interval}, {counts}"
