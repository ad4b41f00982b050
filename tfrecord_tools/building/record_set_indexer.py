"""Writes the manifest and the index of existing record sets."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.building import (
    channel_check,
    code_comparison,
    code_meanings,
    record_scan,
    record_set,
    shard_assignment,
    table_validation,
)
from tfrecord_tools.building.build_config import IndexConfig
from tfrecord_tools.io import csv_tables, filesystem, manifest, name_join, output_lock, record_index, tfrecord
from tfrecord_tools.io.spellings import merged_identities
from tfrecord_tools.table_formats import table_files

_LOG = logging.getLogger(__name__)


def index_record_set(config: IndexConfig) -> list[record_set.RecordSet]:
    """Writes the manifest and the index of each split, in one pass.

    Images are not decoded, except a sample for `channel_check.warn_of_exchanged_channels`.

    The split of a shard follows from its file name, see `tfrecord.split_of`.

    Args:
        config: `IndexConfig`.

    Returns:
        One `RecordSet` per split, in order of the first shard of each.

    Raises:
        CorruptRecordError: A shard is damaged.
        LeakageError: The folds split a patient, a lesion or a photograph.
        IsicError: A shard has another schema, an image name occurs twice, the table contradicts a record, the folds do
            not cover the set, or the shards are in several directories.

    Examples:
        >>> index_record_set(IndexConfig(records="kaggle/train*.tfrec", csv="train.csv"))[0].records  # doctest: +SKIP
        33126
    """
    files_by_split: dict[str, list[str]] = {}
    for file in record_index.match_shards(config.records):
        files_by_split.setdefault(tfrecord.split_of(file), []).append(file)
    table = None
    if config.csv:
        table = table_files.read_tables(config.csv, ("image_name",), keep_unlabeled=True)
        csv_tables.refuse_repeats(config.csv, table, "list")
        table_validation.log_unused_columns(config.csv, table, (*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS))
    fold_table = csv_tables.read_table(config.folds, ("image_name", "fold")) if config.folds else None
    indexed = []
    for split, files in files_by_split.items():
        with output_lock.locked(os.path.join(config.output or _find_directory(files), split)):
            folds = fold_table if split == "train" else None
            # A table of the training images may come with the shards of both splits.
            must_match = split == "train" or len(files_by_split) == 1
            indexed.append(_index_split(config, split, files, table, folds, must_match))
    return indexed


def _index_split(
    config: IndexConfig,
    split: str,
    files: Sequence[str],
    table: pd.DataFrame | None,
    fold_table: pd.DataFrame | None,
    must_match: bool,
) -> record_set.RecordSet:
    source = _find_directory(files)
    records, entries = record_scan.scan_records(files, split)
    code_comparison.log_unused_features(f"{split} of {config.records}", records)
    facts = manifest.read_manifest(source, split) or {"source": {"files": ["tfrec"]}}
    if table is None:
        code_comparison.log_foreign_codes(f"{split} of {config.records}", records)
        unconfirmed = _find_unconfirmed(config, facts, records, None, split)
    else:
        records, unconfirmed = _join_table(config, facts, records, table, split, must_match)
    merged_identities.log_merged(records, source or ".")
    records["fold"] = _look_up_folds(records, fold_table, config.folds or "")
    shard_assignment.log_copies(records)
    records["shard"] = records["path"].map(os.path.basename)
    records["position"] = records.groupby("shard").cumcount()
    if config.output:
        _link_shards(files, config.output)
    directory = config.output or source
    _write_manifest_and_index(directory, facts, split, records, entries, unconfirmed)
    columns = ("patient_id", "lesion_id", "target", "fold")
    known = ", ".join(f"{(records[column] != '').sum()} with {column}" for column in columns)
    _LOG.info(f"{split}: {len(records)} records in {len(entries)} shards in {directory or '.'}: {known}")
    places = list(zip(records["path"], records["offset"], records["length"], strict=True))
    channel_check.warn_of_exchanged_channels(f"{split} of {directory or '.'}", places)
    return record_set.RecordSet(
        directory=directory or ".",
        split=split,
        records=len(records),
        shards=tuple(os.path.join(directory, entry["name"]) for entry in entries),
    )


def _find_directory(files: Sequence[str]) -> str:
    directories = sorted({os.path.dirname(file) for file in files})
    if len(directories) > 1:
        raise errors.ConfigError(
            f"expected the shards of one set in one directory, got {', '.join(directories)}; index each directory "
            "separately"
        )
    return directories[0]


def _look_up_folds(records: pd.DataFrame, fold_table: pd.DataFrame | None, fold_source: str) -> pd.Series:
    """Returns the fold of each record, "" for no fold."""
    if fold_table is None:
        return pd.Series("", index=records.index)
    folds = pd.Series(shard_assignment.look_up_folds(records, fold_table, fold_source), index=records.index)
    return folds.astype(object).replace(schema.UNKNOWN, "")


def _write_manifest_and_index(
    directory: str,
    found: dict[str, Any],
    split: str,
    records: pd.DataFrame,
    entries: Sequence[dict[str, Any]],
    unconfirmed: Sequence[str],
) -> None:
    # The options that a build recorded in its manifest remain valid.
    facts = {name: value for name, value in found.items() if name not in (*manifest.COMPUTED, manifest.UNCONFIRMED)}
    if unconfirmed:
        facts[manifest.UNCONFIRMED] = list(unconfirmed)
    facts["image_size"] = _common_side(records["size"])
    manifest.write_manifest_and_index(directory, split, entries, records, **facts)


def _find_unconfirmed(
    config: IndexConfig, facts: dict[str, Any], records: pd.DataFrame, listed: pd.DataFrame | None, split: str
) -> list[str]:
    """Returns the columns whose codes no table confirms; logs what the codes mean, unless this package wrote them."""
    if code_meanings.were_written_from_a_table(facts):
        return list(facts.get(manifest.UNCONFIRMED, ()))
    return code_meanings.log_meanings(f"{split} of {config.records}", records, listed, split)


def _join_table(
    config: IndexConfig,
    facts: dict[str, Any],
    records: pd.DataFrame,
    table: pd.DataFrame,
    split: str,
    must_match: bool,
) -> tuple[pd.DataFrame, list[str]]:
    """Takes patients and lesions from the table, and compares the other columns with the records.

    Logs which images are only in one of the two, and what the codes of the records mean. Returns the columns that have
    codes that the table does not confirm, too.
    """
    csv = str(config.csv)
    rows = name_join.find_rows(records["image_name"], table["image_name"], csv)
    if must_match:
        joined = f"the records {config.records} and the rows of {csv}"
        name_join.refuse_empty_join(rows, records["image_name"], table["image_name"], joined)
    absent = records.loc[rows < 0, "image_name"].tolist()
    if absent:
        cases = csv_tables.describe_first_cases(absent)
        _LOG.warning(f"{split}: {len(absent)} records are not in the table: {cases}")
    unused = table.loc[~table.index.isin(rows), "image_name"].tolist()
    if unused:
        cases = csv_tables.describe_first_cases(unused)
        _LOG.warning(f"{split}: {len(unused)} images of the table have no record: {cases}")
    listed = table.reindex(rows).set_axis(records.index)
    if split == "train" and "target" in table:
        _compare_targets(records, listed["target"].fillna(""), csv)
    unconfirmed = _find_unconfirmed(config, facts, records, listed.fillna(""), split)
    code_comparison.compare_codes(f"{split} of {config.records}", records, listed.fillna(""), split)
    if "lesion_id" in table:
        records = records.assign(lesion_id=listed["lesion_id"].fillna(records["lesion_id"]))
    if "patient_id" in table:
        name = f"{split} of {config.records}"
        records = records.assign(patient_id=code_comparison.name_patients(name, records, listed["patient_id"]))
    return records, unconfirmed


def _compare_targets(records: pd.DataFrame, listed: pd.Series, csv: str) -> None:
    """Refuses targets that contradict those of the records, and logs how many records have none."""
    try:
        expected = pd.Series([schema.encode("target", value) for value in listed], index=records.index)
    except ValueError as error:
        raise errors.IsicError(f"{csv}: {error}") from error
    own = pd.to_numeric(records["target"].replace("", str(schema.UNKNOWN)))
    differing = records.loc[(expected >= 0) & (own >= 0) & (expected != own), "image_name"].tolist()
    if differing:
        raise errors.IsicError(
            f"{len(differing)} records have another target than the table: "
            f"{csv_tables.describe_first_cases(differing)}; find out which is right, then build the set again from it"
        )
    num_missing = ((own < 0) & (expected >= 0)).sum()
    if num_missing:
        _LOG.warning(
            f"note: {num_missing} records have no target, so they cannot be used for training; "
            "`tfrecord_tools.build --records --csv` adds the targets of the table"
        )


def _common_side(sizes: pd.Series) -> int | None:
    """Returns the side of the images if all are squares of one size, else None."""
    sides = {size[0] if size and size[0] == size[1] else None for size in sizes}
    return sides.pop() if len(sides) == 1 else None


def _link_shards(files: Sequence[str], output: str) -> None:
    filesystem.makedirs(output)
    for file in files:
        link = os.path.join(output, os.path.basename(file))
        if os.path.lexists(link):
            if os.path.realpath(link) != os.path.realpath(file):
                raise errors.ConfigError(f"{link} already exists and is not {file}; choose another --output")
        elif os.path.exists(file):
            os.symlink(os.path.abspath(file), link)
        else:
            raise errors.ConfigError(
                f"--output can only link shards on local disks, got {file}; copy it to a local disk"
            )
