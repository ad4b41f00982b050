"""Fits the calibration of a run on its out-of-fold predictions, and evaluates it by cross-validation."""

import dataclasses
import functools
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.metrics import calibration_metrics
from isic_tf.postprocessing import (
    calibration,
    calibration_file,
    calibration_replicates,
    class_calibration,
    class_calibration_run,
    cross_validation,
    out_of_fold,
)
from isic_tf.postprocessing.config import CALIBRATIONS, CalibrateConfig
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class CalibrationResult:
    """A fitted calibration, and how good the methods are on patients that they were not fitted on.

    Args:
        calibration: See `calibration.fit_calibration`; of several classes also `classes`, see
            `class_calibration_run.fit_classes`.
        metrics: Dict from method (`none`: the scores as they are) to `log_loss`, `brier` and `ece`.
        path: The file that was written.

    Examples:
        >>> metrics = {"none": {"log_loss": 0.31}, "platt": {"log_loss": 0.07}}
        >>> result = CalibrationResult({"method": "platt"}, metrics, "runs/b0/calibration.json")
        >>> min(result.metrics, key=lambda method: result.metrics[method]["log_loss"])
        'platt'
    """

    calibration: dict[str, Any]
    metrics: dict[str, dict[str, float]]
    path: str


def calibrate(config: CalibrateConfig) -> CalibrationResult:
    """Fits the calibration of a run on out-of-fold predictions, evaluates it by cross-validation, and writes it.

    Args:
        config: The run, the method, and the predictions to fit on.

    Returns:
        The calibration and the metrics of the methods.

    Raises:
        IsicError: The run has no out-of-fold predictions, or a fit cannot be evaluated on them; see `out_of_fold.read`.

    Examples:
        >>> result = calibrate(CalibrateConfig(workdir="runs/b0", labels="train.csv"))  # doctest: +SKIP
        >>> result.calibration["method"], result.metrics["platt"]["log_loss"]  # doctest: +SKIP
        ('platt', 0.0654)
    """
    known = _read_predictions(config)
    for note in known.notes:
        _LOG.warning(f"note: {note}")
    flags = run_directory.read_flags(config.workdir)
    if flags.get("loss") == "auc":
        _LOG.warning("note: scores of --loss=auc are ranks; calibrated ones are probabilities")
    with_classes = class_calibration_run.read_classes(_locate(config), known, flags, config.table, config.labels)
    candidates = CALIBRATIONS if config.method == "all" else (config.method,)
    metrics = evaluate_calibration(known, ("none", *candidates))
    best = min(metrics, key=lambda name: metrics[name]["log_loss"])
    method = best if config.method == "all" else config.method
    fitted = calibration.fit_calibration(method, known.scores[:, 0], known.targets)
    patients = seen_images.find_patients(config.workdir, known.names) if known.patients is None else known.patients
    replicates = calibration_replicates.fit_replicates(method, known.scores[:, 0], known.targets, patients)
    fitted[calibration_replicates.KEY] = replicates
    if with_classes:
        choices = ("none", *candidates) if config.method == "all" else candidates
        fitted[class_calibration.KEY] = class_calibration_run.fit_classes(known, with_classes, fitted, choices)
    path = calibration_file.write_calibration(config.workdir, fitted, metrics, config.prevalence, config.oof)
    _LOG.info(f"wrote {fitted['method']} to {path}; predict --calibrated applies it")
    if best == "none":
        _LOG.warning("note: the uncalibrated scores have the lowest log loss")
    return CalibrationResult(fitted, metrics, path)


def _locate(config: CalibrateConfig) -> str:
    """Returns the path of the out-of-fold predictions to fit on."""
    return config.oof or os.path.join(config.workdir, run_directory.OOF_FILE)


def _read_predictions(config: CalibrateConfig) -> out_of_fold.OutOfFold:
    path = _locate(config)
    if not filesystem.exists(path):
        remedy = "check --oof" if config.oof else "train a fold, or check --workdir"
        raise errors.IsicError(f"no out-of-fold predictions at {path}; {remedy}")
    return out_of_fold.read([path], config.labels)


def evaluate_calibration(known: out_of_fold.OutOfFold, methods: Sequence[str]) -> dict[str, dict[str, float]]:
    """Evaluates calibrations by cross-validation, and logs a table of their metrics.

    Args:
        known: Out-of-fold predictions of one file.
        methods: See `calibration.fit_calibration`.

    Returns:
        Dict from method to a dict of `log_loss`, `brier` (Brier score) and `ece` (expected calibration error, 10 bins
        of equal width), all from predictions of fits on the other folds.
    """
    _LOG.info(f"{len(known.targets)} images, {known.targets.mean():.4f} of them malignant")
    _LOG.info(f"each of {len(set(known.folds))} folds is calibrated by a fit on the others (none: uncalibrated)")
    _LOG.info("method       log loss  Brier score     ECE")
    metrics = {}
    for method in methods:
        found = _cross_validate(known, method)
        metrics[method] = found
        _LOG.info(f"{method:<11}  {found['log_loss']:8.5f}  {found['brier']:11.5f}  {found['ece']:6.4f}")
    return metrics


def _cross_validate(known: out_of_fold.OutOfFold, method: str) -> dict[str, float]:
    fit = functools.partial(calibration.fit_calibration, method)
    nested = cross_validation.cross_predict(
        fit, calibration.apply_calibration, known.scores[:, 0], known.targets, known.folds
    )
    bins = calibration_metrics.bins(known.targets, nested, np.linspace(0, 1, 11))
    return {
        "log_loss": float(log_loss(known.targets, nested)),
        "brier": float(brier_score_loss(known.targets, nested)),
        "ece": float(calibration_metrics.calibration_error(bins)),
    }
