"""Chooses thresholds and computes confusion matrices: an image at or above the threshold is called malignant."""

import decimal
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from isic_tf.metrics import cluster_bootstrap

LEVELS = (0.9, 0.95, 0.99)
# Counts of resamples are integers, fractions of them are not.
_ROUNDING = 1e-9


def sensitivity_at(counts: cluster_bootstrap.Counts, level: float) -> np.ndarray:
    """Computes the highest sensitivity of the thresholds with a minimum specificity.

    Args:
        counts: `cluster_bootstrap.Counts`.
        level: Minimum specificity, above 0.

    Returns:
        float64 `[r]`; NaN where a class is missing.
    """
    place = cluster_bootstrap.first_to_reach(counts.spared, level * counts.benign - _ROUNDING)
    # The lowest threshold is just above that place.
    return 1 - _at(counts.missed, place) / counts.malignant


def specificity_at(counts: cluster_bootstrap.Counts, level: float) -> np.ndarray:
    """Computes the highest specificity of the thresholds with a minimum sensitivity.

    Args:
        counts: `cluster_bootstrap.Counts`.
        level: Minimum sensitivity, above 0.

    Returns:
        float64 `[r]`; NaN where a class is missing.
    """
    allowed = (1 - level) * counts.malignant + _ROUNDING
    place = cluster_bootstrap.first_to_reach(counts.missed, np.nextafter(allowed, np.inf))
    # The highest threshold is at that place, whose malignant images would be one too many to miss.
    return (_at(counts.spared, place) - _at(counts.negative, place)) / counts.benign


def _at(numbers: np.ndarray, place: np.ndarray) -> np.ndarray:
    return np.take_along_axis(numbers, place[np.newaxis], axis=0)[0]


def figures() -> dict[tuple[str, float], cluster_bootstrap.Metric]:
    """Returns the functions of all operating points for `cluster_bootstrap.resample`, by (what is fixed, level)."""
    kinds: dict[str, Any] = {"specificity": sensitivity_at, "sensitivity": specificity_at}
    return {(kind, level): functools.partial(kinds[kind], level=level) for kind in kinds for level in LEVELS}


def find(counted: tuple[cluster_bootstrap.Counts, np.ndarray], held: str, level: float) -> float | None:
    """Finds the threshold with a minimum specificity or sensitivity and the most of the other.

    Args:
        counted: See `cluster_bootstrap.count`.
        held: What has the minimum: `specificity` or `sensitivity`.
        level: The minimum.

    Returns:
        The threshold, always the prediction of a malignant image; None where even the highest of them has too little
        specificity.
    """
    counts, cuts = counted
    # At the threshold of each malignant image's score, images below it are called benign.
    missed = (counts.missed - counts.positive)[1::2, 0]
    spared = (counts.spared - counts.negative)[1::2, 0]
    if held == "specificity":
        kept = np.flatnonzero(spared >= level * counts.benign - _ROUNDING)
        return float(cuts[kept[0]]) if len(kept) else None
    return float(cuts[np.flatnonzero(missed <= (1 - level) * counts.malignant + _ROUNDING)[-1]])


def spell(threshold: float) -> str:
    """Formats a threshold so that it can be used as printed: rounded down, so that the image at it stays malignant.

    Args:
        threshold: From 0 to 1.

    Returns:
        Text of six significant digits.
    """
    text = f"{threshold:.6g}"
    if float(text) > threshold:
        below = decimal.Context(prec=6, rounding=decimal.ROUND_FLOOR).create_decimal_from_float(threshold)
        text = f"{float(below):.6g}"
    return text


def confusion(targets: npt.ArrayLike, scores: npt.ArrayLike, threshold: float | None) -> dict[str, Any]:
    """Computes the confusion matrix of a threshold, and its rates.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        threshold: Prediction from which an image is called malignant; None to call none malignant.

    Returns:
        Dict of threshold, true_positives, false_negatives, false_positives, true_negatives, sensitivity, specificity,
        positive_predictive_value and negative_predictive_value; a fraction of nothing is None.
    """
    malignant = np.asarray(targets) == 1
    called = np.asarray(scores) >= (np.inf if threshold is None else threshold)
    counts = {
        "true_positives": int((called & malignant).sum()),
        "false_negatives": int((~called & malignant).sum()),
        "false_positives": int((called & ~malignant).sum()),
        "true_negatives": int((~called & ~malignant).sum()),
    }
    tp, fn, fp, tn = counts.values()
    return {
        "threshold": threshold,
        **counts,
        "sensitivity": _divide(tp, tp + fn),
        "specificity": _divide(tn, tn + fp),
        "positive_predictive_value": _divide(tp, tp + fp),
        "negative_predictive_value": _divide(tn, tn + fn),
    }


def _divide(part: int, total: int) -> float | None:
    return part / total if total else None


def operating_points(
    targets: np.ndarray, scores: np.ndarray, resampled: Mapping[Any, np.ndarray]
) -> list[dict[str, Any]]:
    """Computes the usual operating points: 90, 95 and 99 % specificity, and the same sensitivities.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        resampled: Result of `cluster_bootstrap.resample` for `figures`; each resample has its own threshold.

    Returns:
        List of dicts of `held` (what is fixed: specificity or sensitivity), `level`, `threshold`, `sensitivity`,
        `specificity`, and `low` and `high`, the 95 % interval of the other of the two.
    """
    counted = cluster_bootstrap.count(targets, scores)
    points = []
    for held, level in figures():
        threshold = find(counted, held, level)
        rates = confusion(targets, scores, threshold)
        low, high = cluster_bootstrap.interval(resampled[held, level])
        points.append(
            {
                "held": held,
                "level": level,
                "threshold": threshold,
                "sensitivity": rates["sensitivity"],
                "specificity": rates["specificity"],
                "low": low,
                "high": high,
            }
        )
    return points
