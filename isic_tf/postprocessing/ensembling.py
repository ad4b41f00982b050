"""Blends of several models' predictions: the formulas, and how those with weights are fitted."""

import typing

import numpy as np
from scipy import optimize, special, stats
from sklearn.linear_model import LogisticRegression

from isic_tf.metrics import logit, roc
from tfrecord_tools import errors

UNFITTED = ("mean", "rank_mean", "logit_mean", "geometric")
FITTED = ("weighted", "greedy", "stack")
_ROUNDS = 50


class Blend(typing.NamedTuple):
    """A formula from the models' scores to one."""

    method: str  # of `UNFITTED`, of `FITTED`, or `best`
    weights: np.ndarray | None = None  # [models]; a stack's are coefficients of logits
    intercept: float = 0.0  # of a stack


def combine(scores, blend):
    """Blends the scores of each image.

    Args:
        scores: Float `[n, models]`, from 0 to 1.
        blend: `Blend`.

    Returns:
        float64 `[n]` from 0 to 1. A `rank_mean` is a share of the n images, the middle of ties, and no probability.
    """
    scores = np.asarray(scores, np.float64)
    if blend.method == "mean":
        blended = scores.mean(axis=1)
    elif blend.method == "rank_mean":
        blended = ((stats.rankdata(scores, axis=0) - 0.5) / len(scores)).mean(axis=1)
    elif blend.method == "logit_mean":
        blended = special.expit(logit.logits(scores).mean(axis=1))
    elif blend.method == "geometric":
        # Clipped too: a single 0 would undo what all other models say.
        blended = np.exp(np.log(np.maximum(scores, logit.LEAST)).mean(axis=1))
    elif blend.method == "stack":
        blended = special.expit(logit.logits(scores) @ blend.weights + blend.intercept)
    else:
        blended = scores @ blend.weights
    # Weights that sum to 1 may do so but for the last digit.
    return np.clip(blended, 0, 1)


def weigh(weights, count):
    """Gives the weighted mean with the weights of the user.

    Args:
        weights: Numbers or texts; their sum need not be 1.
        count: Number of models.

    Returns:
        `Blend`.

    Raises:
        IsicError: A weight is no number from 0 on, all are 0, or there is not one for each model.
    """
    if len(weights) != count:
        raise errors.IsicError(f"expected a weight for each of the {count} files in --weights, got {len(weights)}")
    try:
        numbers = np.array([float(weight) for weight in weights])
    except ValueError as error:
        raise errors.IsicError(f"expected numbers in --weights: {error}") from error
    if not (np.isfinite(numbers).all() and (numbers >= 0).all() and numbers.sum() > 0):
        raise errors.IsicError(f"expected weights from 0 on, not all of them 0, got {', '.join(map(str, weights))}")
    return Blend("weighted", numbers / numbers.sum())


def fit(method, scores, targets):
    """Fits a blend.

    Args:
        method: `best` (the one model with the greatest ROC AUC), `greedy` (forward selection with replacement, Caruana
            et al., ICML 2004), `weighted` (the mean whose weights give the greatest ROC AUC, by Powell's method from
            the greedy ones) or `stack` (logistic regression on logits); any other has nothing to fit.
        scores: Float `[n, models]`, from 0 to 1, out of fold.
        targets: 0 or 1, `[n]`, both of them there.

    Returns:
        `Blend`.
    """
    scores, targets = np.asarray(scores, np.float64), np.asarray(targets)
    if method == "stack":
        return _stack(scores, targets)
    fits = {"best": _choose, "weighted": _climb, "greedy": _select}
    if method not in fits:
        return Blend(method)
    weights = fits[method](scores[targets == 1], scores[targets == 0])
    return Blend(method, weights / weights.sum())


def _choose(malignant, benign):
    aucs = [roc.roc_auc_of_classes(*columns) for columns in zip(malignant.T, benign.T, strict=True)]
    return np.eye(len(aucs))[np.argmax(aucs)]


def _climb(malignant, benign):
    count = malignant.shape[1]

    def loss(weights):
        return -roc.roc_auc_of_classes(malignant @ weights, benign @ weights)

    selected = _select(malignant, benign)
    # Half of the way up, so that a weight can be doubled; the AUC does not depend on their sum.
    start = selected / (2 * selected.max())
    options = {"xtol": 1e-3, "ftol": 1e-7, "maxfev": 200 * count}
    found = optimize.minimize(loss, start, method="Powell", bounds=[(0, 1)] * count, options=options)
    return min([np.ones(count), start, np.clip(found.x, 0, 1)], key=loss)


def _select(malignant, benign):
    counts, kept, best = np.zeros(malignant.shape[1]), None, -1.0
    sums = np.zeros(len(malignant)), np.zeros(len(benign))
    for _ in range(_ROUNDS):
        trials = (total[:, None] + scores for total, scores in zip(sums, (malignant, benign), strict=True))
        aucs = [roc.roc_auc_of_classes(*columns) for columns in zip(*(trial.T for trial in trials), strict=True)]
        model = np.argmax(aucs)
        counts[model] += 1
        sums = sums[0] + malignant[:, model], sums[1] + benign[:, model]
        if aucs[model] > best:
            best, kept = aucs[model], counts.copy()
    return kept


def _stack(scores, targets):
    inputs = logit.logits(scores)
    # The penalty must not depend on how spread out a model's logits are. A constant column has nothing to tell.
    spread = inputs.std(axis=0)
    spread[spread < 1e-9] = np.inf
    centre = inputs.mean(axis=0)
    regression = LogisticRegression(max_iter=1000).fit((inputs - centre) / spread, targets)
    weights = regression.coef_[0] / spread
    return Blend("stack", weights, float(regression.intercept_[0] - centre @ weights))
