"""Risk against coverage: the error rate of the images that are kept, as the most doubtful ones are left out.

The curve is that of selective classification (El-Yaniv and Wiener, JMLR 2010), with the share of wrong decisions as the
risk; its area is AURC (Geifman, Uziel and El-Yaniv, ICLR 2019): the mean of the risk over all coverages. In a random
order the expected risk, and so the area, is the error rate of all images.
"""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from isic_tf.metrics import cluster_bootstrap

# Of more different values than this, resamples take neighboring ones together. The area of the images stays exact.
_MOST_PLACES = 2000
# Resamples at a time.
_BLOCK = 50


def curve(is_wrong: np.ndarray, doubts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the risk at every coverage.

    Args:
        is_wrong: bool `[n]`, one image or more: whether the decision for it is wrong.
        doubts: Float `[n]`, finite: images with high values are left out first, those of one value together.

    Returns:
        Coverage, the share of images kept, above 0 and rising to 1, and the error rate of these images, both float64
        `[k]`, one for each different value of `doubts`.

    Examples:
        >>> coverage, risk = curve(np.array([True, False, True, False]), np.array([4.0, 1.0, 2.0, 3.0]))
        >>> coverage.tolist(), risk.round(2).tolist()
        ([0.25, 0.5, 0.75, 1.0], [0.0, 0.5, 0.33, 0.5])
    """
    _, place = np.unique(doubts, return_inverse=True)
    kept = np.cumsum(np.bincount(place))
    return kept / kept[-1], np.cumsum(np.bincount(place, is_wrong)) / kept


def area(coverage: np.ndarray, risk: np.ndarray) -> float:
    """Computes the area under the curve of risk against coverage, from 0 to 1; lower is better.

    Args:
        coverage: See `curve`.
        risk: See `curve`.

    Returns:
        The mean risk over all coverages.

    Examples:
        >>> area(np.array([0.5, 1.0]), np.array([0.0, 0.5]))
        0.25
    """
    return float(np.diff(coverage, prepend=0) @ risk)


def compare_with_random(
    is_wrong: np.ndarray,
    doubts: np.ndarray,
    groups: Sequence[Hashable] | np.ndarray | pd.Series,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compares the area under the curve with that of a random order, with an interval over resampled patients.

    Args:
        is_wrong: See `curve`.
        doubts: See `curve`.
        groups: Patient of each image, any hashable values, `[n]`.
        resamples: Number of resamples; 0 for no interval.
        seed: Seed of the resampling.

    Returns:
        Dict of `area`, `area_random`, `difference` (the first minus the second: below 0 where the order is better than
        random), and `low` and `high`, its 95 % interval, None without one.

    Examples:
        >>> found = compare_with_random(np.array([True, False]), np.array([2.0, 1.0]), ["p", "q"], resamples=0)
        >>> found["area"], found["area_random"]
        (0.25, 0.5)
    """
    found = area(*curve(is_wrong, doubts))
    at_random = float(np.mean(is_wrong))
    _, place = np.unique(doubts, return_inverse=True)
    place = place * min(1, _MOST_PLACES / (place.max() + 1))
    codes, patients = pd.factorize(np.asarray(groups, dtype=object))
    shape = (_MOST_PLACES, len(patients))
    counts, errors = (
        sparse.csr_array((values.astype(np.float64), (place.astype(int), codes)), shape=shape)
        for values in (np.ones(len(codes)), is_wrong)
    )
    rng = np.random.default_rng(seed)
    differences = [np.empty(0)]
    for block in np.diff([*range(0, resamples, _BLOCK), resamples]):
        weights = cluster_bootstrap.sample_patients(rng, len(patients), block, np.dtype(np.float64))
        kept, wrong = (np.cumsum(matrix @ weights, axis=0) for matrix in (counts, errors))
        # Before the first image of a resample nothing is kept, and nothing adds to the area.
        areas = np.einsum("ij,ij->j", np.diff(kept, axis=0, prepend=0), wrong / np.maximum(kept, 1))
        differences.append((areas - wrong[-1]) / kept[-1])
    low, high = cluster_bootstrap.interval(np.concatenate(differences)) if resamples else (None, None)
    return {"area": found, "area_random": at_random, "difference": found - at_random, "low": low, "high": high}
