"""Computes metrics of a ranking on resampled patients, exactly, and fast enough for a million images.

Ranking metrics depend only on how many benign images lie below, at and above each malignant one. So images are assigned
to places: one for each score that a malignant image has, and one between any two of these. A resample is a weight for
each patient, and the counts in all places for many resamples are one product of sparse matrices.
"""

import typing
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import sparse

# With more scores of malignant images than this, such as a million images half of them malignant, only this many of
# them, evenly spaced, have places of their own. Images between two count as ties, which changes a resample's ROC AUC by
# less than half of one in this many. Metrics of the images themselves stay exact.
MOST_SCORES = 20_000
# A block of resamples at a time has about this many counts: they fit into the processor's cache.
_BLOCK_COUNTS = 1_000_000
# Below this many images, counts are exact in float32, which is three times as fast.
_MAX_FLOAT32_IMAGES = 4_000_000
# Fewest patients with images of either class for an interval. With 10, intervals of 95 % held the true ROC AUC in 87 to
# 95 % of simulated samples; with 5 in 76 to 90 %, with 2 in 54 to 66 % (experiments/benchmarks/interval_coverage.py).
MIN_PATIENTS = 10
_NOUNS = {1: "malignant", 0: "benign"}


class Counts(typing.NamedTuple):
    """Images in the places of a ranking, in `r` resamples, from the lowest score up: what metrics are computed from."""

    positive: np.ndarray  # malignant images in each place, float64 [places, r]
    negative: np.ndarray  # benign images in each place
    missed: np.ndarray  # malignant images in each place and below
    spared: np.ndarray  # benign images in each place and below
    malignant: np.ndarray  # all malignant images, [r]; NaN where one class is missing
    benign: np.ndarray  # all benign images, [r]; NaN where one class is missing


# From `Counts` to float64 `[r]`.
Metric = Callable[[Counts], np.ndarray]


def sum_up(positive: np.ndarray, negative: np.ndarray) -> Counts:
    """Computes `Counts` from the malignant and the benign images in each place.

    Args:
        positive: float64 `[places, r]`.
        negative: float64 `[places, r]`.

    Returns:
        `Counts`.
    """
    missed = np.cumsum(positive, axis=0)
    spared = np.cumsum(negative, axis=0)
    has_both = (missed[-1] > 0) & (spared[-1] > 0)
    malignant = np.where(has_both, missed[-1], np.nan)
    benign = np.where(has_both, spared[-1], np.nan)
    return Counts(positive, negative, missed, spared, malignant, benign)


def places(targets: np.ndarray, scores: np.ndarray, most: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Numbers the places of a ranking in order of score.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        most: Maximum number of scores k; None for all.

    Returns:
        int `[n]`, the place of each image: 2k + 1 at the k-th of the malignant images' scores, 2k just below it; and
        these scores, `[k]`, in order.
    """
    cuts = np.unique(scores[targets == 1])
    if most and len(cuts) > most:
        cuts = cuts[np.linspace(0, len(cuts) - 1, most).astype(np.int64)]
    below = np.searchsorted(cuts, scores)
    return 2 * below + (np.append(cuts, np.nan)[below] == scores), cuts


def count(targets: np.ndarray, scores: np.ndarray) -> tuple[Counts, np.ndarray]:
    """Counts the malignant and the benign images in each place.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.

    Returns:
        `Counts` with r = 1, and the scores of `places`.
    """
    place, cuts = places(targets, scores)
    of_class = [np.bincount(place[targets == target], minlength=2 * len(cuts) + 1) for target in (1, 0)]
    positive, negative = (counts[:, None].astype(np.float64) for counts in of_class)
    return sum_up(positive, negative), cuts


def affordable(targets: Sequence[int] | np.ndarray | pd.Series, resamples: int, budget: int = 200_000_000) -> int:
    """Lowers the number of resamples where there are over 200,000 images, but to no fewer than 200.

    Args:
        targets: 0 or 1, `[n]`.
        resamples: Desired number.
        budget: Images to count in all resamples together.

    Returns:
        The number to use.
    """
    return min(resamples, max(200, budget // len(targets)))


def describe_too_few(
    targets: Sequence[int] | np.ndarray | pd.Series, groups: Sequence[Hashable] | np.ndarray | pd.Series
) -> str:
    """Returns why there is no interval over patients, or "" where there are enough patients of both classes.

    Args:
        targets: 0 or 1, `[n]`.
        groups: Patient of each image, any hashable values, `[n]`.

    Returns:
        Text such as `no interval: 3 patients with a malignant lesion, at least 10 needed`.

    Examples:
        >>> describe_too_few([1, 1, 0], ["p", "p", "q"])
        'no interval: 1 patients with a malignant lesion, at least 10 needed'
    """
    codes, _ = pd.factorize(_as_array(groups))
    return _describe_too_few_of_codes(np.asarray(targets), codes)


def _describe_too_few_of_codes(classes: np.ndarray, codes: np.ndarray) -> str:
    for target, noun in _NOUNS.items():
        count = np.count_nonzero(np.bincount(codes[classes == target]))
        if count < MIN_PATIENTS:
            return f"no interval: {count} patients with a {noun} lesion, at least {MIN_PATIENTS} needed"
    return ""


def _as_array(groups: Sequence[Hashable] | np.ndarray | pd.Series) -> np.ndarray:
    return groups if isinstance(groups, np.ndarray) else np.asarray(groups, dtype=object)


def resample(
    targets: np.ndarray,
    scores: np.ndarray,
    groups: Sequence[Hashable] | np.ndarray | pd.Series,
    figures: Mapping[typing.Any, Metric],
    resamples: int = 1000,
    seed: int = 0,
) -> dict[typing.Any, np.ndarray]:
    """Computes metrics of a ranking on resamples of the patients (cluster bootstrap: Field and Welsh, JRSS B 2007).

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`, or several rows of them, `[m, n]`, to evaluate on the same resamples.
        groups: Patient of each image, any hashable values, `[n]`.
        figures: Dict from a name to a function of `Counts` that returns `[r]`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict from name to float64 `[resamples]`, or `[m, resamples]`; NaN where a resample lacks a class, and everywhere
        where there are too few patients for an interval, see `describe_too_few`.
    """
    targets = np.asarray(targets)
    scores = np.asarray(scores, np.float64)
    codes, patients = pd.factorize(_as_array(groups))
    if _describe_too_few_of_codes(targets, codes):
        return {name: np.full((*scores.shape[:-1], resamples), np.nan) for name in figures}
    matrices = [count_by_patient(targets, row, codes, len(patients)) for row in np.atleast_2d(scores)]
    largest = max(len(patients), *(positive.shape[0] for positive, _ in matrices))
    dtype = matrices[0][0].dtype
    rng = np.random.default_rng(seed)
    blocks: dict[typing.Any, list[list[np.ndarray]]] = {name: [[] for _ in matrices] for name in figures}
    for block in np.diff([*range(0, resamples, max(1, _BLOCK_COUNTS // largest)), resamples]):
        weights = sample_patients(rng, len(patients), block, dtype)
        for row, (positive, negative) in enumerate(matrices):
            # Once for all metrics.
            counts = sum_up((positive @ weights).astype(np.float64), (negative @ weights).astype(np.float64))
            for name, figure in figures.items():
                blocks[name][row].append(figure(counts))
    found = {name: np.stack([np.concatenate(row) for row in rows]) for name, rows in blocks.items()}
    return found if scores.ndim == 2 else {name: rows[0] for name, rows in found.items()}


def sample_patients(rng: np.random.Generator, patients: int, resamples: int, dtype: np.dtype) -> np.ndarray:
    """Samples patients with replacement.

    Args:
        rng: Source of random numbers.
        patients: Number of patients.
        resamples: Number of resamples.
        dtype: Type of the counts.

    Returns:
        How often each patient is in each resample, `[patients, resamples]`.
    """
    weights = np.empty((patients, resamples), dtype)
    for column in range(resamples):
        chosen = rng.integers(patients, size=patients)
        weights[:, column] = np.bincount(chosen, minlength=patients)
    return weights


def count_by_patient(
    targets: np.ndarray, scores: np.ndarray, codes: np.ndarray, patients: int
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Counts each patient's malignant and benign images in each place.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        codes: int `[n]`, number of the patient of each image.
        patients: Number of patients.

    Returns:
        Counts of the malignant and of the benign images, each sparse `[places, patients]`.
    """
    place, cuts = places(targets, scores, MOST_SCORES)
    dtype = np.float32 if len(targets) < _MAX_FLOAT32_IMAGES else np.float64
    shape = (2 * len(cuts) + 1, patients)
    matrices = []
    for target in (1, 0):
        rows = np.flatnonzero(targets == target)
        matrices.append(sparse.csr_array((np.ones(len(rows), dtype), (place[rows], codes[rows])), shape=shape))
    return matrices[0], matrices[1]


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float | None, float | None]:
    """Computes the percentile interval of a metric over resamples.

    Args:
        values: Float `[resamples]`, NaN where a resample lacks a class.
        level: Fraction of resamples inside the interval.

    Returns:
        (low, high); both None where over 5 % of the resamples are NaN, as with too few patients of a class.
    """
    finite = values[np.isfinite(values)]
    if len(finite) < 0.95 * len(values):
        return None, None
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def first_to_reach(rising: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Finds in each column the first row that reaches a number.

    Args:
        rising: Float `[rows, r]`, each row at least the one before it.
        wanted: Float `[r]`.

    Returns:
        int `[r]`; the last row where none does.
    """
    columns = np.arange(rising.shape[1])
    low = np.zeros(rising.shape[1], np.int64)
    high = np.full(rising.shape[1], len(rising) - 1)
    for _ in range(len(rising).bit_length()):
        middle = (low + high) // 2
        reached = rising[middle, columns] >= wanted
        low = np.where(reached, low, np.minimum(middle + 1, high))
        high = np.where(reached, middle, high)
    return high


def roc_auc(counts: Counts) -> np.ndarray:
    """Computes the area under the ROC curve from `Counts`, `[r]`; ties count one half."""
    below = np.einsum("ij,ij->j", counts.positive, counts.spared)
    tied = np.einsum("ij,ij->j", counts.positive, counts.negative)
    return (below - tied / 2) / (counts.malignant * counts.benign)


def partial_auc(counts: Counts, min_sensitivity: float = 0.8) -> np.ndarray:
    """Computes the area under the ROC curve above a sensitivity from `Counts`, `[r]`; see `roc.partial_roc_auc`."""
    # From the lowest score up: the malignant images missed, until too many are, against the benign ones spared.
    allowed = (1 - min_sensitivity) * counts.malignant
    few = first_to_reach(counts.missed, allowed).max() + 1
    positive, negative, missed, spared = (part[:few] for part in counts[:4])
    counted = np.clip(positive - (missed - allowed), 0, positive)
    fraction = counted / np.maximum(positive, 1)
    area = np.einsum("ij,ij->j", counted, spared - negative * (1 - fraction / 2))
    return area / (counts.malignant * counts.benign)


def average_precision(counts: Counts) -> np.ndarray:
    """Computes the average precision from `Counts`, `[r]`: the mean precision at each malignant image's score."""
    true_positives = counts.malignant - counts.missed + counts.positive
    called_malignant = true_positives + (counts.benign - counts.spared + counts.negative)
    precision = true_positives / np.maximum(called_malignant, 1)
    return np.einsum("ij,ij->j", counts.positive, precision) / counts.malignant
