"""Refits a calibration on resampled patients: how uncertain its probabilities are."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from isic_tf.postprocessing import calibration

# The key of the refits in a calibration.
KEY = "replicates"
COUNT = 100
# Draws of patients that hold one class only are drawn again, so often in all.
_MOST_DRAWS = 10 * COUNT


def fit_replicates(
    method: str,
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    patients: Sequence[str] | np.ndarray,
    count: int = COUNT,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Fits a calibration on samples of patients, drawn with replacement (a cluster bootstrap, Field and Welsh 2007).

    Args:
        method: See `calibration.fit_calibration`.
        probabilities: Out-of-fold scores, float `[n]`, from 0 to 1.
        targets: 0 or 1, `[n]`, both present.
        patients: Text `[n]`, "" where unknown: such an image is a patient of its own.
        count: Number of samples.
        seed: Seed of the samples.

    Returns:
        One dict for each sample, see `calibration.fit_calibration`, without the number of images; an empty list where
        there are so few patients that samples hold one class only.

    Examples:
        >>> scores, targets = [0.1, 0.2, 0.3, 0.6, 0.7, 0.8], [0, 0, 1, 0, 1, 1]
        >>> fits = fit_replicates("platt", scores, targets, ["a", "b", "b", "c", "d", ""], count=3)
        >>> [sorted(fit) for fit in fits][0]
        ['intercept', 'method', 'prevalence', 'slope']
    """
    scores = np.asarray(probabilities, np.float64)
    labels = np.asarray(targets)
    images = _group_images(patients)
    rng = np.random.default_rng(seed)
    fits: list[dict[str, Any]] = []
    for _ in range(_MOST_DRAWS):
        if len(fits) == count:
            return fits
        drawn = np.concatenate([images[number] for number in rng.integers(0, len(images), len(images))])
        if 0 < labels[drawn].sum() < len(drawn):
            fitted = calibration.fit_calibration(method, scores[drawn], labels[drawn])
            fits.append({name: value for name, value in fitted.items() if name != "images"})
    return []


def _group_images(patients: Sequence[str] | np.ndarray) -> list[np.ndarray]:
    """Returns the places of each patient's images, int64 `[images]`."""
    names = pd.Series(list(patients), dtype=object)
    own = "image " + pd.Series(range(len(names))).astype(str)
    codes, _ = pd.factorize(names.where(names == "", "patient " + names).where(names != "", own))
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
