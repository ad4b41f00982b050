"""DeLong's variance of the area under the ROC curve, and his test of two areas on the same images.

Images count as independent of each other, which a patient's images are not: the intervals are too narrow and the p
values too small where patients have many. The bootstrap over patients (`isic_tf.bootstrap`) has no such fault.
"""

import numpy as np
from scipy import stats

# Rounding leaves a trace of a variance that is none.
_ZERO = 1e-15


def components(targets, scores):
    """Computes the structural components of the ROC AUC in O(n log n) (Sun and Xu, IEEE SPL 2014).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.

    Returns:
        float64 `[malignant]`, the share of benign images that each malignant image outranks, ties a half; and
        `[benign]`, the share of malignant images that outrank each benign one. The mean of either is the AUC.
    """
    malignant = np.asarray(targets) == 1
    scores = np.asarray(scores, np.float64)
    pooled = stats.rankdata(scores)
    positive = pooled[malignant] - stats.rankdata(scores[malignant])
    negative = pooled[~malignant] - stats.rankdata(scores[~malignant])
    return positive / (~malignant).sum(), 1 - negative / malignant.sum()


def covariance(targets, scores):
    """Estimates the covariance of the ROC AUCs of several predictions (DeLong et al., Biometrics 1988).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float, one row a prediction, `[k, n]`.

    Returns:
        float64 `[k]`, the AUCs, and `[k, k]`; NaN where there are fewer than two images of a class.
    """
    positive, negative = (np.stack(part) for part in zip(*(components(targets, row) for row in scores), strict=True))
    if min(positive.shape[1], negative.shape[1]) < 2:
        return positive.mean(axis=1), np.full((len(scores), len(scores)), np.nan)
    parts = [np.atleast_2d(np.cov(part)) / part.shape[1] for part in (positive, negative)]
    return positive.mean(axis=1), sum(parts)


def interval(targets, scores, level=0.95):
    """Computes the interval of the ROC AUC by the normal distribution, cut to [0, 1].

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        level: Chance that such intervals hold the AUC, for independent images.

    Returns:
        (low, high); both None where the variance cannot be told: there are fewer than two images of a class, or the
        classes are apart.
    """
    (auc,), ((variance,),) = covariance(targets, [scores])
    if not variance > _ZERO:
        return None, None
    reach = stats.norm.ppf((1 + level) / 2) * np.sqrt(variance)
    return float(max(auc - reach, 0)), float(min(auc + reach, 1))


def compare(targets, first, second, level=0.95):
    """Tests whether two predictions of the same images have the same ROC AUC.

    Args:
        targets: 0 or 1, `[n]`.
        first: Float `[n]`.
        second: Float `[n]`.
        level: Chance that such intervals hold the difference, for independent images.

    Returns:
        Dict of `difference` (of the first AUC to the second), `low`, `high` and `p` (of two sides); the last three
        None where the two rank all pairs alike, or there are fewer than two images of a class.
    """
    (one, other), matrix = covariance(targets, [first, second])
    difference = float(one - other)
    variance = matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1]
    if not variance > _ZERO:
        return {"difference": difference} | dict.fromkeys(("low", "high", "p"))
    sigma = np.sqrt(variance)
    reach, p = stats.norm.ppf((1 + level) / 2) * sigma, 2 * stats.norm.sf(abs(difference) / sigma)
    return {
        "difference": difference,
        "low": float(difference - reach),
        "high": float(difference + reach),
        "p": float(p),
    }
