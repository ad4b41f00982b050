"""Calibrates scores: fitted on out-of-fold predictions, applied to other predictions."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from isic_tf.artifacts import table_checks
from isic_tf.metrics import logistic, logit
from isic_tf.postprocessing.config import CALIBRATIONS, refuse_prevalence
from tfrecord_tools import errors

# So that no calibration reverses the ranks or makes all scores equal.
_MIN_SLOPE = 1e-3


def fit_calibration(method: str, probabilities: npt.ArrayLike, targets: npt.ArrayLike) -> dict[str, Any]:
    """Fits a calibration.

    Args:
        method: `platt` (slope and intercept of the logit; Platt 1999, with his smoothed targets that keep both finite),
            `temperature` (slope only; Guo et al., ICML 2017), `isotonic` (monotone step function; Zadrozny and Elkan,
            KDD 2002; n images bound it to 1/(n + 2) from 0 and 1), or `none`.
        probabilities: Out-of-fold scores, float `[n]`, from 0 to 1.
        targets: 0 or 1, `[n]`, both present.

    Returns:
        Dict for JSON: `method`, `images` (n), `prevalence` (of malignant images) and the parameters of the method.

    Raises:
        IsicError: There is only one class, or a score is not a number from 0 to 1.

    Examples:
        >>> scores = [0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1]
        >>> calibration = fit_calibration("temperature", scores, [1, 1, 1, 0, 0, 0, 0, 1])
        >>> round(calibration["temperature"], 3)
        2.0
    """
    scores = _check_scores(probabilities)
    labels = np.asarray(targets, np.float64)
    if len(set(labels)) < 2:
        raise errors.IsicError(f"calibration needs benign and malignant images, all {len(labels)} are of one class")
    common = {"method": method, "images": len(labels), "prevalence": float(labels.mean())}
    fits = {"platt": _fit_platt, "isotonic": _fit_isotonic, "temperature": _fit_temperature}
    if method not in fits:
        return common
    return {**common, **fits[method](scores, labels)}


def _fit_platt(scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    malignant = targets.sum()
    benign = len(targets) - malignant
    smoothed = np.where(targets == 1, (malignant + 1) / (malignant + 2), 1 / (benign + 2))
    slope, intercept = _fit_logistic(logit.logits(scores), smoothed, with_intercept=True)
    return {"slope": slope, "intercept": intercept}


def _fit_temperature(scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    slope, _ = _fit_logistic(logit.logits(scores), targets, with_intercept=False)
    return {"temperature": 1 / slope}


def _fit_isotonic(scores: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    # Applying a calibration needs no scikit-learn, whose import takes a quarter of a second.
    from sklearn.isotonic import IsotonicRegression

    lowest = 1 / (len(targets) + 2)
    fitted = IsotonicRegression(y_min=lowest, y_max=1 - lowest, out_of_bounds="clip").fit(scores, targets)
    return {"scores": fitted.X_thresholds_.tolist(), "probabilities": fitted.y_thresholds_.tolist()}


def _fit_logistic(inputs: np.ndarray, targets: np.ndarray, with_intercept: bool) -> tuple[float, float]:
    """Returns the slope and intercept with the least cross-entropy; targets may be any numbers from 0 to 1."""
    fitted = logistic.fit_logistic(
        inputs,
        targets,
        c=None,
        max_iterations=1000,
        scale=False,
        with_intercept=with_intercept,
        bounds=(_MIN_SLOPE, 1 / _MIN_SLOPE),
    )
    return float(fitted.coefficients[0]), fitted.intercept


def apply_calibration(
    calibration: Mapping[str, Any], probabilities: npt.ArrayLike, prevalence: float | None = None
) -> np.ndarray:
    """Calibrates scores. Their order is kept, except that `isotonic` creates ties.

    Args:
        calibration: See `fit_calibration` and `calibration_file.read_calibration`.
        probabilities: Scores from 0 to 1, float of any shape.
        prevalence: Prevalence of malignant images where the predictions are used, between 0 and 1; None for the
            calibration's `used_at`, or for no correction where that is absent.

    Returns:
        float64 of the same shape, from 0 to 1.

    Raises:
        IsicError: A score is not a number from 0 to 1, a prevalence is not between 0 and 1, or the method is unknown.

    Examples:
        >>> calibration = {"method": "temperature", "temperature": 2.0, "prevalence": 0.5}
        >>> apply_calibration(calibration, [0.9, 0.5]).round(3)
        array([0.75, 0.5 ])
        >>> apply_calibration(calibration, [0.9, 0.5], prevalence=0.1).round(3)
        array([0.25, 0.1 ])
    """
    scores = _check_scores(probabilities)
    method = calibration["method"]
    if method == "platt":
        calibrated = special.expit(calibration["slope"] * logit.logits(scores) + calibration["intercept"])
    elif method == "temperature":
        calibrated = special.expit(logit.logits(scores) / calibration["temperature"])
    elif method == "isotonic":
        calibrated = np.interp(scores, calibration["scores"], calibration["probabilities"])
    elif method == "none":
        calibrated = scores
    else:
        raise errors.IsicError(f"expected a calibration by none, {', '.join(CALIBRATIONS)}, got {method!r}")
    wanted = calibration.get("used_at") if prevalence is None else prevalence
    if wanted is None:
        return calibrated
    return shift_prevalence(calibrated, calibration["prevalence"], wanted)


def shift_prevalence(probabilities: npt.ArrayLike, old: float, new: float) -> np.ndarray:
    """Corrects probabilities for another prevalence (Saerens, Latinne and Decaestecker, Neural Comput. 2002).

    The correction is exact where malignant images look alike in both places, and benign ones too: only the prevalence
    may differ.

    Args:
        probabilities: Float of any shape, from 0 to 1.
        old: Prevalence of malignant images that the probabilities are right for, between 0 and 1.
        new: Prevalence where they are used, between 0 and 1.

    Returns:
        float64 of the same shape, in the same order.

    Raises:
        ConfigError: A prevalence is not between 0 and 1.

    Examples:
        >>> shift_prevalence([0.5, 0.8], old=0.5, new=0.1).round(4)
        array([0.1   , 0.3077])
    """
    for prevalence in (old, new):
        refuse_prevalence(prevalence)
    given = np.asarray(probabilities, np.float64)
    malignant = given * (new / old)
    benign = (1 - given) * ((1 - new) / (1 - old))
    return malignant / (malignant + benign)


def _check_scores(probabilities: npt.ArrayLike) -> np.ndarray:
    scores = np.asarray(probabilities, np.float64)
    problem = table_checks.describe_invalid_probabilities(scores, noun="scores")
    if problem:
        raise errors.IsicError(f"{problem}; remove these images, or predict them again")
    return scores
