"""Thresholds, and what they find and miss: an image is called malignant where its prediction reaches the threshold."""

import decimal
import functools

import numpy as np

from isic_tf.metrics import cluster_bootstrap

LEVELS = (0.9, 0.95, 0.99)
# Counts of resamples are whole, their shares are not.
_ROUNDING = 1e-9


def sensitivity_at(counts, level):
    """Finds the best sensitivity among the thresholds with at least a specificity.

    Args:
        counts: `cluster_bootstrap.Counts`.
        level: Least specificity, above 0.

    Returns:
        float64 `[r]`; NaN where a class is missing.
    """
    place = cluster_bootstrap.first_to_reach(counts.spared, level * counts.benign - _ROUNDING)
    # The lowest threshold is just above that place.
    return 1 - _at(counts.missed, place) / counts.malignant


def specificity_at(counts, level):
    """Finds the best specificity among the thresholds with at least a sensitivity; see `sensitivity_at`."""
    allowed = (1 - level) * counts.malignant + _ROUNDING
    place = cluster_bootstrap.first_to_reach(counts.missed, np.nextafter(allowed, np.inf))
    # The highest threshold is at that place, whose malignant images would be one too many to miss.
    return (_at(counts.spared, place) - _at(counts.negative, place)) / counts.benign


def _at(numbers, place):
    return np.take_along_axis(numbers, place[np.newaxis], axis=0)[0]


def figures():
    """Gives the functions of all operating points for `cluster_bootstrap.resample`, by (what is held, level)."""
    kinds = {"specificity": sensitivity_at, "sensitivity": specificity_at}
    return {(kind, level): functools.partial(kinds[kind], level=level) for kind in kinds for level in LEVELS}


def find(counted, held, level):
    """Finds the threshold that keeps a specificity or a sensitivity and gives most of the other.

    Args:
        counted: What `cluster_bootstrap.count` gives.
        held: `specificity` or `sensitivity`.
        level: Least value of it.

    Returns:
        The threshold, always the prediction of a malignant image; None where even the highest of them keeps too little
        specificity.
    """
    counts, cuts = counted
    # Of the threshold at each malignant image's score: what is called benign is below it.
    missed, spared = (counts.missed - counts.positive)[1::2, 0], (counts.spared - counts.negative)[1::2, 0]
    if held == "specificity":
        kept = np.flatnonzero(spared >= level * counts.benign - _ROUNDING)
        return float(cuts[kept[0]]) if len(kept) else None
    return float(cuts[np.flatnonzero(missed <= (1 - level) * counts.malignant + _ROUNDING)[-1]])


def spell(threshold):
    """Writes a threshold so that it can be used as printed: rounded down, so that the image just at it stays above.

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


def confusion(targets, scores, threshold):
    """Counts what a threshold finds and misses.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        threshold: Prediction from which an image is called malignant; None for none at all.

    Returns:
        Dict of threshold, true_positives, false_negatives, false_positives, true_negatives, sensitivity, specificity,
        positive_predictive_value and negative_predictive_value; a share of nothing is None.
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
    shares = {
        "sensitivity": (tp, tp + fn),
        "specificity": (tn, tn + fp),
        "positive_predictive_value": (tp, tp + fp),
        "negative_predictive_value": (tn, tn + fn),
    }
    shares = {name: part / whole if whole else None for name, (part, whole) in shares.items()}
    return {"threshold": threshold, **counts, **shares}


def operating_points(targets, scores, resampled):
    """Lists the usual operating points.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        resampled: What `cluster_bootstrap.resample` gave for `figures`; in each resample the threshold is chosen anew.

    Returns:
        List of dicts of `held` (specificity or sensitivity), `level`, `threshold`, `sensitivity`, `specificity`, and
        `low` and `high`, the 95 % interval of the other of the two.
    """
    points, counted = [], cluster_bootstrap.count(targets, scores)
    for held, level in figures():
        threshold = find(counted, held, level)
        shares = confusion(targets, scores, threshold)
        low, high = cluster_bootstrap.interval(resampled[held, level])
        point = {"held": held, "level": level, "threshold": threshold, "sensitivity": shares["sensitivity"]}
        points.append({**point, "specificity": shares["specificity"], "low": low, "high": high})
    return points
