"""Fits a run's calibration on its out-of-fold predictions, and evaluates it by cross-validation."""

import dataclasses
import functools
import logging
import os

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf.artifacts import run_directory
from isic_tf.metrics import calibration_metrics
from isic_tf.postprocessing import calibration, cross_validation, out_of_fold
from tfrecord_tools import cli, errors
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrateConfig(cli.Config):
    """How to calibrate a run."""

    workdir: str = cli.option(help="Run directory; calibration.json is written there.")
    oof: str | None = cli.option(
        None,
        help="Out-of-fold predictions to fit on instead of the run's oof.csv: those of predict --out_of_fold, with the --tta that will be used.",
    )
    labels: str | None = cli.option(
        None,
        help="CSV file with image_name, patient_id and target; without it, the folds of --oof are trusted to separate patients.",
    )
    method: str = cli.option(
        "all",
        choices=(*calibration.METHODS, "all"),
        help="Calibration method. platt and temperature preserve ranks, hence the ROC AUC; isotonic creates ties; all: the method with the lowest log loss.",
    )
    prevalence: float | None = cli.option(
        None, help="Prevalence of malignant lesions where the run is used, if it differs from that of --oof."
    )


def calibrate(config):
    """Fits a run's calibration on out-of-fold predictions, prints how good each is on other patients, and saves one.

    Args:
        config: `CalibrateConfig`.

    Raises:
        IsicError: The run has no out-of-fold predictions, or they cannot judge a fit; see `out_of_fold.read`.
    """
    calibration.refuse_prevalence(config.prevalence)
    path = config.oof or os.path.join(config.workdir, "oof.csv")
    if not filesystem.exists(path):
        remedy = "check --oof" if config.oof else "train a fold, or check --workdir"
        raise errors.IsicError(f"expected out-of-fold predictions in {path}, found none; {remedy}")
    known = out_of_fold.read([path], config.labels)
    for note in known.notes:
        _LOG.info(f"note: {note}")
    if run_directory.read_flags(config.workdir).get("loss") == "auc":
        _LOG.info("note: scores of --loss=auc are ranks; calibrated ones are probabilities")
    figures = evaluate_calibration(
        known, ("none", *(calibration.METHODS if config.method == "all" else (config.method,)))
    )
    best = min(figures, key=lambda name: figures[name]["log_loss"])
    fitted = calibration.fit_calibration(
        best if config.method == "all" else config.method, known.scores[:, 0], known.targets
    )
    written = calibration.write_calibration(config.workdir, fitted, figures, config.prevalence, config.oof)
    _LOG.info(f"wrote {fitted['method']} to {written}; predict --calibrated applies it")
    if best == "none":
        _LOG.info("the scores as they are were the better probabilities")


def evaluate_calibration(known, methods):
    """Prints how good calibrations are on patients they were not fitted on.

    Args:
        known: See `out_of_fold.read`; of one file.
        methods: See `calibration.fit_calibration`.

    Returns:
        Dict from method to a dict of `log_loss`, `brier` and `ece` (10 bins of equal width).
    """
    scores, figures = known.scores[:, 0], {}
    _LOG.info(f"{len(scores)} images, {known.targets.mean():.4f} of them malignant")
    _LOG.info(f"each of {len(set(known.folds))} folds judged by what was fitted on the others ('none': as they are)")
    _LOG.info("method       log loss  Brier score     ECE")
    for method in methods:
        fit = functools.partial(calibration.fit_calibration, method)
        nested = cross_validation.cross_predict(fit, calibration.apply_calibration, scores, known.targets, known.folds)
        bins = calibration_metrics.bins(known.targets, nested, np.linspace(0, 1, 11))
        loss, brier = log_loss(known.targets, nested), brier_score_loss(known.targets, nested)
        error = calibration_metrics.calibration_error(bins)
        figures[method] = {"log_loss": float(loss), "brier": float(brier), "ece": float(error)}
        _LOG.info(f"{method:<11}  {loss:8.5f}  {brier:11.5f}  {error:6.4f}")
    return figures
