"""Creates a fold table, or audits an existing one."""

import logging

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write, components, csv_output, csv_tables, duplicate_pairs, identity, output_lock
from tfrecord_tools.io.spellings import merged_identities
from tfrecord_tools.splits import fold_audit, fold_files, group_links, published_folds, stratified_group_folds
from tfrecord_tools.splits.config import FoldsConfig
from tfrecord_tools.table_formats import table_files

_LOG = logging.getLogger(__name__)

# Columns that are read where a table has them.
_USED = ("patient_id", "lesion_id", "target", "image_digest")
_DEFAULT_NUM_FOLDS = 5
_DEFAULT_SEED = 0


@output_lock.locking("output")
def make_folds(config: FoldsConfig) -> pd.DataFrame:
    """Assigns the images of a table to folds, or reads their folds from a file; logs the balance and the leaks.

    Args:
        config: `FoldsConfig`. With `output`, the folds are written to that CSV file.

    Returns:
        DataFrame with `image_name` (text) and `fold` (int64, from 0; -1 for no fold), one row per image of the table,
        in the order of the table. Its `attrs["audit"]` is a dict of the audit: the figures of
        `fold_audit.audit_folds`, and `by_fold`, a list of one dict per fold with `fold` and the columns of that
        function's table, such as `images`, `malignant` and `malignant_rate`; all of them are Python numbers.

    Raises:
        ConfigError: Options contradict each other, `output` is a directory, or there are fewer patients than folds.
        LeakageError: The folds of a preset or a file have a patient, a lesion, a photograph or a listed pair in two
            folds.
        IsicError: A table lacks a column, lists an image twice or has an invalid value.

    Examples:
        >>> folds = make_folds(FoldsConfig(csv="train.csv", output="folds.csv", num_folds=5))  # doctest: +SKIP
        >>> sorted(folds["fold"].unique())  # doctest: +SKIP
        [0, 1, 2, 3, 4]
        >>> folds.attrs["audit"]["leaking_patients"]  # doctest: +SKIP
        0
    """
    _check_options(config)
    if config.output:
        atomic_write.refuse_other_kinds(config.output)
    table = _read_table(config)
    pairs = None
    if config.duplicates:
        pairs = duplicate_pairs.read_pairs(config.duplicates)
        duplicate_pairs.log_foreign_pairs(config.duplicates, pairs, table["image_name"])
    groups = components.group_images(table, pairs)
    _LOG.info(group_links.describe_largest(table, groups, pairs))
    if config.audit:
        table["fold"] = fold_files.read_folds(config.audit, table["image_name"])
    elif config.preset:
        table["fold"] = published_folds.preset_folds(table["tfrecord"], config.preset)
    else:
        table["fold"] = _assign(config, table, groups)
    by_fold, figures = fold_audit.audit_folds(table, pairs)
    fold_audit.log_audit(by_fold, figures)
    fold_audit.refuse_leaks(config.audit or config.preset or config.csv, figures)
    folds = table[["image_name", "fold"]].copy()
    # Python numbers only: pandas compares attributes when it joins tables, and writes them as JSON.
    audit = {name: np.asarray(value).item() for name, value in figures.items()}
    folds.attrs["audit"] = {**audit, "by_fold": by_fold.reset_index().to_dict("records")}
    if config.output:
        atomic_write.write_text(config.output, csv_output.format_table(folds))
    return folds


def _check_options(config: FoldsConfig) -> None:
    if bool(config.output) == bool(config.audit):
        got = "both" if config.audit else "neither"
        raise errors.ConfigError(f"expected either --output, to write folds, or --audit, got {got}; give one of them")
    if (config.audit or config.preset) and (config.num_folds is not None or config.seed is not None):
        raise errors.ConfigError("--audit and --preset do not change the folds; omit --num_folds and --seed")
    if config.audit and config.preset:
        raise errors.ConfigError(
            "expected --audit or --preset, got both; to audit a preset, write its folds with --output, then audit them"
        )


def _read_table(config: FoldsConfig) -> pd.DataFrame:
    """Reads the table with `patient` as a number and `target` as 1, 0 or -1; logs how many values are missing."""
    columns = ("image_name", "tfrecord") if config.preset else ("image_name",)
    table = csv_tables.add_blank_patients(table_files.read_tables(config.csv, columns))
    csv_tables.require_columns(config.csv, table, (*columns, "patient_id"))
    # Of millions of rows, what is not used takes gigabytes.
    table = table[[column for column in (*columns, *_USED) if column in table]].copy()
    csv_tables.refuse_repeats(config.csv, table, "list")
    table = identity.with_keys(table)
    merged_identities.log_merged(table, config.csv)
    for column in ("patient_id", "lesion_id"):
        if column not in table:
            table[column] = pd.Series("", table.index, dtype=object)
    table["patient"] = stratified_group_folds.code_people(identity.patient_keys(table), table["lesion_id"])
    _log_blanks(table)
    targets = table.get("target", pd.Series("", table.index, dtype=object))
    try:
        table["target"] = identity.map_distinct(targets, lambda text: schema.encode("target", text)).astype("int64")
    except ValueError as error:
        raise errors.IsicError(f"{config.csv}: {error}") from error
    unknown = (table["target"] < 0).sum()
    if unknown:
        _LOG.warning(f"note: {unknown} images have no target; they count as benign")
    return table


def _log_blanks(table: pd.DataFrame) -> None:
    """Logs how many images have no patient, and what stands for it."""
    is_blank = identity.patient_keys(table) == ""
    has_lesion = is_blank & (identity.person_keys(table["lesion_id"]) != "")
    num_alone = (is_blank & ~has_lesion).sum()
    if has_lesion.any():
        _LOG.warning(f"note: {has_lesion.sum()} images have no patient_id; each of their lesions counts as a patient")
    if num_alone:
        _LOG.warning(f"note: {num_alone} images have no patient_id; each counts as a separate patient")


def _assign(config: FoldsConfig, table: pd.DataFrame, groups: np.ndarray) -> np.ndarray:
    """Assigns folds to the groups of images that must stay together."""
    num_folds = _DEFAULT_NUM_FOLDS if config.num_folds is None else config.num_folds
    seed = _DEFAULT_SEED if config.seed is None else config.seed
    targets, patients = table["target"].to_numpy(), table["patient"].to_numpy()
    largest = np.bincount(groups).max()
    if largest * num_folds > len(groups) and groups.max() + 1 >= num_folds:
        _LOG.warning(
            f"note: the largest group has more images than a fold's share of {len(groups) / num_folds:.0f}, so the "
            "folds differ in size; if its images do not belong together, correct what links them"
        )
    return stratified_group_folds.assign_folds(groups, targets, num_folds, seed, patients)
