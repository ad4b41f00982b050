"""Splits record sets into training and held-out rows without leaking patients or duplicates."""

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema


def split_by_fold(index, fold):
    """Splits a record set's index for one fold.

    Args:
        index: See `record_index.read_index`.
        fold: The held-out fold; None to hold out nothing.

    Returns:
        Two DataFrames of index rows: to train on, and held out. Their patients may share shards.

    Raises:
        IsicError: The fold is not in the index or has one class only, labels are missing, or a patient is in both
            parts.
    """
    folds = sorted(set(index["fold"]) - {schema.UNKNOWN})
    if fold is not None and fold not in folds:
        raise errors.LeakageError(f"expected one of the index's folds {folds or '(it has none)'}, got fold {fold}")
    held_out = index[index["fold"] == fold] if fold is not None else index[:0]
    # Where there are folds, a record in none is a duplicate of another.
    kept = index[~index["fold"].isin([fold, schema.UNKNOWN])] if folds else index
    parts = {"training part": kept} | ({} if fold is None else {"held-out part": held_out})
    for part, rows in parts.items():
        if {0, 1} != set(rows["target"]):
            name = "full" if fold is None else f"fold {fold}"
            raise errors.LeakageError(
                f"{name}: the {part} must have both classes and no blanks, has {set(rows['target'])}"
            )
    leaks = sorted((set(kept["patient_id"]) & set(held_out["patient_id"])) - {""})
    if leaks:
        raise errors.LeakageError(
            f"fold {fold} leaks: {len(leaks)} patients are in training too, {leaks[0]} first; remake folds"
        )
    return kept, held_out


def split_rows(rows, fold, pairs=None):
    """Splits the rows for one fold; what shows a held-out image is left out, of the extra sets also held-out patients.

    Args:
        rows: See `read_sets`.
        fold: The held-out fold of the sets with folds; None to hold out nothing.
        pairs: See `csv_tables.read_pairs`, or None.

    Returns:
        DataFrame of rows to train on, DataFrame of rows held out, and a dict from reason to number of records that
        were left out.

    Raises:
        IsicError: See `fold_split.split_by_fold`.
    """
    kept, held_out = split_by_fold(rows[~rows["extra"]], fold)
    both = pd.concat([kept, rows[rows["extra"]]])
    names, patients = set(held_out["image_name"]), set(held_out["patient_id"]) - {""}
    reasons = {
        "without a label": both["extra"] & (both["target"] == schema.UNKNOWN),
        "of the name of a held-out image": both["extra"] & both["image_name"].isin(names),
        # Folds that others made may part the two.
        "listed as a duplicate of a held-out image": both["image_name"].isin(find_linked(names, pairs) - names),
        "of a held-out patient": both["extra"] & both["patient_id"].isin(patients),
    }
    left_out, counts = pd.Series(False, index=both.index), {}
    for reason, found in reasons.items():
        counts[reason] = int((found & ~left_out).sum())
        left_out |= found
    return both[~left_out], held_out, {reason: n for reason, n in counts.items() if n}


def find_linked(names, pairs):
    """Gives `names` and all that pairs (see `csv_tables.read_pairs`, or None) link to them, directly or through others."""
    found = set(names)
    if pairs is not None:
        first, second = (pairs[column].to_numpy() for column in schema.PAIR_COLUMNS)
        both = pd.Series(np.concatenate([first, second]), index=np.concatenate([second, first]))
        while more := set(both[both.index.isin(found)]) - found:
            found |= more
    return found
