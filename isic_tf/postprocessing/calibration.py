"""Turns scores into probabilities: fitted on out-of-fold predictions, kept in the run folder, applied to any others."""

import hashlib
import json
import os

import numpy as np
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression

from isic_tf.metrics import logit
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem

CALIBRATION_FILE = "calibration.json"
METHODS = ("platt", "isotonic", "temperature")
# So that no calibration turns the ranks round or makes all scores one.
_LEAST_SLOPE = 1e-3
_OOF_FILE = "oof.csv"


def fit_calibration(method, probabilities, targets):
    """Fits a calibration.

    Args:
        method: `platt` (a slope and an intercept of the logit; Platt 1999, with his targets that keep both finite),
            `temperature` (a slope alone; Guo et al., ICML 2017), `isotonic` (steps that do not fall; Zadrozny and
            Elkan, KDD 2002, never nearer to 0 or 1 than n images can tell), or `none`.
        probabilities: Float `[n]`, from 0 to 1, out of fold.
        targets: 0 or 1, `[n]`, both of them there.

    Returns:
        Dict for JSON: `method`, `images`, `prevalence` (share of malignant ones) and the method's own numbers.

    Raises:
        IsicError: There is one class only, or a score is no number from 0 to 1.
    """
    scores, targets = _check(probabilities), np.asarray(targets, np.float64)
    if len(set(targets)) < 2:
        raise errors.IsicError(f"calibration needs benign and malignant images, all {len(targets)} are of one class")
    calibration = {"method": method, "images": len(targets), "prevalence": float(targets.mean())}
    if method == "isotonic":
        least = 1 / (len(targets) + 2)
        fitted = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(scores, targets)
        return {**calibration, "scores": fitted.X_thresholds_.tolist(), "probabilities": fitted.y_thresholds_.tolist()}
    if method == "platt":
        malignant = targets.sum()
        softened = np.where(targets == 1, (malignant + 1) / (malignant + 2), 1 / (len(targets) - malignant + 2))
        slope, intercept = _fit_logistic(logit.logits(scores), softened, with_intercept=True)
        return {**calibration, "slope": slope, "intercept": intercept}
    if method == "temperature":
        return {
            **calibration,
            "temperature": 1 / _fit_logistic(logit.logits(scores), targets, with_intercept=False)[0],
        }
    return calibration


def _fit_logistic(inputs, targets, with_intercept):
    """Finds the slope and intercept with the least cross-entropy; targets may lie between 0 and 1."""
    # About their centre, slope and intercept hardly depend on each other.
    centre = inputs.mean() if with_intercept else 0.0
    moved = inputs - centre

    def loss(values):
        logits = values[0] * moved + values[1]
        error = special.expit(logits) - targets
        return (np.logaddexp(0, logits) - targets * logits).mean(), np.array([(error * moved).mean(), error.mean()])

    bounds = [(_LEAST_SLOPE, 1 / _LEAST_SLOPE), (None, None) if with_intercept else (0, 0)]
    start = [1.0, special.logit(targets.mean()) if with_intercept else 0.0]
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 1000}
    slope, intercept = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
    return float(slope), float(intercept - slope * centre)


def write_calibration(workdir, calibration, nested, used_at=None, fitted_to=None):
    """Writes a run's calibration.

    Args:
        workdir: Run folder.
        calibration: See `fit`.
        nested: Figures on other patients, kept for the record.
        used_at: Share of malignant images where the run will be used; None for that of its out-of-fold predictions.
        fitted_to: Prediction file that it is fitted to; None for the run's own `oof.csv`.

    Returns:
        Path of the file.
    """
    path, own = os.path.join(workdir, CALIBRATION_FILE), os.path.join(workdir, _OOF_FILE)
    known = {"fitted_to": fitted_to and os.path.basename(fitted_to), "run_oof_sha256": _digest(own)}
    content = {**calibration, "used_at": used_at, **known, "nested": nested}
    atomic_write.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def read_calibration(workdir):
    """Reads a run's calibration.

    Args:
        workdir: Run folder.

    Returns:
        Dict, see `fit`; with `used_at`, the prevalence to shift to, or None for no shift, and `fitted_to`, the name of
        a prediction file, or None for the run's own `oof.csv`.

    Raises:
        IsicError: There is none, the file is damaged, or the run was trained further since.
    """
    path = os.path.join(workdir, CALIBRATION_FILE)
    if not filesystem.exists(path):
        raise errors.IsicError(f"expected a calibration at {path}, found none; make it with isic_tf.calibrate")
    try:
        calibration = json.loads(filesystem.read(path))
        for prevalence in (None, calibration["prevalence"]):
            if not (np.diff(apply_calibration(calibration, np.array([0.0, 0.5, 1.0]), prevalence)) >= 0).all():
                raise errors.IsicError("it does not rise with the score")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.IsicError(f"{path} is no calibration ({error!r}); make it again with isic_tf.calibrate") from error
    # Other weights or more folds show in the run's own predictions.
    if calibration.get("run_oof_sha256") not in (None, _digest(os.path.join(workdir, _OOF_FILE))):
        raise errors.IsicError(f"{path} is older than the {_OOF_FILE} beside it; make it again with isic_tf.calibrate")
    return calibration


def is_of_training(calibration):
    """Tells whether a calibration is fitted to the predictions of the training, of one version an image."""
    return calibration.get("fitted_to") is None


def _digest(path):
    """Gives a file's SHA-256; None where it is not there."""
    return hashlib.sha256(filesystem.read(path)).hexdigest() if filesystem.exists(path) else None


def apply_calibration(calibration, probabilities, prevalence=None):
    """Calibrates scores. Their order stays, but that `isotonic` makes ties.

    Args:
        calibration: See `read`.
        probabilities: Float, from 0 to 1, of any shape.
        prevalence: Share of malignant images where they are used, in (0, 1): goes before the calibration's `used_at`;
            None for that, or for no shift where it has none.

    Returns:
        float64 of the same shape, from 0 to 1.

    Raises:
        IsicError: A score is no number from 0 to 1, a prevalence not between them, or the method unknown.
    """
    scores, method = _check(probabilities), calibration["method"]
    if method == "platt":
        calibrated = special.expit(calibration["slope"] * logit.logits(scores) + calibration["intercept"])
    elif method == "temperature":
        calibrated = special.expit(logit.logits(scores) / calibration["temperature"])
    elif method == "isotonic":
        calibrated = np.interp(scores, calibration["scores"], calibration["probabilities"])
    elif method == "none":
        calibrated = scores
    else:
        raise errors.IsicError(f"expected a calibration by none, {', '.join(METHODS)}, got {method!r}")
    prevalence = calibration.get("used_at") if prevalence is None else prevalence
    return calibrated if prevalence is None else shift_prevalence(calibrated, calibration["prevalence"], prevalence)


def shift_prevalence(probabilities, old, new):
    """Corrects probabilities for another prevalence (Saerens, Latinne and Decaestecker, Neural Comput. 2002).

    Right where malignant images look alike in both places, and so do benign ones: only their shares differ.

    Args:
        probabilities: Float, from 0 to 1.
        old: Share of malignant images where they were right, in (0, 1).
        new: Share where they are used, in (0, 1).

    Returns:
        float64 of the same shape; the order stays.

    Raises:
        IsicError: A prevalence is not between 0 and 1.
    """
    for prevalence in (old, new):
        refuse_prevalence(prevalence)
    probabilities = np.asarray(probabilities, np.float64)
    malignant, benign = probabilities * (new / old), (1 - probabilities) * ((1 - new) / (1 - old))
    return malignant / (malignant + benign)


def refuse_prevalence(prevalence):
    """Raises an IsicError where a prevalence is given that is not between 0 and 1."""
    if prevalence is not None and not 0 < prevalence < 1:
        raise errors.IsicError(f"expected a prevalence between 0 and 1, as 0.0176, got {prevalence}")


def _check(probabilities):
    scores = np.asarray(probabilities, np.float64)
    bad = ~((scores >= 0) & (scores <= 1))
    if bad.any():
        raise errors.IsicError(
            f"expected scores from 0 to 1, {bad.sum()} of {scores.size} are not, {scores[bad][0]} first"
        )
    return scores
