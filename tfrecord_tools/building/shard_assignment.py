"""Assigns the rows of a table to folds and shards."""

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables
from tfrecord_tools.splits import fold_files, stratified_group_folds


def assign_shards(
    table: pd.DataFrame, num_shards: int, num_folds: int, fold_table: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Assigns each row to a fold and a shard; no patient is in two folds or two shards.

    Args:
        table: DataFrame of text with `image_name`, `patient_id` and, in a training split, `target`.
        num_shards: Maximum number of shards, divided evenly between the folds.
        num_folds: Number of folds; 0 for a split without folds.
        fold_table: DataFrame of text with `image_name` and `fold` to use instead of `num_folds`; or None. Images with
            a fold of -1 or blank are in the set but in no fold, like Deotte's listed duplicates.

    Returns:
        The table with int64 columns `fold` (-1 for no fold) and `shard` (from 0), ordered by shard.

    Raises:
        ConfigError: There are fewer shards than folds.
        LeakageError: The folds split a patient.
        IsicError: The folds do not cover the table, or are not whole numbers.
    """
    groups = stratified_group_folds.group_codes(table["patient_id"])
    if num_folds == 0:
        folds = np.full(len(table), schema.UNKNOWN)
    elif fold_table is None:
        folds = stratified_group_folds.assign_folds(groups, pd.to_numeric(table["target"]), num_folds)
    else:
        folds = look_up_folds(table, groups, fold_table)
    values = np.unique(folds)
    if num_shards < len(values):
        raise errors.ConfigError(
            f"expected at least one shard for each of {len(values)} folds, got num_shards={num_shards}; increase "
            "--num_shards"
        )
    shards = np.zeros(len(table), np.int64)
    first_shard = 0
    for position, value in enumerate(values):
        rows = np.flatnonzero(folds == value)
        is_larger = position < num_shards % len(values)
        shards[rows] = first_shard + _pack(groups[rows], num_shards // len(values) + is_larger)
        first_shard = shards[rows].max() + 1
    assigned = table.assign(fold=folds, shard=shards)
    return assigned.sort_values("shard", kind="stable").reset_index(drop=True)


def _pack(groups: np.ndarray, num_shards: int) -> np.ndarray:
    """Packs groups into shards of similar size, the largest group first, and returns each row's shard, without gaps."""
    _, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes)
    loads = np.zeros(num_shards)
    shard_of_group = np.zeros(len(sizes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        shard = np.argmin(loads)
        shard_of_group[group] = shard
        loads[shard] += sizes[group]
    _, shard_of_group = np.unique(shard_of_group, return_inverse=True)
    return shard_of_group[codes]


def look_up_folds(table: pd.DataFrame, groups: np.ndarray, fold_table: pd.DataFrame) -> np.ndarray:
    """Looks up each image's fold in a folds file.

    Args:
        table: DataFrame of text with `image_name` and `patient_id`.
        groups: int `[n]`, see `stratified_group_folds.group_codes`.
        fold_table: DataFrame of text with `image_name` and `fold`.

    Returns:
        int64 `[n]`, the fold of each image; -1 for no fold.

    Raises:
        LeakageError: A patient is in two folds.
        IsicError: The folds file lacks an image or lists one twice, or a fold is not a whole number.
    """
    csv_tables.refuse_repeats("the folds file", fold_table, "list")
    missing = table.loc[~table["image_name"].isin(fold_table["image_name"]), "image_name"].tolist()
    if missing:
        raise errors.IsicError(
            f"the folds file must list every image, but lacks {csv_tables.describe_first_cases(missing)}; add these "
            "images, with fold -1 to keep them out of all folds"
        )
    texts = fold_table.set_index("image_name")["fold"].reindex(table["image_name"])
    folds = fold_files.parse_folds("the folds file", texts)
    used = folds != schema.UNKNOWN
    folds_per_group = pd.Series(folds[used]).groupby(groups[used]).nunique()
    num_split = (folds_per_group > 1).sum()
    if num_split:
        row = np.flatnonzero(groups == folds_per_group.idxmax())[0]
        raise errors.LeakageError(
            f"the folds file puts {num_split} patients in two folds (for example {table['patient_id'][row]}), which "
            "leaks; put all images of a patient in one fold"
        )
    return folds
