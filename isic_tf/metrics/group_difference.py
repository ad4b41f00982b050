"""Compares the ROC AUC of two groups of images, some patients of which may be in both."""

from typing import Any

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, roc

# A block of resamples at a time has about this many counts: they fit into the processor's cache.
_BLOCK_COUNTS = 1_000_000


def compare(
    targets: np.ndarray,
    scores: np.ndarray,
    patient: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Any]:
    """Computes the difference of the ROC AUCs of two groups, with its 95 % interval over resampled patients.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        patient: int `[n]`, number of the patient of each image.
        first: bool `[n]`, the images of the first group.
        second: bool `[n]`, those of the second.
        resamples: Number of resamples of the patients of both groups together.
        seed: Seed of the resampling.

    Returns:
        Dict of `difference`, the first minus the second; `low` and `high`, None where a group has too few patients; and
        `interval_note`: "", or why there is no interval, see `cluster_bootstrap.describe_too_few`.

    Examples:
        >>> targets, scores = np.array([0, 1, 0, 1]), np.array([0.1, 0.9, 0.5, 0.5])
        >>> first = np.array([True, True, False, False])
        >>> compare(targets, scores, np.arange(4), first, ~first)["difference"]
        0.5
    """
    groups = [np.flatnonzero(first), np.flatnonzero(second)]
    higher, lower = (roc.roc_auc(targets[rows], scores[rows]) for rows in groups)
    notes = [cluster_bootstrap.describe_too_few(targets[rows], patient[rows]) for rows in groups]
    found = {"difference": higher - lower, "low": None, "high": None, "interval_note": next(filter(None, notes), "")}
    if found["interval_note"]:
        return found
    own = np.union1d(*groups)
    codes = np.full(len(patient), -1)
    codes[own], patients = pd.factorize(patient[own])
    matrices = [
        cluster_bootstrap.count_by_patient(targets[rows], scores[rows], codes[rows], len(patients)) for rows in groups
    ]
    largest = max(len(patients), *(positive.shape[0] for positive, _ in matrices))
    rng = np.random.default_rng(seed)
    differences = []
    for block in np.diff([*range(0, resamples, max(1, _BLOCK_COUNTS // largest)), resamples]):
        weights = cluster_bootstrap.sample_patients(rng, len(patients), block, matrices[0][0].dtype)
        counts = [
            cluster_bootstrap.sum_up((positive @ weights).astype(np.float64), (negative @ weights).astype(np.float64))
            for positive, negative in matrices
        ]
        differences.append(cluster_bootstrap.roc_auc(counts[0]) - cluster_bootstrap.roc_auc(counts[1]))
    found["low"], found["high"] = cluster_bootstrap.interval(np.concatenate(differences))
    return found
