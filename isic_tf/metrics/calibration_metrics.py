"""Measures calibration: of the images predicted 0.1, is one in ten malignant?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf.metrics import cluster_bootstrap, logistic, logit

_BINS = 10
# Two-sided 95 % quantile of the normal distribution.
_Z = 1.959964
_COX_FIGURES = ("slope", "slope_low", "slope_high", "intercept", "intercept_low", "intercept_high")


def assess(targets: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """Measures the calibration of predictions.

    Args:
        targets: 0 or 1, `[n]`, both present.
        scores: Float in [0, 1], `[n]`.
        groups: int `[n]`, number of the patient of each image.

    Returns:
        Dict of
        - `brier`: mean squared error (Brier 1950); `log_loss`: mean cross-entropy, in nats;
        - `ece`: expected calibration error over 10 bins of equal width (Naeini et al., AAAI 2015), `ece_equal_count`
          over 10 bins with equal numbers of images, since few images are predicted above 0.1;
        - `slope` and `intercept` of a logistic regression of the target on the prediction's logit (Cox, Biometrika
          1958): 1 and 0 for calibrated probabilities; all None where the classes are separable or the predictions all
          alike; `slope_low` to `intercept_high`, their 95 % intervals (sandwich estimate over patients), None where
          there are too few patients, see `cluster_bootstrap.describe_too_few`;
        - `in_the_large`: the intercept where the slope is fixed at 1, below 0 where predictions are too high;
        - `mean_prediction` and `prevalence`;
        - `bins`: list of dicts, one per bin of equal numbers of images: `low`, `high`, `images`, `predicted`,
          `observed`.
    """
    targets = np.asarray(targets)
    scores = np.asarray(scores, np.float64)
    equal_count = bins(targets, scores, np.quantile(scores, np.linspace(0, 1, _BINS + 1)))
    equal_width = bins(targets, scores, np.linspace(0, 1, _BINS + 1))
    logits = logit.logits(scores)
    return {
        "brier": float(brier_score_loss(targets, scores)),
        "log_loss": float(log_loss(targets, scores)),
        "ece": calibration_error(equal_width),
        "ece_equal_count": calibration_error(equal_count),
        "mean_prediction": float(scores.mean()),
        "prevalence": float(targets.mean()),
        **cox(targets, logits, groups),
        "in_the_large": in_the_large(targets, logits),
        "bins": equal_count,
    }


def bins(targets: np.ndarray, scores: np.ndarray, edges: npt.ArrayLike) -> list[dict[str, Any]]:
    """Sorts images into bins by prediction: from the lower edge to below the upper one, the last bin with its edge.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        edges: Edges in order, from at most the lowest score to at least the highest; bins of no width are left out.

    Returns:
        List of dicts, one per bin with images: `low` and `high` edge, `images`, the mean prediction (`predicted`) and
        the malignant fraction (`observed`).
    """
    distinct = np.unique(np.asarray(edges))
    number = np.clip(np.searchsorted(distinct, scores, "right") - 1, 0, max(len(distinct) - 2, 0))
    sums = [np.bincount(number, weights) for weights in (np.ones(len(scores)), scores, targets)]
    upper = distinct[1:] if len(distinct) > 1 else distinct
    found = []
    for low, high, images, predicted, observed in zip(distinct, upper, *sums, strict=False):
        if images:
            found.append(
                {
                    "low": float(low),
                    "high": float(high),
                    "images": int(images),
                    "predicted": float(predicted / images),
                    "observed": float(observed / images),
                }
            )
    return found


def calibration_error(found: Sequence[dict[str, Any]]) -> float:
    """Computes the expected calibration error: the mean distance of predicted to observed over images.

    Args:
        found: See `bins`.

    Returns:
        Float from 0 to 1.
    """
    images = sum(one["images"] for one in found)
    return sum(one["images"] * abs(one["predicted"] - one["observed"]) for one in found) / images


def in_the_large(targets: np.ndarray, logits: np.ndarray) -> float:
    """Computes calibration in the large: what to add to all logits so that the mean prediction is the prevalence.

    Args:
        targets: 0 or 1, `[n]`, both present.
        logits: Float `[n]`, finite.

    Returns:
        The shift, in units of the logit.
    """

    def excess(shift: float) -> float:
        return special.expit(logits + shift).mean() - targets.mean()

    return float(optimize.brentq(excess, -60, 60))


def cox(targets: np.ndarray, logits: np.ndarray, groups: np.ndarray) -> dict[str, float | None]:
    """Regresses the target on the logit by maximum likelihood (Cox, Biometrika 1958).

    Args:
        targets: 0 or 1, `[n]`.
        logits: Float `[n]`, finite.
        groups: int `[n]`, number of the patient of each image.

    Returns:
        Dict of slope, slope_low, slope_high, intercept, intercept_low and intercept_high; see `assess`.
    """
    center = logits.mean()
    spread = logits.std()
    if spread < logistic.MIN_SPREAD:
        return dict.fromkeys(_COX_FIGURES)
    # About their center and in units of their spread, slope and intercept hardly depend on each other.
    design = np.stack([(logits - center) / spread, np.ones(len(logits))], axis=1)
    fit = logistic.fit_newton(design, targets, np.array([0.0, special.logit(targets.mean())]))
    if fit is None:
        return dict.fromkeys(_COX_FIGURES)
    fitted, information = fit
    # A patient's images are not independent (Liang and Zeger, Biometrika 1986).
    residuals = design * (targets - special.expit(design @ fitted))[:, None]
    scores = np.stack([np.bincount(groups, column) for column in residuals.T], axis=1)
    inverse = np.linalg.inv(information)
    # Folds the parameters and their covariance back to the original logits.
    back = np.array([[1 / spread, 0], [-center / spread, 1]])
    covariance = back @ inverse @ (scores.T @ scores) @ inverse @ back.T
    original = back @ fitted
    reach = _Z * np.sqrt(np.diag(covariance))
    values = np.stack([original, original - reach, original + reach], axis=1).ravel().tolist()
    found = dict(zip(_COX_FIGURES, values, strict=True))
    if cluster_bootstrap.describe_too_few(targets, groups):
        found.update(slope_low=None, slope_high=None, intercept_low=None, intercept_high=None)
    return found
