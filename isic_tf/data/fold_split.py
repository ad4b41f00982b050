"""Splits record sets into training and held-out rows without leaking patients or duplicates."""

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import duplicate_pairs


def split_by_fold(index: pd.DataFrame, fold: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits the index of a record set for one fold.

    Args:
        index: DataFrame with `fold`, `target` and `patient_id`, see `record_index.read_index`.
        fold: The held-out fold; None to hold out nothing.

    Returns:
        Index rows to train on, and held-out index rows. The two may share shards. If the index has folds, rows in no
        fold are in neither, since they are duplicates of others.

    Raises:
        ConfigError: The fold is not in the index.
        LeakageError: A patient is in both parts.
        IsicError: Labels are missing, or a part has one class only.
    """
    folds = sorted(set(index["fold"]) - {schema.UNKNOWN})
    if fold is not None and fold not in folds:
        raise errors.ConfigError(
            f"expected one of the index's folds {folds or '(it has none)'}, got fold {fold}; choose one of them, or "
            "make folds with tfrecord_tools.folds"
        )
    kept = index[~index["fold"].isin([fold, schema.UNKNOWN])] if folds else index
    held_out = index[:0] if fold is None else index[index["fold"] == fold]
    name = "full" if fold is None else f"fold {fold}"
    _check_classes(name, "training part", kept)
    if fold is not None:
        _check_classes(name, "held-out part", held_out)
    leaks = sorted((set(kept["patient_id"]) & set(held_out["patient_id"])) - {""})
    if leaks:
        raise errors.LeakageError(
            f"fold {fold} leaks: {len(leaks)} patients are in training too (first: {leaks[0]}); make new folds with "
            "tfrecord_tools.folds"
        )
    return kept, held_out


def _check_classes(name: str, part: str, rows: pd.DataFrame) -> None:
    found = set(rows["target"])
    if found != {0, 1}:
        raise errors.IsicError(
            f"{name}: the {part} must have both classes and no blanks, has {found or 'no rows'}; check the column "
            "target of the index"
        )


def split_rows(
    rows: pd.DataFrame, fold: int | None, pairs: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Splits the rows of several record sets for one fold.

    Training rows that show a held-out image, or in extra sets a held-out patient, are left out.

    Args:
        rows: See `mixture.read_sets`.
        fold: The held-out fold of the sets with folds; None to hold out nothing.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; None for none.

    Returns:
        Rows to train on, held-out rows, and a dict from the reason to the number of records that were left out.

    Raises:
        IsicError: See `split_by_fold`.
    """
    kept, held_out = split_by_fold(rows[~rows["extra"]], fold)
    candidates = pd.concat([kept, rows[rows["extra"]]])
    extra = candidates["extra"]
    names = set(held_out["image_name"])
    patients = set(held_out["patient_id"]) - {""}
    # Folds that others made may separate two duplicates.
    duplicates = duplicate_pairs.find_linked_names(names, pairs) - names
    reasons = {
        "without a label": extra & (candidates["target"] == schema.UNKNOWN),
        "with the name of a held-out image": extra & candidates["image_name"].isin(names),
        "listed as a duplicate of a held-out image": candidates["image_name"].isin(duplicates),
        "of a held-out patient": extra & candidates["patient_id"].isin(patients),
    }
    left_out = pd.Series(False, index=candidates.index)
    counts = {}
    for reason, applies in reasons.items():
        # A record is counted under the first reason that applies to it.
        count = int((applies & ~left_out).sum())
        left_out |= applies
        if count:
            counts[reason] = count
    return candidates[~left_out], held_out, counts
