"""Patients' lesions as padded sets: few and static shapes, so that few graphs are traced and TPUs can compile them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfrecord_tools import errors

# Lesions in a batch, padding included.
_ROWS = 1024
_MIN_LENGTH = 8
# Attention is quadratic in the length: four times as many would need gigabytes.
_MAX_LENGTH = 4096


def group(patients: np.ndarray, keys: np.ndarray) -> list[np.ndarray]:
    """Groups rows by patient.

    Args:
        patients: Int or text `[n]`; a row with blank text is a set of its own.
        keys: Float `[n, k]` that order the rows of a patient, so that the order of the input does not matter.

    Returns:
        List of int arrays, the rows of each patient, in the order of the patients.

    Raises:
        IsicError: A patient has more than 4,096 rows.

    Examples:
        >>> [rows.tolist() for rows in group(np.array(["b", "a", "b"]), np.array([[2.0], [0.0], [1.0]]))]
        [[1], [2, 0]]
    """
    patients = np.asarray(patients)
    names, codes = np.unique(patients, return_inverse=True)
    if patients.dtype.kind in "OSU":
        is_blank = np.isin(patients, ("", b""))
        codes = np.where(is_blank, len(names) + np.cumsum(is_blank), codes)
    order = np.lexsort((*keys.T[::-1], codes))
    sets = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    longest = max(sets, key=len)
    if len(longest) > _MAX_LENGTH:
        raise errors.IsicError(
            f"expected at most {_MAX_LENGTH} lesions per patient, got {len(longest)} of {patients[longest[0]]}; leave "
            "the patient_id blank where the patient is not known"
        )
    return sets


def batches(sets: Sequence[np.ndarray], rng: np.random.Generator | None = None) -> list[np.ndarray]:
    """Pads sets to lengths of 8, 16, 32 and so on, and combines sets of one length into batches of one size.

    Args:
        sets: See `group`.
        rng: NumPy generator to shuffle with; None for the order of the patients.

    Returns:
        List of int arrays `[B, L]` of rows, -1 for padding.
    """
    lengths = np.maximum(_MIN_LENGTH, 2 ** np.ceil(np.log2([len(rows) for rows in sets])).astype(int))
    found = []
    for length in np.unique(lengths):
        size = max(1, _ROWS // length)
        chosen = np.flatnonzero(lengths == length)
        if rng:
            rng.shuffle(chosen)
        for start in range(0, len(chosen), size):
            index = np.full((size, length), -1)
            for place, number in enumerate(chosen[start : start + size]):
                index[place, : len(sets[number])] = sets[number]
            found.append(index)
    if rng:
        rng.shuffle(found)
    return found


def gather(index: np.ndarray, tables: Sequence[np.ndarray], replicas: int = 1) -> list[np.ndarray]:
    """Gathers the rows of a batch from tables.

    Args:
        index: Int `[B, L]`, see `batches`.
        tables: Float32 arrays `[n, ...]`.
        replicas: What the batch size must be a multiple of; sets of padding fill it up.

    Returns:
        List of float32 `[B, L, ...]` for each table, 0 in the padding, and the mask `[B, L]`.
    """
    index = np.pad(index, ((0, -len(index) % replicas), (0, 0)), constant_values=-1)
    mask = (index >= 0).astype("float32")
    return [*(table[index] * mask[..., None] for table in tables), mask]


def share(strategy: tf.distribute.Strategy, values: Sequence[np.ndarray]) -> Any:
    """Distributes arrays `[B, ...]` among the replicas of a strategy, in equal parts."""
    shares = list(zip(*(np.split(value, strategy.num_replicas_in_sync) for value in values), strict=True))

    def own_share(context: tf.distribute.ReplicaContext) -> tuple[tf.Tensor, ...]:
        return tuple(tf.constant(part) for part in shares[context.replica_id_in_sync_group])

    return strategy.experimental_distribute_values_from_function(own_share)
