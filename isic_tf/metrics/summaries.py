"""Summarizes predictions: counts, exact areas, and intervals over patients."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, roc
from tfrecord_tools import errors
from tfrecord_tools.io import identity


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
    """Returns the patient of each image: that of another image of its lesion, its lesion or itself where it is unknown.

    Args:
        table: DataFrame with `image_name`, `patient_id` and perhaps `lesion_id` (text in any spelling; "" or a word
            such as `unknown` where unknown).

    Returns:
        Series of text, `[n]`, equal for images of one patient.

    Examples:
        >>> table = {"image_name": list("abcd"), "patient_id": ["p", "", "", ""], "lesion_id": ["l", "l", "m", ""]}
        >>> group_by_patient(pd.DataFrame(table)).tolist()
        ['p', 'p', 'lesion m', 'image d']
    """
    # One key for all spellings of a patient, and none for a word such as `unknown`.
    patients = identity.person_keys(table["patient_id"])
    unknown = patients == ""
    if not unknown.any():
        return patients
    others = "image " + table["image_name"]
    if "lesion_id" in table:
        lesions = identity.lesion_keys(table)
        patients_of_lesions = patients.replace("", None).groupby(lesions).transform("first")
        others = others.where(lesions == "", patients_of_lesions.fillna("lesion " + lesions))
    return patients.where(~unknown, others)


def figures(table: pd.DataFrame, patients: pd.Series | np.ndarray | None = None) -> dict[str, Any]:
    """Counts images and computes the exact areas of their predictions.

    Args:
        table: DataFrame with `image_name`, `patient_id`, `target` and `prediction`.
        patients: Patient of each image `[n]`; None for those of `group_by_patient`.

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
    if len(np.unique(targets)) < 2:
        raise errors.IsicError(
            f"ROC AUC needs benign and malignant images, all {len(targets)} have target {targets[0]}; evaluate images "
            "of both classes"
        )
    return {
        "images": len(table),
        "malignant": int(targets.sum()),
        "patients": len(pd.unique(group_by_patient(table) if patients is None else patients)),
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
        patients), and interval_note ("", or why there is no interval).

    Raises:
        IsicError: There is one class only, or a prediction is not finite.

    Examples:
        >>> table = pd.DataFrame({"image_name": list("abcd"), "patient_id": list("ppqr"), "target": [0, 1, 0, 1]})
        >>> summary = summarize(table.assign(prediction=[0.1, 0.4, 0.3, 0.2]))
        >>> summary["patients"], summary["auc"]
        (3, 0.75)
    """
    patients = group_by_patient(table)
    found = figures(table, patients)
    low, high = roc.roc_auc_interval(table["target"], table["prediction"], patients, resamples, seed)
    note = cluster_bootstrap.describe_too_few(table["target"], patients)
    return {**found, "auc_low": low, "auc_high": high, "interval_note": note}


def describe(summary: Mapping[str, Any], positive: str = "malignant") -> str:
    """Formats a summary as one line.

    Args:
        summary: See `summarize`.
        positive: What images of target 1 are called.

    Returns:
        Text without a line break.
    """
    # Metrics of release 0.1 have no note.
    interval = f"({summary.get('interval_note') or 'no interval: too few patients'})"
    if summary["auc_low"] is not None:
        interval = f"[{summary['auc_low']:.4f}, {summary['auc_high']:.4f}] (95 % interval over patients)"
    counts = f"{summary['images']} images, {summary['malignant']} {positive}, {summary['patients']} patients"
    return f"ROC AUC {summary['auc']:.4f} {interval}, {counts}"
