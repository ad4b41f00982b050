"""Exact figures on predictions, with intervals."""

import numpy as np
from sklearn.metrics import roc_auc_score

from isic_tf import bootstrap


def roc_auc(targets, scores):
    """Computes the area under the ROC curve exactly: the chance that a malignant image outranks a benign one.

    Ties count a half (Mann-Whitney). Thresholded approximations are not good enough: 200 thresholds read 0.840 where
    the area was 0.920.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, finite.

    Returns:
        Float in [0, 1]; NaN where there is one class only.
    """
    malignant, scores = np.asarray(targets) == 1, np.asarray(scores, np.float64)
    return outranking(scores[malignant], scores[~malignant])


def outranking(malignant, benign):
    """Computes the ROC AUC from the scores of either class, `[p]` and `[q]`; see `roc_auc`."""
    if not len(malignant) or not len(benign):
        return float("nan")
    # In order, both are looked up several times as fast.
    malignant, benign = np.sort(malignant), np.sort(benign)
    below = np.searchsorted(benign, malignant, "left") + np.searchsorted(benign, malignant, "right")
    return float(below.mean() / (2 * len(benign)))


def auc_interval(targets, scores, groups, resamples=1000, seed=0, level=0.95):
    """Computes a percentile bootstrap interval of the ROC AUC that resamples patients, not images.

    A patient's images are alike, so that resampling images would claim too much (cluster bootstrap: Field and Welsh,
    JRSS B 2007).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        groups: Patient of each image, any hashable values, `[n]`.
        resamples: Number of resamples; those without both classes are drawn but not used.
        seed: Seed of the resampling.
        level: Share of resamples inside the interval.

    Returns:
        (low, high); both None where over 5 % of the resamples lack a class, as with fewer than three patients of one.
    """
    aucs = bootstrap.resample(targets, scores, groups, {"auc": bootstrap.roc_auc}, resamples, seed)["auc"]
    return bootstrap.interval(aucs, level)


def partial_auc(targets, scores, min_sensitivity=0.8):
    """Computes the partial area under the ROC curve above a sensitivity, the metric of the ISIC 2024 challenge.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, finite.
        min_sensitivity: The sensitivity above which the area counts.

    Returns:
        Float from 0 to 1 - `min_sensitivity`; NaN where there is one class only.
    """
    targets, scores = np.asarray(targets), np.asarray(scores, np.float64)
    if len(set(targets)) < 2:
        return float("nan")
    # Seen from the other class, the least sensitivity is the greatest false positive rate.
    width = 1 - min_sensitivity
    scaled = roc_auc_score(1 - targets, -scores, max_fpr=width)
    # Undoes scikit-learn's scaling (McClish 1989) to 0.5 for chance and 1 for perfection.
    chance = width**2 / 2
    return float(chance + (width - chance) * (scaled - 0.5) / 0.5)


def score(table):
    """Gives the ROC AUC (`auc`) and the partial one (`partial_auc`) of predictions in a dict; nothing of none."""
    if table.empty:
        return {}
    columns = table["target"], table["prediction"]
    return {"auc": roc_auc(*columns), "partial_auc": partial_auc(*columns)}


def patients_of(table):
    """Names the patient of each image; an image of an unknown patient is a patient of its own."""
    return table["patient_id"].where(table["patient_id"] != "", "image " + table["image_name"])


def figures(table):
    """Counts images and computes the exact figures of their predictions.

    Args:
        table: DataFrame with `image_name`, `patient_id`, `target` and `prediction`.

    Returns:
        Dict of images, malignant, patients, auc and partial_auc.

    Raises:
        ValueError: There is one class only, or a prediction is no finite number.
    """
    targets, scores = table["target"].to_numpy(), table["prediction"].to_numpy()
    if not np.isfinite(scores).all():
        raise ValueError(f"expected finite predictions, {(~np.isfinite(scores)).sum()} of {len(scores)} are not")
    if len(set(targets)) < 2:
        raise ValueError(f"ROC AUC needs benign and malignant images, all {len(targets)} have target {targets[0]}")
    counts = {"images": len(table), "malignant": int(targets.sum()), "patients": int(patients_of(table).nunique())}
    return {**counts, "auc": roc_auc(targets, scores), "partial_auc": partial_auc(targets, scores)}


def summarize(table, resamples=1000, seed=0):
    """Summarizes predictions: counts, exact figures and the 95 % interval of the ROC AUC over patients.

    Args:
        table: See `figures`.
        resamples: Number of resamples for the interval.
        seed: Seed of the resampling.

    Returns:
        Dict like that of `figures`, with auc_low and auc_high.

    Raises:
        ValueError: See `figures`.
    """
    found = figures(table)
    low, high = auc_interval(table["target"], table["prediction"], patients_of(table), resamples, seed)
    return {**found, "auc_low": low, "auc_high": high}


def describe(summary):
    """Says in a line what `summarize` found."""
    interval = "(too few patients for an interval)"
    if summary["auc_low"] is not None:
        interval = f"[{summary['auc_low']:.4f}, {summary['auc_high']:.4f}] (95 % interval over patients)"
    counts = f"{summary['images']} images, {summary['malignant']} malignant, {summary['patients']} patients"
    return f"ROC AUC {summary['auc']:.4f} {interval}, {counts}"
