"""Combines the predictions of several models: the formulas, and how those with weights are fitted."""

import typing
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from isic_tf.metrics import logistic, logit, roc
from tfrecord_tools import errors

# Steps of the greedy selection.
_ROUNDS = 50


class Blend(typing.NamedTuple):
    """A formula that combines the scores of several models."""

    method: str  # of `ensemble_config.UNFITTED`, of its `FITTED`, or `best`
    weights: np.ndarray | None = None  # float64 [models]; for `stack`, coefficients of logits
    intercept: float = 0.0  # for `stack`


def combine(scores: npt.ArrayLike, blend: Blend) -> np.ndarray:
    """Combines the scores of each image.

    Args:
        scores: Float `[n, models]`, from 0 to 1.
        blend: The formula.

    Returns:
        float64 `[n]`, from 0 to 1. A `rank_mean` is a share of the n images (ties get their middle), not a probability.

    Raises:
        IsicError: The formula needs weights and has none.

    Examples:
        >>> combine([[0.25, 0.75], [0.0, 0.5]], Blend("mean"))
        array([0.5 , 0.25])
        >>> combine([[0.25, 0.75]], Blend("weighted", np.array([0.75, 0.25])))
        array([0.375])
    """
    given = np.asarray(scores, np.float64)
    if blend.method == "mean":
        combined = given.mean(axis=1)
    elif blend.method == "rank_mean":
        combined = ((stats.rankdata(given, axis=0) - 0.5) / len(given)).mean(axis=1)
    elif blend.method == "logit_mean":
        combined = special.expit(logit.logits(given).mean(axis=1))
    elif blend.method == "geometric":
        # Clipped: a single 0 would make all other models irrelevant.
        combined = np.exp(np.log(np.maximum(given, logit.LEAST)).mean(axis=1))
    elif blend.weights is None:
        raise errors.IsicError(f"the method {blend.method} needs weights; get them from ensembling.fit or weigh")
    elif blend.method == "stack":
        combined = special.expit(logit.logits(given) @ blend.weights + blend.intercept)
    else:
        combined = given @ blend.weights
    # Weights may sum to 1 only up to rounding.
    return np.clip(combined, 0, 1)


def weigh(weights: Sequence[str | float], count: int) -> Blend:
    """Creates the weighted mean with the weights of the user.

    Args:
        weights: Numbers or texts; their sum need not be 1.
        count: Number of models.

    Returns:
        The blend; its weights sum to 1.

    Raises:
        ConfigError: There is not one weight per model, a weight is not a number of at least 0, or all are 0.

    Examples:
        >>> weigh(["1", "3"], 2).weights
        array([0.25, 0.75])
    """
    if len(weights) != count:
        raise errors.ConfigError(f"expected a weight for each of the {count} files in --weights, got {len(weights)}")
    try:
        numbers = np.array([float(weight) for weight in weights])
    except ValueError as error:
        raise errors.ConfigError(f"expected numbers in --weights: {error}") from error
    if not (np.isfinite(numbers).all() and (numbers >= 0).all() and numbers.sum() > 0):
        received = ", ".join(map(str, weights))
        raise errors.ConfigError(f"expected --weights of at least 0, and one of them above 0, got {received}")
    return Blend("weighted", numbers / numbers.sum())


def fit(method: str, scores: npt.ArrayLike, targets: npt.ArrayLike) -> Blend:
    """Fits a blend.

    Args:
        method: `best` (the one model with the highest ROC AUC), `greedy` (forward selection with replacement; Caruana
            et al., ICML 2004), `weighted` (the weighted mean with the highest ROC AUC, by Powell's method from the
            greedy weights) or `stack` (logistic regression on logits); other methods have nothing to fit.
        scores: Out-of-fold scores, float `[n, models]`, from 0 to 1.
        targets: 0 or 1, `[n]`, both present.

    Returns:
        The fitted blend.

    Examples:
        >>> fit("best", [[0.9, 0.4], [0.1, 0.6]], [1, 0]).weights
        array([1., 0.])
    """
    given = np.asarray(scores, np.float64)
    labels = np.asarray(targets)
    if method == "stack":
        return _fit_stack(given, labels)
    fits = {"best": _choose_best, "weighted": _maximize_auc, "greedy": _select_greedily}
    if method not in fits:
        return Blend(method)
    weights = fits[method](given[labels == 1], given[labels == 0])
    return Blend(method, weights / weights.sum())


def _choose_best(malignant: np.ndarray, benign: np.ndarray) -> np.ndarray:
    aucs = _aucs_of_columns(malignant, benign)
    return np.eye(len(aucs))[np.argmax(aucs)]


def _maximize_auc(malignant: np.ndarray, benign: np.ndarray) -> np.ndarray:
    count = malignant.shape[1]

    def loss(weights: np.ndarray) -> float:
        return -roc.roc_auc_of_classes(malignant @ weights, benign @ weights)

    selected = _select_greedily(malignant, benign)
    # Half of the upper bound, so that a weight can double; the ROC AUC does not depend on the sum of the weights.
    start = selected / (2 * selected.max())
    options = {"xtol": 1e-3, "ftol": 1e-7, "maxfev": 200 * count}
    found = optimize.minimize(loss, start, method="Powell", bounds=[(0, 1)] * count, options=options)
    return min([np.ones(count), start, np.clip(found.x, 0, 1)], key=loss)


def _select_greedily(malignant: np.ndarray, benign: np.ndarray) -> np.ndarray:
    """Returns how often each model was chosen up to the step with the highest ROC AUC."""
    counts = np.zeros(malignant.shape[1])
    best_counts = counts
    best_auc = -1.0
    malignant_sum = np.zeros(len(malignant))
    benign_sum = np.zeros(len(benign))
    for _ in range(_ROUNDS):
        aucs = _aucs_of_columns(malignant_sum[:, None] + malignant, benign_sum[:, None] + benign)
        model = np.argmax(aucs)
        counts[model] += 1
        malignant_sum = malignant_sum + malignant[:, model]
        benign_sum = benign_sum + benign[:, model]
        if aucs[model] > best_auc:
            best_auc = aucs[model]
            best_counts = counts.copy()
    return best_counts


def _aucs_of_columns(malignant: np.ndarray, benign: np.ndarray) -> list[float]:
    return [roc.roc_auc_of_classes(*columns) for columns in zip(malignant.T, benign.T, strict=True)]


def _fit_stack(scores: np.ndarray, targets: np.ndarray) -> Blend:
    # Scaled inside, so that the penalty does not depend on the spread of a model's logits.
    fitted = logistic.fit_logistic(logit.logits(scores), targets, max_iterations=1000)
    return Blend("stack", fitted.coefficients, fitted.intercept)
