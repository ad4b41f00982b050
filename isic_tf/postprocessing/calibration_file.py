"""Writes and reads the calibration of a run, `calibration.json` in its directory."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from isic_tf.artifacts import run_directory
from isic_tf.postprocessing import calibration as calibrating
from isic_tf.postprocessing import calibration_replicates
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, saved_files

CALIBRATION_FILE = "calibration.json"
_NUMBERS = {"platt": ("slope", "intercept"), "temperature": ("temperature",)}


def write_calibration(
    workdir: str,
    calibration: Mapping[str, Any],
    nested: Mapping[str, Any],
    used_at: float | None = None,
    fitted_to: str | None = None,
) -> str:
    """Writes the calibration of a run.

    Args:
        workdir: Run directory.
        calibration: See `calibration.fit_calibration`.
        nested: Cross-validated metrics, stored for the record.
        used_at: Prevalence of malignant images where the run will be used; None for that of its out-of-fold
            predictions.
        fitted_to: Prediction file that it was fitted to; None for the run's own `oof.csv`.

    Returns:
        Path of the file.
    """
    path = locate_calibration(workdir)
    content = {
        **calibration,
        "used_at": used_at,
        "fitted_to": fitted_to and os.path.basename(fitted_to),
        "run_oof_sha256": _digest(os.path.join(workdir, run_directory.OOF_FILE)),
        "nested": nested,
    }
    atomic_write.write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def locate_calibration(workdir: str) -> str:
    """Returns the path of the calibration of a run, which need not exist."""
    return os.path.join(workdir, CALIBRATION_FILE)


def read_calibration(workdir: str) -> dict[str, Any]:
    """Reads the calibration of a run.

    Args:
        workdir: Run directory.

    Returns:
        Dict, see `calibration.fit_calibration`; with `used_at`, the prevalence to correct to, or None for no
        correction, and `fitted_to`, the name of a prediction file, or None for the run's own `oof.csv`.

    Raises:
        IsicError: There is no calibration, or the run was trained further since.
        CorruptRecordError: The file is damaged.
    """
    path = locate_calibration(workdir)
    if not filesystem.exists(path):
        raise errors.IsicError(f"no calibration at {path}; create it with isic_tf.calibrate")
    with saved_files.explained_damage(path, "a calibration", "create it again with isic_tf.calibrate"):
        calibration = saved_files.read_json(path)
        check_calibration(calibration)
        # Those of release 0.1 have no refits.
        for refit in calibration.get(calibration_replicates.KEY, []):
            check_calibration(refit)
        if not isinstance(calibration.get("fitted_to"), (str, type(None))):
            raise errors.CorruptRecordError("expected fitted_to to be a name or null")
    # Other weights or more folds change the run's own predictions.
    digest = _digest(os.path.join(workdir, run_directory.OOF_FILE))
    if calibration.get("run_oof_sha256") not in (None, digest):
        raise errors.IsicError(
            f"{path} was fitted to an earlier {run_directory.OOF_FILE} of the run; create it again with "
            "isic_tf.calibrate"
        )
    return calibration


def check_calibration(calibration: Mapping[str, Any]) -> None:
    """Checks that a calibration read from a file can be applied. To be called inside `saved_files.explained_damage`.

    Args:
        calibration: See `calibration.fit_calibration`.

    Raises:
        IsicError: A value is not of its type, or the calibrated probability falls where the score rises.
        Exception: Another error of those that `saved_files.explained_damage` replaces.
    """
    numbers = ("prevalence", *_NUMBERS.get(calibration["method"], ()))
    used_at = ("used_at",) if calibration.get("used_at") is not None else ()
    saved_files.check_numbers(calibration, (*numbers, *used_at))
    if calibration["method"] == "isotonic":
        _check_steps(calibration["scores"], calibration["probabilities"])
    scores = np.linspace(0, 1, 101)
    for prevalence in (None, calibration["prevalence"]):
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            calibrated = calibrating.apply_calibration(calibration, scores, prevalence)
        if not ((calibrated >= 0) & (calibrated <= 1)).all() or not (np.diff(calibrated) >= 0).all():
            raise errors.IsicError("the calibrated probability falls where the score rises")


def _check_steps(scores: Any, probabilities: Any) -> None:
    """Checks the steps of an isotonic calibration."""
    for values in (scores, probabilities):
        steps = np.asarray(values, np.float64)
        is_rising = steps.ndim == 1 and len(steps) > 0 and bool((np.diff(steps) >= 0).all())
        if not isinstance(values, list) or not is_rising or not 0 <= steps[0] <= steps[-1] <= 1:
            raise errors.CorruptRecordError("expected scores and probabilities from 0 to 1 that do not fall")
    if len(scores) != len(probabilities):
        raise errors.CorruptRecordError(f"expected as many scores as probabilities, got {len(scores)}")


def describe_versions(calibration: Mapping[str, Any], versions: int) -> str:
    """Describes where a calibration does not fit means over several versions of an image.

    Args:
        calibration: See `read_calibration`.
        versions: Versions of each image whose scores are averaged.

    Returns:
        A sentence for a note; "" where there is one version, or the calibration was fitted to other predictions than
        those of the training, which are of one version.

    Examples:
        >>> describe_versions({"fitted_to": "oof8.csv"}, 8)
        ''
    """
    if versions == 1 or calibration.get("fitted_to") is not None:
        return ""
    return (
        "the calibration was fitted to predictions of one version of each image, but these are means of "
        f"{versions}; predict --out_of_fold with the same --tta, and fit a calibration to that with isic_tf.calibrate "
        "--oof"
    )


def _digest(path: str) -> str | None:
    """Returns the SHA-256 of a file; None where it does not exist."""
    return filesystem.compute_sha256(path) if filesystem.exists(path) else None
