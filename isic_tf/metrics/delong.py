"""DeLong's variance of the area under the ROC curve, and his test of two areas on the same images.

Images count as independent of each other, which a patient's images are not: the intervals are too narrow and the
p-values too small where patients have many. `cluster_bootstrap` resamples patients instead.
"""

from collections.abc import Sequence

import numpy as np
from scipy import stats

# Rounding leaves a trace of a variance of zero.
_ZERO = 1e-15


def components(targets: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the structural components of the ROC AUC in O(n log n) (Sun and Xu, IEEE SPL 2014).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.

    Returns:
        float64 `[malignant]`, the fraction of benign images that each malignant image outranks, ties one half; and
        `[benign]`, the fraction of malignant images that outrank each benign one. The mean of either is the AUC.
    """
    malignant = np.asarray(targets) == 1
    scores = np.asarray(scores, np.float64)
    ranks = stats.rankdata(scores)
    positive = ranks[malignant] - stats.rankdata(scores[malignant])
    negative = ranks[~malignant] - stats.rankdata(scores[~malignant])
    return positive / (~malignant).sum(), 1 - negative / malignant.sum()


def covariance(targets: np.ndarray, scores: Sequence[np.ndarray] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Estimates the covariance of the ROC AUCs of several predictions (DeLong et al., Biometrics 1988).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float, one row per prediction file, `[k, n]`.

    Returns:
        float64 `[k]`, the AUCs, and `[k, k]`; NaN where there are fewer than two images of a class.
    """
    of_rows = [components(targets, row) for row in scores]
    positive = np.stack([of_malignant for of_malignant, _ in of_rows])
    negative = np.stack([of_benign for _, of_benign in of_rows])
    aucs = positive.mean(axis=1)
    if min(positive.shape[1], negative.shape[1]) < 2:
        return aucs, np.full((len(scores), len(scores)), np.nan)
    of_malignant = np.atleast_2d(np.cov(positive)) / positive.shape[1]
    of_benign = np.atleast_2d(np.cov(negative)) / negative.shape[1]
    return aucs, of_malignant + of_benign


def interval(targets: np.ndarray, scores: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """Computes the normal-approximation interval of the ROC AUC, clipped to [0, 1].

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        level: Probability that such intervals contain the AUC, for independent images.

    Returns:
        (low, high); both None where the variance cannot be estimated: there are fewer than two images of a class, or
        the classes are perfectly separated.
    """
    (auc,), ((variance,),) = covariance(targets, [scores])
    if not variance > _ZERO:
        return None, None
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
    return float(max(auc - reach, 0)), float(min(auc + reach, 1))


def compare(targets: np.ndarray, first: np.ndarray, second: np.ndarray, level: float = 0.95) -> dict[str, float | None]:
    """Tests whether two predictions of the same images have the same ROC AUC.

    Args:
        targets: 0 or 1, `[n]`.
        first: Float `[n]`.
        second: Float `[n]`.
        level: Probability that such intervals contain the difference, for independent images.

    Returns:
        Dict of `difference` (the first AUC minus the second), `low`, `high` and `p` (two-sided); the last three are
        None where both rank all pairs alike, or there are fewer than two images of a class.
    """
    (first_auc, second_auc), matrix = covariance(targets, [first, second])
    difference = float(first_auc - second_auc)
    variance = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    if not variance > _ZERO:
        return {"difference": difference, "low": None, "high": None, "p": None}
    sigma = np.sqrt(variance)
    reach = stats.norm.ppf((1 + level) / 2) * sigma
    return {
        "difference": difference,
        "low": float(difference - reach),
        "high": float(difference + reach),
        "p": float(2 * stats.norm.sf(abs(difference) / sigma)),
    }
