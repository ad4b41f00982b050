"""Splits record sets into training and held-out rows without leaking patients, lesions, photographs or duplicates."""

import pandas as pd

from isic_tf.artifacts import person_numbers, related_images
from tfrecord_tools import errors, schema
from tfrecord_tools.io import identity


def split_by_fold(index: pd.DataFrame, fold: int | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Splits the index of a record set for one fold.

    Args:
        index: DataFrame with `image_name`, `fold`, `target` and `patient_id`, see `record_index.read_index`, and
            perhaps the columns of `person_numbers.add_keys`.
        fold: The held-out fold; None to hold out nothing.

    Returns:
        Index rows to train on, and held-out index rows. The two may share shards. If the index has folds, rows in no
        fold are in neither, since they are duplicates of others.

    Raises:
        ConfigError: The fold is not in the index.
        LeakageError: A patient or a lesion is in both parts.
        IsicError: Labels are missing, or a part has one class only.
    """
    folds = sorted(set(index["fold"]) - {schema.UNKNOWN})
    if fold is not None and not folds:
        raise errors.ConfigError(
            f"expected an index with folds to hold out fold {fold}, got one without; build the records with "
            "--num_folds, or index them with --folds, a table that tfrecord_tools.folds writes"
        )
    if fold is not None and fold not in folds:
        raise errors.ConfigError(
            f"expected one of the index's folds {folds}, got fold {fold}; choose one of them, or make folds with "
            "tfrecord_tools.folds"
        )
    kept = index[~index["fold"].isin([fold, schema.UNKNOWN])] if folds else index
    held_out = index[:0] if fold is None else index[index["fold"] == fold]
    name = "full" if fold is None else f"fold {fold}"
    _check_classes(name, "training part", kept)
    if fold is not None:
        _check_classes(name, "held-out part", held_out)
    index = person_numbers.with_keys(index)
    _refuse_leaks(index.loc[kept.index], index.loc[held_out.index], fold)
    return kept, held_out


def _refuse_leaks(kept: pd.DataFrame, held_out: pd.DataFrame, fold: int | None) -> None:
    """Refuses folds that separate the images of one patient or one lesion."""
    for key, column in person_numbers.COLUMNS.items():
        leaked = held_out[held_out[key].isin(set(kept[key]) - {""})]
        if len(leaked):
            kind = "patients" if column == "patient_id" else "lesions"
            raise errors.LeakageError(
                f"fold {fold} leaks: {leaked[key].nunique()} {kind} are in training too (first: "
                f"{leaked[column].min()}); make new folds with tfrecord_tools.folds"
            )


def _check_classes(name: str, part: str, rows: pd.DataFrame) -> None:
    found = set(rows["target"])
    if found != {0, 1}:
        raise errors.IsicError(
            f"{name}: the {part} must have both classes and no blanks, has {found or 'no rows'}; check the column "
            "target of the index, or --positive_classes if the classes are your own"
        )


def split_rows(
    rows: pd.DataFrame, fold: int | None, pairs: pd.DataFrame | None = None
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, int]]:
    """Splits the rows of several record sets for one fold.

    Training rows that show a held-out image, or in extra sets a held-out patient or lesion, are left out.

    Args:
        rows: See `mixture.read_sets`.
        fold: The held-out fold of the sets with folds; None to hold out nothing.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; None for none.

    Returns:
        Rows to train on, held-out rows, and a dict from the reason to the number of records that were left out.

    Raises:
        IsicError: See `split_by_fold`.
    """
    rows = person_numbers.with_keys(rows)
    kept, held_out = split_by_fold(rows[~rows["extra"]], fold)
    candidates = pd.concat([kept, rows[rows["extra"]]])
    extra = candidates["extra"]
    patients, lesions = (set(held_out[column]) - {""} for column in person_numbers.COLUMNS)
    # Folds that others made may separate two duplicates, or two copies of a file.
    is_shown = related_images.find_photographs(candidates, held_out, pairs)
    reasons = {
        "without a label": extra & (candidates["target"] == schema.UNKNOWN),
        "with the name of a held-out image": identity.find_matches(candidates["image_name"], held_out["image_name"]),
        "with the bytes of a held-out image": related_images.find_equal_bytes(candidates, held_out),
        "listed as a duplicate of a held-out image": is_shown,
        "of a held-out patient": extra & candidates["patient_key"].isin(patients),
        "of a held-out lesion": extra & candidates["lesion_key"].isin(lesions),
        "of a patient or a lesion of such an image": extra
        & related_images.find_people(candidates, held_out, is_shown & extra),
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
