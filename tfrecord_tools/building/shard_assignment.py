"""Which row of a table goes into which fold and which shard."""

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables
from tfrecord_tools.splits import fold_audit, stratified_group_folds


def assign_shards(table, num_shards, num_folds, fold_table=None):
    """Decides each row's fold and shard; no patient is in two of either.

    Args:
        table: DataFrame of text with `patient_id`, and `target` in a training split.
        num_shards: Number of shards at the most, split evenly between the folds.
        num_folds: Number of folds; 0 for a split that has none.
        fold_table: DataFrame of text, `image_name` and `fold`, that decides the folds instead; or None. A fold of -1
            or a blank keeps an image in the set and out of all folds, as Deotte's of listed duplicates.

    Returns:
        The table with int64 columns `fold` (-1 where there is none) and `shard`, ordered by shard.

    Raises:
        IsicError: The folds do not cover the table, split a patient or are no whole numbers; or there are fewer
            shards than folds.
    """
    groups = stratified_group_folds.group_codes(table["patient_id"])
    if num_folds == 0:
        fold = np.full(len(table), schema.UNKNOWN)
    elif fold_table is None:
        fold = stratified_group_folds.assign_folds(groups, pd.to_numeric(table["target"]), num_folds)
    else:
        fold = given_folds(table, groups, fold_table)
    values = np.unique(fold)
    if num_shards < len(values):
        raise errors.IsicError(
            f"expected at least one shard for each of {len(values)} folds, got num_shards={num_shards}"
        )
    shard, first = np.zeros(len(table), np.int64), 0
    for position, value in enumerate(values):
        rows = np.flatnonzero(fold == value)
        share = num_shards // len(values) + (position < num_shards % len(values))
        shard[rows] = first + _pack(groups[rows], share)
        first = shard[rows].max() + 1
    return table.assign(fold=fold, shard=shard).sort_values("shard", kind="stable").reset_index(drop=True)


def _pack(groups, num_shards):
    """Packs whole groups into shards of like size, the largest first; gives each row's shard, without gaps."""
    codes, rows = np.unique(groups, return_inverse=True)
    sizes = np.bincount(rows)
    loads, chosen = np.zeros(num_shards), np.zeros(len(codes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        chosen[group] = np.argmin(loads)
        loads[chosen[group]] += sizes[group]
    return np.unique(chosen, return_inverse=True)[1][rows]


def given_folds(table, groups, fold_table):
    """Looks up each image's fold in a folds file.

    Args:
        table: DataFrame of text with `image_name` and `patient_id`.
        groups: See `stratified_group_folds.group_codes`.
        fold_table: DataFrame of text, `image_name` and `fold`.

    Returns:
        int64 `[n]`, -1 where an image is in no fold.

    Raises:
        IsicError: The folds do not cover the table, split a patient or are no whole numbers.
    """
    csv_tables.refuse_repeats("the folds file", fold_table, "list")
    missing = table.loc[~table["image_name"].isin(fold_table["image_name"]), "image_name"].tolist()
    if missing:
        raise errors.IsicError(
            f"the folds file must list every image, it lacks {csv_tables.describe_first_cases(missing)}"
        )
    given = fold_table.set_index("image_name")["fold"].reindex(table["image_name"])
    fold = fold_audit.parse("the folds file", given)
    used = fold != schema.UNKNOWN
    split = pd.Series(fold[used]).groupby(groups[used]).nunique()
    if (split > 1).any():
        patient = table["patient_id"][np.flatnonzero(groups == split.idxmax())[0]]
        raise errors.IsicError(
            f"the folds file puts {(split > 1).sum()} patients in two folds, {patient} first: a leak"
        )
    return fold
