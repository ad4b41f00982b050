"""Figures of a ranking on resampled patients, exact, and fast enough for a million images.

What a ranking is worth depends on how many benign images lie below, at and above each malignant one, and on nothing
else. So images are put into places: one for each score that a malignant image has, and one between any two of these.
A resample weighs patients, and the counts in all places for many resamples are one product of sparse matrices.
"""

import typing

import numpy as np
import pandas as pd
from scipy import sparse

# With more scores of malignant images than this, as of a million images half of them malignant, only so many of them,
# evenly drawn, make places of their own. Images between two count as alike, which moves a resample's ROC AUC by less
# than half of one in so many. Figures of the images themselves stay exact.
MOST_SCORES = 20_000


class Counts(typing.NamedTuple):
    """Images in the places of a ranking, in `r` resamples, from the lowest score up: what figures are made of."""

    positive: np.ndarray  # malignant ones in each place, float64 [places, r]
    negative: np.ndarray  # benign ones
    missed: np.ndarray  # malignant ones in each place and below
    spared: np.ndarray  # benign ones
    malignant: np.ndarray  # all malignant ones, [r]; NaN where one class is missing
    benign: np.ndarray  # all benign ones


def sum_up(positive, negative):
    """Makes `Counts` of the malignant and the benign images in each place, `[places, r]`."""
    missed, spared = np.cumsum(positive, axis=0), np.cumsum(negative, axis=0)
    there = (missed[-1] > 0) & (spared[-1] > 0)
    return Counts(positive, negative, missed, spared, *(np.where(there, part[-1], np.nan) for part in (missed, spared)))


def places(targets, scores, most=None):
    """Numbers the places of a ranking in order of score.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        most: Number k of scores at most; None for all.

    Returns:
        int `[n]`, the place of each image: 2k + 1 at the k-th of the malignant images' scores, 2k just below it; and
        these scores, `[k]`, in order.
    """
    cuts = np.unique(scores[targets == 1])
    if most and len(cuts) > most:
        cuts = cuts[np.linspace(0, len(cuts) - 1, most).astype(np.int64)]
    below = np.searchsorted(cuts, scores)
    return 2 * below + (np.append(cuts, np.nan)[below] == scores), cuts


def count(targets, scores):
    """Counts the malignant and the benign images in each place.

    Returns:
        `Counts` with r = 1, and the scores of `places`.
    """
    place, cuts = places(targets, scores)
    both = (np.bincount(place[targets == kind], minlength=2 * len(cuts) + 1) for kind in (1, 0))
    return sum_up(*(part[:, None].astype(np.float64) for part in both)), cuts


def affordable(targets, resamples, budget=200_000_000):
    """Lowers the number of resamples where there are over 200,000 images, but to no fewer than 200.

    Args:
        targets: 0 or 1, `[n]`.
        resamples: Number wished for.
        budget: Images to count in all resamples.

    Returns:
        The number to use.
    """
    return min(resamples, max(200, budget // len(targets)))


def resample(targets, scores, groups, figures, resamples=1000, seed=0):
    """Computes figures of a ranking on resamples of the patients (cluster bootstrap: Field and Welsh, JRSS B 2007).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, or several rows of them, `[m, n]`, to be judged on the same resamples.
        groups: Patient of each image, any hashable values, `[n]`.
        figures: Dict from a name to a function of `Counts` that gives `[r]`.
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
            # Once for all figures.
            counts = sum_up(*((matrix @ drawn).astype(np.float64) for matrix in (positive, negative)))
            for name, figure in figures.items():
                found[name][row].append(figure(counts))
    found = {name: np.stack([np.concatenate(blocks) for blocks in rows]) for name, rows in found.items()}
    return found if scores.ndim == 2 else {name: rows[0] for name, rows in found.items()}


def _matrices(targets, scores, codes, patients):
    """Counts each patient's malignant and benign images in each place: two sparse `[places, patients]`."""
    place, cuts = places(targets, scores, MOST_SCORES)
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


def first_to_reach(rising, wanted):
    """Finds in each column the first row that reaches a number.

    Args:
        rising: Float `[rows, r]`, no row less than that before it.
        wanted: Float `[r]`.

    Returns:
        int `[r]`; the last row where none does.
    """
    columns, low, high = np.arange(rising.shape[1]), 0, np.full(rising.shape[1], len(rising) - 1)
    for _ in range(len(rising).bit_length()):
        middle = (low + high) // 2
        reached = rising[middle, columns] >= wanted
        low, high = np.where(reached, low, np.minimum(middle + 1, high)), np.where(reached, middle, high)
    return high


def roc_auc(counts):
    """Computes the area under the ROC curve from `Counts`, `[r]`; ties count a half."""
    below, tied = (np.einsum("ij,ij->j", counts.positive, part) for part in (counts.spared, counts.negative))
    return (below - tied / 2) / (counts.malignant * counts.benign)


def partial_auc(counts, min_sensitivity=0.8):
    """Computes the area under the ROC curve above a sensitivity from `Counts`, `[r]`; see `roc.partial_roc_auc`."""
    # From the lowest score up: the malignant images missed, until too many are, against the benign ones spared.
    allowed = (1 - min_sensitivity) * counts.malignant
    few = first_to_reach(counts.missed, allowed).max() + 1
    positive, negative, missed, spared = (part[:few] for part in counts[:4])
    counted = np.clip(positive - (missed - allowed), 0, positive)
    share = counted / np.maximum(positive, 1)
    area = np.einsum("ij,ij->j", counted, spared - negative * (1 - share / 2))
    return area / (counts.malignant * counts.benign)


def average_precision(counts):
    """Computes the average precision from `Counts`, `[r]`: the mean precision at each malignant image's score."""
    found = counts.malignant - counts.missed + counts.positive
    taken = found + (counts.benign - counts.spared + counts.negative)
    return np.einsum("ij,ij->j", counts.positive, found / np.maximum(taken, 1)) / counts.malignant
