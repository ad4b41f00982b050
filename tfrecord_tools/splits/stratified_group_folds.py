"""Assigns patients to folds, stratified and without leaks."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, identity
from tfrecord_tools.splits import fold_audit

# Weights of an imbalance in the initial assignment: malignant images, images, patients, each bin of images per patient.
_START_WEIGHTS = (4.0, 30.0, 4.0, 0.3)
# Weights in the exchanges: malignant rate, images, patients, total variation. If folds cannot have the same number of
# malignant images, 1 to 4 makes up for a fifth of the difference by a difference in images.
_WEIGHTS = np.array([1.0, 4.0, 4.0, 1.0])
_MAX_ROUNDS = 2000
# Rounds without improvement after which the search ends.
_PATIENCE = 300
# Random exchanges that are tried in a round.
_EXCHANGES = 128
# Groups whose weighted sizes are in memory at a time.
_BLOCK = 65_536


def group_codes(patient_ids: Iterable[str], lesion_ids: Iterable[str] | None = None) -> np.ndarray:
    """Numbers the patients in order of first appearance, each once in whatever spelling.

    Where the patient is unknown, the lesion counts as one; where both are, the image does.

    Args:
        patient_ids: Text `[n]`, blank or a word such as `unknown` where unknown.
        lesion_ids: Text `[n]`, the same for lesions; None if they are not known.

    Returns:
        int64 `[n]`, codes from 0 without gaps.

    Examples:
        >>> group_codes(["B", "", "a", "b ", "unknown"]).tolist()
        [0, 1, 2, 0, 3]
        >>> group_codes(["a", "", "", ""], ["x", "x", "y", "y"]).tolist()
        [0, 1, 2, 2]
    """
    patients = identity.person_keys(pd.Series(list(patient_ids), dtype=object))
    return code_people(patients, None if lesion_ids is None else pd.Series(list(lesion_ids), dtype=object))


def code_people(patient_keys: pd.Series, lesion_ids: pd.Series | None) -> np.ndarray:
    """Does what `group_codes` does, of patients in their canonical form.

    Args:
        patient_keys: Text `[n]`, see `identity.person_keys`.
        lesion_ids: Text `[n]`; None if lesions are not known.

    Returns:
        int64 `[n]`, see `group_codes`.
    """
    keys = csv_tables.factorize_nonblank(patient_keys)
    if lesion_ids is not None:
        lesions = csv_tables.factorize_nonblank(identity.person_keys(lesion_ids))
        keys = np.where((keys < 0) & (lesions >= 0), lesions + keys.max(initial=0) + 1, keys)
    keys = np.where(keys < 0, np.arange(len(keys)) + keys.max(initial=0) + 1, keys)
    codes, _ = pd.factorize(keys)
    return codes


def assign_folds(
    groups: np.ndarray, targets: np.ndarray, num_folds: int, seed: int = 0, patients: np.ndarray | None = None
) -> np.ndarray:
    """Assigns groups of images to folds so that malignancy, images, patients and images per patient are balanced.

    Places the groups one by one, those with the most malignant images and then the most images first, each in the fold
    where it causes the least imbalance. Then moves or swaps random groups where that lowers the weighted sum of the
    squared figures of `fold_audit.audit_folds`, the criteria of Deotte's "triple stratified" folds.

    Args:
        groups: int `[n]`, the group of each image, from 0 without gaps; a group stays in one fold.
        targets: int `[n]`, 1 for malignant; any other value counts as benign.
        num_folds: Number of folds, from 2 to the number of groups.
        seed: Seed for the order of equal groups and for the exchanges; the same seed gives the same folds.
        patients: int `[n]`, the patient of each image, from 0; the groups if None. A group of several patients counts
            as that many patients, each with their own images.

    Returns:
        int64 `[n]`, folds from 0, none of them empty.

    Raises:
        ConfigError: `num_folds` is below 2 or above the number of groups.

    Examples:
        >>> folds = assign_folds(np.array([0, 0, 1, 2, 2, 3]), np.array([1, 0, 0, 1, 0, 0]), num_folds=2)
        >>> np.bincount(folds).tolist(), bool(folds[0] == folds[1])
        ([3, 3], True)
    """
    counted = groups if patients is None else patients
    sizes = fold_audit.count_loads(groups, counted, targets).astype(np.float64)
    if not 2 <= num_folds <= len(sizes):
        is_joined = patients is not None and len(sizes) <= np.max(patients)
        kind = "groups of patients, lesions and duplicates that stay together" if is_joined else "patients"
        if len(sizes) == 1:
            raise errors.ConfigError(
                f"expected at least 2 patients for folds, but all {len(groups)} images are of one; leave patient_id "
                "blank where the patient is not known"
            )
        limit = "at least 2" if num_folds < 2 else f"at most {len(sizes)}"
        raise errors.ConfigError(
            f"expected {limit} folds, since there are {len(sizes)} {kind} and each is in one fold, got {num_folds}; "
            "change --num_folds"
        )
    rng = np.random.default_rng(seed)
    fold_of_group = _place(sizes, num_folds, rng)
    fold_of_group = _exchange(sizes, fold_of_group, num_folds, rng)
    return fold_of_group[groups]


def _place(sizes: np.ndarray, num_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Places the groups one by one, and returns the fold of each."""
    mean_load = sizes.sum(axis=0) / num_folds
    bin_weights = _START_WEIGHTS[-1:] * (len(mean_load) - 4)
    weights = np.array([*_START_WEIGHTS, *bin_weights]) / np.maximum(mean_load, 1) ** 2
    loads = np.zeros((num_folds, sizes.shape[1]))
    folds = np.zeros(len(sizes), np.int64)
    order = np.lexsort((rng.random(len(sizes)), -sizes[:, 1], -sizes[:, 0]))
    growth = np.empty(num_folds)
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        for group, weighted in zip(block.tolist(), weights * sizes[block], strict=True):
            # The growth of the weighted squared loads, without what is equal for all folds; rounded as in `_cost`.
            np.matmul(loads, weighted, out=growth)
            fold = growth.round(12, out=growth).argmin()
            folds[group] = fold
            loads[fold] += sizes[group]
    return folds


def _exchange(sizes: np.ndarray, folds: np.ndarray, num_folds: int, rng: np.random.Generator) -> np.ndarray:
    """Moves or swaps groups while that lowers the cost, the best of `_EXCHANGES` random exchanges in each round."""
    folds = folds.copy()
    loads = np.zeros((num_folds, sizes.shape[1]))
    np.add.at(loads, folds, sizes)
    lowest_cost = _cost(loads)
    rounds_in_vain = 0
    trial_numbers = np.arange(_EXCHANGES)
    for _ in range(_MAX_ROUNDS):
        moved, swapped = rng.integers(len(sizes), size=(2, _EXCHANGES))
        # Nine in ten exchanges are swaps; the others only move one group.
        is_swap = rng.random(_EXCHANGES) < 0.9
        change = sizes[moved] - sizes[swapped] * is_swap[:, None]
        trials = np.repeat(loads[None], _EXCHANGES, axis=0)
        trials[trial_numbers, folds[moved]] -= change
        trials[trial_numbers, folds[swapped]] += change
        has_empty_fold = trials[..., 1].min(axis=-1) <= 0
        costs = np.where(has_empty_fold, np.inf, _cost(trials))
        best = np.argmin(costs)
        if costs[best] < lowest_cost:
            lowest_cost = costs[best]
            loads = trials[best]
            rounds_in_vain = 0
            source = folds[moved[best]]
            target = folds[swapped[best]]
            folds[moved[best]] = target
            if is_swap[best]:
                folds[swapped[best]] = source
        else:
            rounds_in_vain += 1
            if rounds_in_vain == _PATIENCE:
                break
    return folds


def _cost(loads: np.ndarray) -> np.ndarray:
    """Computes the weighted imbalance of loads `[..., f, 17]`."""
    deviations = fold_audit.compute_deviations(loads)
    # With the extremes alone, an exchange between two folds that are not extreme would not change the cost.
    squares = fold_audit.compute_spread(deviations) ** 2 + 4 * (deviations**2).mean(axis=-2)
    # Costs that are equal must be equal on every machine, in any order of summation.
    return (squares * _WEIGHTS).sum(axis=-1).round(12)
