"""Fits a run's calibration on its out-of-fold predictions, and evaluates it by cross-validation."""

import functools
import os

import numpy as np
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf.artifacts import run_directory
from isic_tf.metrics import calibration_metrics
from isic_tf.postprocessing import calibration, cross_validation, out_of_fold
from tfrecord_tools.io import filesystem


def calibrate(workdir, oof, labels, method, prevalence):
    """Fits a run's calibration on out-of-fold predictions, prints how good each is on other patients, and saves one.

    Args:
        workdir: Run folder.
        oof: Prediction file of the run's, as of `predict --out_of_fold --tta=8`; or None for the run's `oof.csv`.
        labels: CSV file with `image_name`, `patient_id` and `target`; or None for the file's own targets and folds.
        method: One of `calibration.METHODS`, or `all` for what has the least nested log loss, which may be the scores
            as they are.
        prevalence: Share of malignant images where the run will be used, in (0, 1); or None for that of these.

    Raises:
        ValueError: The run has no out-of-fold predictions, or they cannot judge a fit; see `out_of_fold.read`.
    """
    calibration.refuse_prevalence(prevalence)
    path = oof or os.path.join(workdir, "oof.csv")
    if not filesystem.exists(path):
        remedy = "check --oof" if oof else "train a fold, or check --workdir"
        raise ValueError(f"expected out-of-fold predictions in {path}, found none; {remedy}")
    known = out_of_fold.read([path], labels)
    for note in known.notes:
        print(f"note: {note}")
    if run_directory.read_flags(workdir).get("loss") == "auc":
        print("note: scores of --loss=auc are ranks; calibrated ones are probabilities")
    figures = evaluate_calibration(known, ("none", *(calibration.METHODS if method == "all" else (method,))))
    best = min(figures, key=lambda name: figures[name]["log_loss"])
    fitted = calibration.fit_calibration(best if method == "all" else method, known.scores[:, 0], known.targets)
    written = calibration.write_calibration(workdir, fitted, figures, prevalence, oof)
    print(f"wrote {fitted['method']} to {written}; predict --calibrated applies it")
    if best == "none":
        print("the scores as they are were the better probabilities")


def evaluate_calibration(known, methods):
    """Prints how good calibrations are on patients they were not fitted on.

    Args:
        known: See `out_of_fold.read`; of one file.
        methods: See `calibration.fit_calibration`.

    Returns:
        Dict from method to a dict of `log_loss`, `brier` and `ece` (10 bins of equal width).
    """
    scores, figures = known.scores[:, 0], {}
    print(f"{len(scores)} images, {known.targets.mean():.4f} of them malignant")
    print(f"each of {len(set(known.folds))} folds judged by what was fitted on the others ('none': as they are)")
    print("method       log loss  Brier score     ECE")
    for method in methods:
        fit = functools.partial(calibration.fit_calibration, method)
        nested = cross_validation.cross_predict(fit, calibration.apply_calibration, scores, known.targets, known.folds)
        bins = calibration_metrics.bins(known.targets, nested, np.linspace(0, 1, 11))
        loss, brier = log_loss(known.targets, nested), brier_score_loss(known.targets, nested)
        error = calibration_metrics.calibration_error(bins)
        figures[method] = {"log_loss": float(loss), "brier": float(brier), "ece": float(error)}
        print(f"{method:<11}  {loss:8.5f}  {brier:11.5f}  {error:6.4f}", flush=True)
    return figures
