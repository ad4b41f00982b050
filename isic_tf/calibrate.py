"""Makes a run's scores probabilities, fitted on its out-of-fold predictions and judged on other patients.

python -m isic_tf.calibrate --workdir=runs/b0 --labels=train.csv
python -m isic_tf.predict --workdir=runs/b0 --calibrated --records='records/384/test*.tfrec' --output=test.csv

A network trained with label smoothing, on repeated malignant images or with --loss=auc (whose scores are ranks) gives
no probabilities until it is calibrated. This is fitted to the networks one by one; their average, which predict gives,
is a little less extreme, so that its calibration is close and not exact.
"""

import functools
import os

import numpy as np
from absl import flags
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf import calibration, out_of_fold, reliability, runs
from tfrecord_tools import command, storage


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
    if not storage.exists(path):
        remedy = "check --oof" if oof else "train a fold, or check --workdir"
        raise ValueError(f"expected out-of-fold predictions in {path}, found none; {remedy}")
    known = out_of_fold.read([path], labels)
    for note in known.notes:
        print(f"note: {note}")
    if runs.read_flags(workdir).get("loss") == "auc":
        print("note: scores of --loss=auc are ranks; calibrated ones are probabilities")
    figures = judge(known, ("none", *(calibration.METHODS if method == "all" else (method,))))
    best = min(figures, key=lambda name: figures[name]["log_loss"])
    fitted = calibration.fit(best if method == "all" else method, known.scores[:, 0], known.targets)
    written = calibration.write(workdir, fitted, figures, prevalence, oof)
    print(f"wrote {fitted['method']} to {written}; predict --calibrated applies it")
    if best == "none":
        print("the scores as they are were the better probabilities")


def judge(known, methods):
    """Prints how good calibrations are on patients they were not fitted on.

    Args:
        known: See `out_of_fold.read`; of one file.
        methods: See `calibration.fit`.

    Returns:
        Dict from method to a dict of `log_loss`, `brier` and `ece` (10 bins of equal width).
    """
    scores, figures = known.scores[:, 0], {}
    print(f"{len(scores)} images, {known.targets.mean():.4f} of them malignant")
    print(f"each of {len(set(known.folds))} folds judged by what was fitted on the others ('none': as they are)")
    print("method       log loss  Brier score     ECE")
    for method in methods:
        fit = functools.partial(calibration.fit, method)
        nested = out_of_fold.cross_predict(fit, calibration.apply, scores, known.targets, known.folds)
        bins = reliability.bins(known.targets, nested, np.linspace(0, 1, 11))
        loss, brier = log_loss(known.targets, nested), brier_score_loss(known.targets, nested)
        error = reliability.calibration_error(bins)
        figures[method] = {"log_loss": float(loss), "brier": float(brier), "ece": float(error)}
        print(f"{method:<11}  {loss:8.5f}  {brier:11.5f}  {error:6.4f}", flush=True)
    return figures


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run; calibration.json is written there.")
    text = "What to fit to, if not the run's oof.csv: that of predict --out_of_fold, with the --tta that will be used."
    flags.DEFINE_string("oof", None, text)
    flags.DEFINE_string(
        "labels", None, "CSV file with image_name, patient_id and target; without it, the folds of --oof are trusted."
    )
    flags.DEFINE_enum(
        "method",
        "all",
        [*calibration.METHODS, "all"],
        "platt and temperature keep all ranks, so the ROC AUC; isotonic makes ties. all: what has the least log loss.",
    )
    flags.DEFINE_float("prevalence", None, "Share of malignant images where the run is used, if not that of --oof.")
    flags.mark_flags_as_required(["workdir"])


if __name__ == "__main__":
    command.run(calibrate, define_flags)
