"""Assigns the rows of a table to folds and shards."""

import heapq
import logging

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import components, csv_tables
from tfrecord_tools.splits import fold_files, leaks, stratified_group_folds

_LOG = logging.getLogger(__name__)


def assign_shards(
    table: pd.DataFrame,
    num_shards: int,
    num_folds: int,
    fold_table: pd.DataFrame | None = None,
    fold_source: str = "the folds file",
) -> pd.DataFrame:
    """Assigns each row to a fold and a shard; no patient and no lesion is in two folds or, of one fold, in two shards.

    Args:
        table: DataFrame of text with `image_name`, `patient_id`, in a training split `target`, and optionally
            `lesion_id` and `image_digest`.
        num_shards: Maximum number of shards, divided evenly between the folds.
        num_folds: Number of folds; 0 for a split without folds.
        fold_table: DataFrame of text with `image_name` and `fold` to use instead of `num_folds`; or None. Images with
            a fold of -1 or blank are in the set but in no fold, like Deotte's listed duplicates.
        fold_source: Name of the folds file.

    Returns:
        The table with int64 columns `fold` (-1 for no fold) and `shard` (from 0), ordered by shard.

    Raises:
        ConfigError: There are fewer shards than folds.
        LeakageError: The folds split a patient, a lesion or a photograph.
        IsicError: The folds do not cover the table, or are not whole numbers.
    """
    groups = components.group_images(table)
    if num_folds == 0:
        folds = np.full(len(table), schema.UNKNOWN)
    elif fold_table is None:
        patients = stratified_group_folds.group_codes(table["patient_id"], table.get("lesion_id"))
        targets = pd.to_numeric(table["target"])
        folds = stratified_group_folds.assign_folds(groups, targets, num_folds, patients=patients)
    else:
        folds = look_up_folds(table, fold_table, fold_source)
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
    # Of shards with the same load the first comes first.
    loads = [(0, shard) for shard in range(num_shards)]
    shard_of_group = np.zeros(len(sizes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        load, shard = loads[0]
        shard_of_group[group] = shard
        heapq.heapreplace(loads, (load + int(sizes[group]), shard))
    _, shard_of_group = np.unique(shard_of_group, return_inverse=True)
    return shard_of_group[codes]


def look_up_folds(table: pd.DataFrame, fold_table: pd.DataFrame, fold_source: str = "the folds file") -> np.ndarray:
    """Looks up each image's fold in a folds file.

    Args:
        table: DataFrame of text with `image_name`, `patient_id` and optionally `lesion_id`.
        fold_table: DataFrame of text with `image_name` and `fold`.
        fold_source: Name of the folds file.

    Returns:
        int64 `[n]`, the fold of each image; -1 for no fold.

    Raises:
        LeakageError: A patient, a lesion or a photograph is in two folds.
        IsicError: The folds file lacks an image or lists one twice, or a fold is not a whole number.
    """
    folds, rows = fold_files.match_folds(fold_source, fold_table, table["image_name"])
    missing = table.loc[rows < 0, "image_name"].tolist()
    if missing:
        raise errors.IsicError(
            f"{fold_source} must list every image, but lacks {csv_tables.describe_first_cases(missing)}; add these "
            "images, with fold -1 to keep them out of all folds"
        )
    places = pd.Series(folds, table.index, dtype=object).replace(schema.UNKNOWN, None)
    # Images of equal bytes are only noted, see `log_copies`: the table that folds are made from does not show them.
    split = leaks.find_split(table.drop(columns="image_digest", errors="ignore"), places)
    found = leaks.describe_split(split, "two folds")
    if found:
        raise errors.LeakageError(
            f"{fold_source} puts {found}, which leaks; put all images of a patient, a lesion and a photograph in one "
            "fold, as tfrecord_tools.folds does"
        )
    return folds


def log_copies(index: pd.DataFrame) -> None:
    """Logs how many images of equal bytes are in two folds.

    Args:
        index: DataFrame with `image_name`, `image_digest` and `fold`, "" for no fold.
    """
    places = index["fold"].astype(object).replace("", None)
    copies = leaks.find_split(index[["image_name", "image_digest"]], places)["photographs"]
    if copies:
        _LOG.warning(
            f"note: {len(copies)} photographs are under two names in two folds, with equal bytes (for example "
            f"{copies[0]}); to keep them together, make folds with tfrecord_tools.folds --csv=train.index.csv"
        )
