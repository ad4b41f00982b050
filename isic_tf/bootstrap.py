"""Figures of a ranking on resampled patients, exact, and fast enough for a million images.

What a ranking is worth depends on how many benign images lie below, at and above each malignant one, and on nothing
else. So images are put into places: one for each score that a malignant image has, and one between any two of these.
A resample weighs patients, and the counts in all places for many resamples are one product of sparse matrices.
"""

import numpy as np
import pandas as pd
from scipy import sparse


def places(targets, scores):
    """Numbers the places of a ranking in order of score.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.

    Returns:
        int `[n]`, the place of each image: 2k + 1 at the k-th of the malignant images' scores, 2k just below it; and
        these scores, `[k]`, in order.
    """
    cuts = np.unique(scores[targets == 1])
    below = np.searchsorted(cuts, scores)
    return 2 * below + (np.append(cuts, np.nan)[below] == scores), cuts


def count(targets, scores):
    """Counts the malignant and the benign images in each place.

    Returns:
        Two float64 `[places, 1]`, to give to the figures below, and the scores of `places`.
    """
    place, cuts = places(targets, scores)
    size = 2 * len(cuts) + 1
    return *(np.bincount(place[targets == kind], minlength=size)[:, None].astype(np.float64) for kind in (1, 0)), cuts


def affordable(targets, resamples, budget=200_000_000):
    """Lowers the number of resamples where there are over about 180,000 images, but to no fewer than 200.

    Args:
        targets: 0 or 1, `[n]`.
        resamples: Number wished for.
        budget: Images to count in all resamples, malignant ones ninefold, since each may make two places more.

    Returns:
        The number to use.
    """
    return min(resamples, max(200, budget // (len(targets) + 8 * int(np.sum(targets)))))


def resample(targets, scores, groups, figures, resamples=1000, seed=0):
    """Computes figures of a ranking on resamples of the patients (cluster bootstrap: Field and Welsh, JRSS B 2007).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, or several rows of them, `[m, n]`, to be judged on the same resamples.
        groups: Patient of each image, any hashable values, `[n]`.
        figures: Dict from a name to a function of the counts in all places, `[places, r]` of malignant and of benign
            images, that gives `[r]`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict from name to float64 `[resamples]`, or `[m, resamples]`; NaN where a resample lacks a class.
    """
    targets, scores = np.asarray(targets), np.asarray(scores, np.float64)
    codes, patients = pd.factorize(groups if isinstance(groups, np.ndarray) else np.asarray(groups, dtype=object))
    pairs = [_matrices(targets, row, codes, len(patients)) for row in np.atleast_2d(scores)]
    largest = max(len(patients), *(positive.shape[0] for positive, _ in pairs))
    rng, found = np.random.default_rng(seed), {name: [[] for _ in pairs] for name in figures}
    dtype = pairs[0][0].dtype
    # A block of resamples at a time: few enough counts for the processor's cache.
    for block in np.diff([*range(0, resamples, max(1, 1_000_000 // largest)), resamples]):
        drawn = np.empty((len(patients), block), dtype)
        for column in range(block):
            chosen = rng.integers(len(patients), size=len(patients))
            drawn[:, column] = np.bincount(chosen, minlength=len(patients))
        for row, (positive, negative) in enumerate(pairs):
            counts = [(matrix @ drawn).astype(np.float64) for matrix in (positive, negative)]
            for name, figure in figures.items():
                found[name][row].append(figure(*counts))
    found = {name: np.stack([np.concatenate(blocks) for blocks in rows]) for name, rows in found.items()}
    return found if scores.ndim == 2 else {name: rows[0] for name, rows in found.items()}


def _matrices(targets, scores, codes, patients):
    """Counts each patient's malignant and benign images in each place: two sparse `[places, patients]`."""
    place, cuts = places(targets, scores)
    shape = (2 * len(cuts) + 1, patients)
    rows = [np.flatnonzero(targets == kind) for kind in (1, 0)]
    # Three times as fast, and counts up to 16 million are exact in it.
    dtype = np.float32 if len(targets) < 4_000_000 else np.float64
    return [sparse.csr_array((np.ones(len(row), dtype), (place[row], codes[row])), shape=shape) for row in rows]


def interval(values, level=0.95):
    """Gives the percentile interval of a figure over resamples.

    Args:
        values: Float `[resamples]`, NaN where a resample lacks a class.
        level: Share of resamples inside the interval.

    Returns:
        (low, high); both None where over 5 % of the resamples lack a class, as with fewer than three patients of one.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < 0.95 * len(values):
        return None, None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def totals(positive, negative):
    """Counts the malignant and the benign images, `[r]` each; NaN where one class is missing."""
    totals = positive.sum(axis=0), negative.sum(axis=0)
    there = (totals[0] > 0) & (totals[1] > 0)
    return [np.where(there, total, np.nan) for total in totals]


def roc_auc(positive, negative):
    """Computes the area under the ROC curve from counts in places, `[places, r]`; ties count a half."""
    malignant, benign = totals(positive, negative)
    below = np.cumsum(negative, axis=0) - negative / 2
    return np.einsum("ij,ij->j", positive, below) / (malignant * benign)


def partial_auc(positive, negative, min_sensitivity=0.8):
    """Computes the area under the ROC curve above a sensitivity from counts in places; see `metrics.partial_auc`."""
    malignant, benign = totals(positive, negative)
    # From the lowest score up: the malignant images missed, until too many are, against the benign ones spared.
    missed = np.cumsum(positive, axis=0)
    allowed = (1 - min_sensitivity) * malignant
    counted = np.clip(positive - (missed - allowed), 0, positive)
    share = counted / np.maximum(positive, 1)
    spared = np.cumsum(negative, axis=0) - negative * (1 - share / 2)
    return np.einsum("ij,ij->j", counted, spared) / (malignant * benign)


def average_precision(positive, negative):
    """Computes the average precision from counts in places: the mean precision at each malignant image's score."""
    malignant, _ = totals(positive, negative)
    found, taken = (np.cumsum(part[::-1], axis=0)[::-1] for part in (positive, positive + negative))
    return np.einsum("ij,ij->j", positive, found / np.maximum(taken, 1)) / malignant
