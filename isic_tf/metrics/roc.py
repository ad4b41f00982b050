"""Exact ROC AUC, partial ROC AUC, and a bootstrap interval over patients."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from isic_tf.metrics import cluster_bootstrap


def roc_auc(targets: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """Computes the exact area under the ROC curve: the probability that a malignant image outranks a benign one.

    Ties count one half (Mann-Whitney). Approximations by thresholds are not good enough: 200 thresholds gave 0.840
    where the area was 0.920.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, finite.

    Returns:
        Float in [0, 1]; NaN where there is one class only.

    Examples:
        >>> roc_auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    malignant = np.asarray(targets) == 1
    values = np.asarray(scores, np.float64)
    return roc_auc_of_classes(values[malignant], values[~malignant])


def roc_auc_of_classes(malignant: np.ndarray, benign: np.ndarray) -> float:
    """Computes the ROC AUC from the scores of each class.

    Args:
        malignant: Float `[p]`, finite.
        benign: Float `[q]`, finite.

    Returns:
        Float in [0, 1]; NaN where a class has no images.
    """
    if not len(malignant) or not len(benign):
        return float("nan")
    # Lookups in sorted arrays, of sorted values, are several times as fast.
    malignant = np.sort(malignant)
    benign = np.sort(benign)
    below = np.searchsorted(benign, malignant, "left") + np.searchsorted(benign, malignant, "right")
    return float(below.mean() / (2 * len(benign)))


def roc_auc_interval(
    targets: npt.ArrayLike,
    scores: npt.ArrayLike,
    groups: Sequence[Hashable] | np.ndarray | pd.Series,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float | None, float | None]:
    """Computes a percentile bootstrap interval of the ROC AUC that resamples patients, not images.

    A patient's images are alike, so that resampling images would give too narrow an interval (cluster bootstrap: Field
    and Welsh, JRSS B 2007).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        groups: Patient of each image, any hashable values, `[n]`.
        resamples: Number of resamples; those without both classes are not used.
        seed: Seed of the resampling.
        level: Fraction of resamples inside the interval.

    Returns:
        (low, high); both None where there are too few patients, see `cluster_bootstrap.describe_too_few`.

    Examples:
        >>> targets = [0, 1] * 50
        >>> scores = [0.1 * (number % 7) + 0.2 * target for number, target in enumerate(targets)]
        >>> low, high = roc_auc_interval(targets, scores, groups=[number // 5 for number in range(100)])
        >>> low < roc_auc(targets, scores) < high
        True
    """
    figures = {"auc": cluster_bootstrap.roc_auc}
    resampled = cluster_bootstrap.resample(np.asarray(targets), np.asarray(scores), groups, figures, resamples, seed)
    return cluster_bootstrap.interval(resampled["auc"], level)


def partial_roc_auc(targets: npt.ArrayLike, scores: npt.ArrayLike, min_sensitivity: float = 0.8) -> float:
    """Computes the partial area under the ROC curve above a sensitivity, the metric of the ISIC 2024 challenge.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, finite.
        min_sensitivity: The sensitivity above which the area counts.

    Returns:
        Float from 0 to 1 - `min_sensitivity`; NaN where there is one class only.

    Examples:
        >>> round(partial_roc_auc([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]), 3)
        0.2
    """
    classes = np.asarray(targets)
    values = np.asarray(scores, np.float64)
    if len(np.unique(classes)) < 2:
        return float("nan")
    # With the classes exchanged, the minimum sensitivity is the maximum false positive rate.
    width = 1 - min_sensitivity
    # Most users of this module need no scikit-learn, whose import takes a quarter of a second.
    from sklearn.metrics import roc_auc_score

    scaled = roc_auc_score(1 - classes, -values, max_fpr=width)
    # Undoes scikit-learn's scaling (McClish 1989) to 0.5 for a random ranking and 1 for a perfect one.
    random = width**2 / 2
    return float(random + (width - random) * (scaled - 0.5) / 0.5)
