"""Thresholds, and what they find and miss: an image is called malignant where its prediction reaches the threshold."""

import decimal
import functools

import numpy as np

from isic_tf import bootstrap

LEVELS = (0.9, 0.95, 0.99)
# Counts of resamples are whole, their shares are not.
_ROUNDING = 1e-9


def sensitivity_at(positive, negative, level):
    """Finds the best sensitivity among the thresholds with at least a specificity; see `bootstrap.resample`.

    Args:
        positive: Malignant images in each place, `[places, r]`.
        negative: Benign images in each place, `[places, r]`.
        level: Least specificity.

    Returns:
        float64 `[r]`; NaN where a class is missing.
    """
    found, spared, malignant, benign = _sweep(positive, negative)
    return np.where(spared >= level * benign - _ROUNDING, found, 0).max(axis=0) / malignant


def specificity_at(positive, negative, level):
    """Finds the best specificity among the thresholds with at least a sensitivity; see `sensitivity_at`."""
    found, spared, malignant, benign = _sweep(positive, negative)
    return np.where(found >= level * malignant - _ROUNDING, spared, 0).max(axis=0) / benign


def _sweep(positive, negative):
    """Gives, for a threshold at each place, the malignant images found and the benign ones spared; and the totals."""
    found = np.cumsum(positive[::-1], axis=0)[::-1]
    spared = np.cumsum(negative, axis=0) - negative
    return found, spared, *bootstrap.totals(positive, negative)


def figures():
    """Gives the functions of all operating points for `bootstrap.resample`, by (what is held, level)."""
    kinds = {"specificity": sensitivity_at, "sensitivity": specificity_at}
    return {(kind, level): functools.partial(kinds[kind], level=level) for kind in kinds for level in LEVELS}


def find(counted, held, level):
    """Finds the threshold that keeps a specificity or a sensitivity and gives most of the other.

    Args:
        counted: What `bootstrap.count` gives.
        held: `specificity` or `sensitivity`.
        level: Least value of it.

    Returns:
        The threshold, always the prediction of a malignant image; None where even the highest of them keeps too little
        specificity.
    """
    positive, negative, cuts = counted
    found, spared, malignant, benign = (np.ravel(part) for part in _sweep(positive, negative))
    # The places at a malignant image's score.
    found, spared = found[1::2], spared[1::2]
    if held == "specificity":
        kept = np.flatnonzero(spared >= level * benign - _ROUNDING)
        return float(cuts[kept[0]]) if len(kept) else None
    return float(cuts[np.flatnonzero(found >= level * malignant - _ROUNDING)[-1]])


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
        resampled: What `bootstrap.resample` gave for `figures`; in each resample the threshold is chosen anew.

    Returns:
        List of dicts of `held` (specificity or sensitivity), `level`, `threshold`, `sensitivity`, `specificity`, and
        `low` and `high`, the 95 % interval of the other of the two.
    """
    points, counted = [], bootstrap.count(targets, scores)
    for held, level in figures():
        threshold = find(counted, held, level)
        shares = confusion(targets, scores, threshold)
        low, high = bootstrap.interval(resampled[held, level])
        point = {"held": held, "level": level, "threshold": threshold, "sensitivity": shares["sensitivity"]}
        points.append({**point, "specificity": shares["specificity"], "low": low, "high": high})
    return points
