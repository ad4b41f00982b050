"""Rows of patients as padded sets: few shapes, so that few graphs are traced, and static ones, as TPUs want them."""

import numpy as np
import tensorflow as tf

from tfrecord_tools import errors

# Lesions of a batch, padding among them.
_ROWS = 1024
_SHORTEST = 8
# Attention is quadratic: four times as many would need gigabytes.
_LONGEST = 4096


def group(patients, keys):
    """Groups rows by patient.

    Args:
        patients: Int or text `[n]`; a row of blank text is a set of its own.
        keys: Float `[n, k]` that order a patient's rows, so that the order in which they come changes nothing.

    Returns:
        List of int arrays, the rows of each patient, in order of patient.

    Raises:
        IsicError: A patient has more than 4,096 rows.
    """
    patients = np.asarray(patients)
    names, codes = np.unique(patients, return_inverse=True)
    if patients.dtype.kind in "OSU":
        blank = np.isin(patients, ("", b""))
        codes = np.where(blank, len(names) + np.cumsum(blank), codes)
    order = np.lexsort((*keys.T[::-1], codes))
    sets = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    longest = max(sets, key=len)
    if len(longest) > _LONGEST:
        raise errors.IsicError(
            f"expected at most {_LONGEST} lesions of a patient, got {len(longest)} of {patients[longest[0]]}; leave "
            "the id blank where the patient is not known"
        )
    return sets


def batches(sets, rng=None):
    """Pads sets to lengths of 8, 16, 32 and so on, and joins those of a length to batches of one size.

    Args:
        sets: See `group`.
        rng: NumPy generator to shuffle with; None for the order of patients.

    Returns:
        List of int arrays `[B, L]`, -1 where there is no row.
    """
    lengths = np.maximum(_SHORTEST, 2 ** np.ceil(np.log2([len(rows) for rows in sets])).astype(int))
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


def gather(index, tables, replicas=1):
    """Takes a batch out of tables.

    Args:
        index: Int `[B, L]`, see `batches`.
        tables: Float32 arrays `[n, ...]`.
        replicas: Number by which the batch is to be divisible; sets of padding alone fill it up.

    Returns:
        List of float32 `[B, L, ...]` for each table, 0 in the padding, and of the mask `[B, L]`.
    """
    index = np.pad(index, ((0, -len(index) % replicas), (0, 0)), constant_values=-1)
    mask = (index >= 0).astype("float32")
    return [*(table[index] * mask[..., None] for table in tables), mask]


def share(strategy, values):
    """Deals arrays `[B, ...]` to the replicas of a strategy in equal parts."""
    shares = list(zip(*(np.split(value, strategy.num_replicas_in_sync) for value in values), strict=True))

    def own(context):
        return tuple(tf.constant(part) for part in shares[context.replica_id_in_sync_group])

    return strategy.experimental_distribute_values_from_function(own)
