"""Where a score stands: its calibrated probability, and its place among the run's out-of-fold predictions."""

import os
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.artifacts import run_directory
from isic_tf.artifacts.run import Run
from isic_tf.metrics import cluster_bootstrap, operating_points
from isic_tf.postprocessing import calibration, calibration_file, calibration_replicates
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

# Of an interval of 95 %.
_PERCENTILES = (2.5, 97.5)
# Draws of folds where the calibration has no refits.
_DRAWS = 100


class Reference(typing.NamedTuple):
    """Out-of-fold predictions of a run, and an operating point chosen on them."""

    benign: np.ndarray  # float64 [n], scores in ascending order
    malignant: np.ndarray  # float64 [n], in ascending order
    threshold: float | None  # from which an image is called malignant; None where no threshold holds the level
    sensitivity: float  # of the threshold on these images
    specificity: float


def make_reference(out_of_fold: pd.DataFrame, held: str, level: float) -> Reference:
    """Chooses an operating point on out-of-fold predictions.

    Args:
        out_of_fold: DataFrame with `prediction` (float) and `target` (0 or 1).
        held: The rate that is held: `sensitivity` or `specificity`.
        level: Its level, between 0 and 1.

    Returns:
        `Reference`.

    Raises:
        IsicError: There is one class only.

    Examples:
        >>> table = pd.DataFrame({"prediction": [0.1, 0.2, 0.3, 0.4], "target": [0, 1, 0, 1]})
        >>> make_reference(table, "sensitivity", 0.9).threshold
        0.2
    """
    scores = out_of_fold["prediction"].to_numpy(np.float64)
    targets = out_of_fold["target"].to_numpy()
    if len(np.unique(targets)) < 2:
        raise errors.IsicError(
            "an operating point needs benign and malignant out-of-fold predictions, all of the run are of one class"
        )
    threshold = operating_points.find(cluster_bootstrap.count(targets, scores), held, level)
    rates = operating_points.confusion(targets, scores, threshold)
    by_class = [np.sort(scores[targets == target]) for target in (0, 1)]
    return Reference(by_class[0], by_class[1], threshold, rates["sensitivity"], rates["specificity"])


def read_reference(workdir: str, held: str, level: float) -> Reference | None:
    """Chooses an operating point on the out-of-fold predictions of a run; see `make_reference`.

    Args:
        workdir: Run directory.
        held: See `make_reference`.
        level: See `make_reference`.

    Returns:
        `Reference`; None where the run has no out-of-fold predictions.
    """
    if not filesystem.exists(os.path.join(workdir, run_directory.OOF_FILE)):
        return None
    return make_reference(Run(workdir).out_of_fold, held, level)


def read_calibration(workdir: str, prevalence: float | None) -> dict[str, Any] | None:
    """Reads the calibration of a run.

    Args:
        workdir: Run directory.
        prevalence: The prevalence that is asked for; None for none.

    Returns:
        See `calibration_file.read_calibration`; None where the run has none.

    Raises:
        ConfigError: A prevalence is asked for, and the run has none.
    """
    if filesystem.exists(calibration_file.locate_calibration(workdir)):
        return calibration_file.read_calibration(workdir)
    if prevalence is not None:
        raise errors.ConfigError(
            "--prevalence needs a calibration, which the run does not have; fit one with isic_tf.calibrate"
        )
    return None


def rank(scores: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Returns the share of scores that are lower, ties counting half, float64 `[n]` from 0 to 1.

    Args:
        scores: Float `[n]`.
        among: Float `[m]` in ascending order.

    Examples:
        >>> rank(np.array([0.2, 0.35]), np.array([0.1, 0.2, 0.3, 0.4])).tolist()
        [0.375, 0.75]
    """
    return (np.searchsorted(among, scores, "left") + np.searchsorted(among, scores, "right")) / (2 * len(among))


def calibrate_with_interval(
    fitted: Mapping[str, Any], fold_scores: np.ndarray, prevalence: float | None, seed: int = 0
) -> np.ndarray:
    """Calibrates the mean scores of several folds, with an interval of 95 % over folds and patients.

    Each draw takes as many folds as there are, with replacement, and one refit of the calibration on a sample of its
    patients.

    Args:
        fitted: See `calibration_file.read_calibration`; of release 0.1 without refits, the interval is over folds only.
        fold_scores: float64 `[n, folds]`, 0 to 1.
        prevalence: See `calibration.apply_calibration`.
        seed: Seed of the draws.

    Returns:
        float64 `[n, 3]`: the probability, and both ends of its interval.
    """
    used_at = {"used_at": fitted.get("used_at")}
    refits = fitted.get(calibration_replicates.KEY) or [fitted] * _DRAWS
    rng = np.random.default_rng(seed)
    folds = fold_scores.shape[1]
    draws = []
    for refit in refits:
        drawn = fold_scores[:, rng.integers(0, folds, folds)].mean(axis=1)
        draws.append(calibration.apply_calibration({**refit, **used_at}, drawn, prevalence))
    probability = calibration.apply_calibration(fitted, fold_scores.mean(axis=1), prevalence)
    low, high = np.percentile(draws, _PERCENTILES, axis=0)
    # The refits need not lie around the fit itself.
    return np.stack([probability, np.minimum(low, probability), np.maximum(high, probability)], axis=1)
