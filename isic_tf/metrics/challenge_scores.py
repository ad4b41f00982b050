"""Computes the scores of the classification tasks of the ISIC challenges, as defined by `isic-challenge-scoring` 5.6.

The figures of a class are those of the class against the rest: at a probability above 0.5, and over all thresholds. The
balanced accuracy is that of the most probable class, where an image with several of these is undecided, and so wrong.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, roc_curve

from isic_tf.metrics import class_decisions, roc

_THRESHOLD = 0.5
_SENSITIVITY = 0.8


def score(names: Sequence[str], truth: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Computes the challenge's scores.

    Args:
        names: Names of the classes, `[c]`.
        truth: bool `[n, c]`, one class for each image.
        probabilities: float64 `[n, c]`, from 0 to 1.

    Returns:
        Dict of `balanced_accuracy`; `per_category`, a dict from class to `accuracy`, `sensitivity`, `specificity`,
        `dice`, `ppv`, `npv` (1 where they are 0 of 0), `auc`, `auc_sens_80` (area under the part of the ROC curve from
        80 % sensitivity on) and `ap` (average precision; these are None for a class without images); and
        `macro_average`, the mean of each over the classes that have it.

    Examples:
        >>> truth = np.array([[True, False], [False, True]])
        >>> scores = score(["MEL", "NV"], truth, np.array([[0.9, 0.1], [0.5, 0.5]]))
        >>> scores["balanced_accuracy"], scores["per_category"]["NV"]["sensitivity"]
        (0.5, 0.0)
    """
    decided = class_decisions.decide(probabilities)
    counts = class_decisions.confusion_matrix(truth.argmax(axis=1), decided, len(names))
    per_category = {name: _score_class(truth[:, place], probabilities[:, place]) for place, name in enumerate(names)}
    macro_average: dict[str, float | None] = {}
    for figure in next(iter(per_category.values())):
        values = [scores[figure] for scores in per_category.values()]
        known = [value for value in values if value is not None]
        macro_average[figure] = float(np.mean(known)) if known else None
    return {
        "balanced_accuracy": float(class_decisions.compute_rates(counts)["balanced_accuracy"]),
        "per_category": per_category,
        "macro_average": macro_average,
    }


def _score_class(truth: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    called = scores > _THRESHOLD
    hits = int((truth & called).sum())
    alarms = int((~truth & called).sum())
    misses = int((truth & ~called).sum())
    spared = int((~truth & ~called).sum())
    return {
        "accuracy": (hits + spared) / len(truth),
        "sensitivity": _share(hits, hits + misses),
        "specificity": _share(spared, spared + alarms),
        "dice": _share(2 * hits, 2 * hits + alarms + misses),
        "ppv": _share(hits, hits + alarms),
        "npv": _share(spared, spared + misses),
        **_score_ranking(truth.astype(np.int64), scores),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _score_ranking(truth: np.ndarray, scores: np.ndarray) -> dict[str, float | None]:
    if len(np.unique(truth)) < 2:
        return dict.fromkeys(("auc", "auc_sens_80", "ap"))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    # The first point of the curve that reaches the sensitivity, and the one before it.
    reached = int(np.searchsorted(true, _SENSITIVITY))
    start = np.interp(_SENSITIVITY, true[reached - 1 : reached + 1], false[reached - 1 : reached + 1])
    above = roc.partial_roc_auc(truth, scores, _SENSITIVITY)
    return {
        "auc": roc.roc_auc(truth, scores),
        "auc_sens_80": float(above + _SENSITIVITY * (1 - start)),
        "ap": float(average_precision_score(truth, scores)),
    }
