"""Calibrates the probabilities of several classes, beside the single prediction.

Those of a softmax get one temperature for all classes (Guo et al., ICML 2017); after that, the positive classes share
the calibrated single prediction and the others the rest, so that they still fit it. Each of several labels is
calibrated by itself, and the single prediction is the largest of the positive ones.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# `scipy.optimize` is imported at its first use, which applying a calibration does without.
import scipy
from scipy import special

from isic_tf.artifacts import class_columns
from isic_tf.data import targets
from isic_tf.data.targets import class_set
from isic_tf.metrics import logit
from isic_tf.postprocessing import calibration, calibration_file
from tfrecord_tools import errors
from tfrecord_tools.io import saved_files

# The part of calibration.json on classes.
KEY = "classes"
_MIN_SLOPE = 1e-3


def fit_temperature(probabilities: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Fits the temperature of a softmax with the least cross-entropy.

    Args:
        probabilities: Out-of-fold probabilities, float `[n, classes]`, from 0 to 1.
        truth: 1 for the class of each image and 0 for the others, `[n, classes]`.

    Returns:
        The number that the logits are to be divided by, from 0.001 to 1000.

    Examples:
        >>> truth = np.eye(3)[[0, 0, 1, 2]]
        >>> round(fit_temperature([[2 / 3, 1 / 6, 1 / 6]] * 4, truth), 4)
        2.0
    """
    logs = _logs(probabilities)
    own = (logs * np.asarray(truth, np.float64)).sum(axis=1)

    def loss(log_slope: float) -> float:
        slope = np.exp(log_slope)
        return float((special.logsumexp(slope * logs, axis=1) - slope * own).mean())

    bounds = (np.log(_MIN_SLOPE), -np.log(_MIN_SLOPE))
    found = scipy.optimize.minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return float(np.exp(-found.x))


def apply_temperature(probabilities: npt.ArrayLike, temperature: float) -> np.ndarray:
    """Divides the logits of a softmax by a temperature.

    Args:
        probabilities: Float `[n, classes]`, from 0 to 1.
        temperature: Above 0; more than 1 makes probabilities less extreme.

    Returns:
        float64 `[n, classes]`; those of an image add up to 1.

    Examples:
        >>> apply_temperature([[2 / 3, 1 / 6, 1 / 6]], 2).round(4).tolist()
        [[0.5, 0.25, 0.25]]
    """
    return np.asarray(special.softmax(_logs(probabilities) / temperature, axis=1))


def _logs(probabilities: npt.ArrayLike) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, np.float64), logit.LEAST))


def calibrate_scores(
    fitted: Mapping[str, Any],
    single: np.ndarray,
    probabilities: np.ndarray,
    classes: class_set.ClassSet,
    prevalence: float | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Calibrates single predictions and the probabilities of classes.

    Args:
        fitted: See `read_calibration`.
        single: float64 `[n]`, from 0 to 1.
        probabilities: float64 `[n, classes]`, from 0 to 1.
        classes: The classes.
        prevalence: See `calibration.apply_calibration`; of images of a positive class.

    Returns:
        The calibrated single predictions, float64 `[n]`, and probabilities, float64 `[n, classes]`.
    """
    own = fitted.get(KEY)
    if own is None or not classes.multi_label:
        calibrated = calibration.apply_calibration(fitted, single, prevalence)
        if own is None:
            return calibrated, _fit_to_single(probabilities, single, calibrated, classes)
        tempered = apply_temperature(probabilities, own["temperature"])
        return calibrated, targets.rescale(tempered, calibrated, classes)
    columns = [
        calibration.apply_calibration(each, column) for each, column in zip(own["each"], probabilities.T, strict=True)
    ]
    labels = np.stack(columns, axis=1)
    largest = classes.join(labels)
    wanted = fitted.get("used_at") if prevalence is None else prevalence
    if wanted is None:
        return largest, labels
    shifted = calibration.shift_prevalence(largest, fitted["prevalence"], wanted)
    return shifted, targets.rescale(labels, shifted, classes)


def _fit_to_single(
    probabilities: np.ndarray, old: np.ndarray, new: np.ndarray, classes: class_set.ClassSet
) -> np.ndarray:
    """Makes probabilities fit the single predictions that changed."""
    changed = new != old
    found = np.array(probabilities, np.float64)
    if changed.any():
        found[changed] = targets.rescale(found[changed], new[changed], classes)
    return found


def calibrate_table(
    fitted: Mapping[str, Any], table: pd.DataFrame, classes: class_set.ClassSet, prevalence: float | None = None
) -> pd.DataFrame:
    """Calibrates a table of predictions.

    Args:
        fitted: See `read_calibration`.
        table: DataFrame with `prediction` and, where there are classes, `probability_CLASS`.
        classes: The classes; none for the single prediction alone.
        prevalence: See `calibration.apply_calibration`.

    Returns:
        The table with calibrated predictions.
    """
    single = table["prediction"].to_numpy()
    if not classes.names:
        return table.assign(prediction=calibration.apply_calibration(fitted, single, prevalence))
    columns = class_columns.list_columns(classes.names)
    calibrated, probabilities = calibrate_scores(fitted, single, table[columns].to_numpy(), classes, prevalence)
    return table.assign(prediction=calibrated, **dict(zip(columns, probabilities.T, strict=True)))


def read_calibration(workdir: str, classes: class_set.ClassSet) -> dict[str, Any]:
    """Reads the calibration of a run of several classes, or of one.

    Args:
        workdir: Run directory.
        classes: The classes of the run.

    Returns:
        Dict, see `calibration_file.read_calibration`. Where classes were calibrated, `classes` is a dict of their
        `names`, and their `temperature` or, of several labels, `each`, a list of calibrations.

    Raises:
        IsicError: See `calibration_file.read_calibration`, or the calibration is of other classes.
        CorruptRecordError: The file is damaged.
    """
    fitted = calibration_file.read_calibration(workdir)
    own = fitted.get(KEY)
    if own is None:
        return fitted
    path = calibration_file.locate_calibration(workdir)
    remedy = "create it again with isic_tf.calibrate"
    with saved_files.explained_damage(path, "a calibration", remedy):
        names = own["names"]
        if names != list(classes.names) or ("each" in own) != classes.multi_label:
            raise errors.IsicError(f"expected a calibration of {', '.join(classes.names) or 'no classes'}, got {names}")
        if not classes.multi_label:
            saved_files.check_numbers(own, ("temperature",))
            if own["temperature"] <= 0:
                raise errors.CorruptRecordError(f"expected a temperature above 0, got {own['temperature']}")
        elif len(own["each"]) != len(names):
            raise errors.CorruptRecordError(f"expected {len(names)} calibrations, got {len(own['each'])}")
        for each in own.get("each", ()):
            calibration_file.check_calibration(each)
    return fitted
