"""Summarizes predictions: counts, exact areas, and intervals over patients."""

import numpy as np

from isic_tf.metrics import roc
from tfrecord_tools import errors


def score(table):
    """Gives the ROC AUC (`auc`) and the partial one (`partial_auc`) of predictions in a dict; nothing of none."""
    if table.empty:
        return {}
    columns = table["target"], table["prediction"]
    return {"auc": roc.roc_auc(*columns), "partial_auc": roc.partial_roc_auc(*columns)}


def group_by_patient(table):
    """Names the patient of each image; an image of an unknown patient is a patient of its own."""
    return table["patient_id"].where(table["patient_id"] != "", "image " + table["image_name"])


def figures(table):
    """Counts images and computes the exact figures of their predictions.

    Args:
        table: DataFrame with `image_name`, `patient_id`, `target` and `prediction`.

    Returns:
        Dict of images, malignant, patients, auc and partial_auc.

    Raises:
        IsicError: There is one class only, or a prediction is no finite number.
    """
    targets, scores = table["target"].to_numpy(), table["prediction"].to_numpy()
    if not np.isfinite(scores).all():
        raise errors.IsicError(f"expected finite predictions, {(~np.isfinite(scores)).sum()} of {len(scores)} are not")
    if len(set(targets)) < 2:
        raise errors.IsicError(
            f"ROC AUC needs benign and malignant images, all {len(targets)} have target {targets[0]}"
        )
    counts = {"images": len(table), "malignant": int(targets.sum()), "patients": int(group_by_patient(table).nunique())}
    return {**counts, "auc": roc.roc_auc(targets, scores), "partial_auc": roc.partial_roc_auc(targets, scores)}


def summarize(table, resamples=1000, seed=0):
    """Summarizes predictions: counts, exact figures and the 95 % interval of the ROC AUC over patients.

    Args:
        table: See `figures`.
        resamples: Number of resamples for the interval.
        seed: Seed of the resampling.

    Returns:
        Dict like that of `figures`, with auc_low and auc_high.

    Raises:
        IsicError: See `figures`.
    """
    found = figures(table)
    low, high = roc.roc_auc_interval(table["target"], table["prediction"], group_by_patient(table), resamples, seed)
    return {**found, "auc_low": low, "auc_high": high}


def describe(summary):
    """Says in a line what `summarize` found."""
    interval = "(too few patients for an interval)"
    if summary["auc_low"] is not None:
        interval = f"[{summary['auc_low']:.4f}, {summary['auc_high']:.4f}] (95 % interval over patients)"
    counts = f"{summary['images']} images, {summary['malignant']} malignant, {summary['patients']} patients"
    return f"ROC AUC {summary['auc']:.4f} {interval}, {counts}"
