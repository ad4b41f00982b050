"""Builds a record set from images or from another record set."""

import dataclasses
import hashlib
import logging
import os
from collections.abc import Sequence
from typing import Any, cast

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.building import (
    build_config,
    channel_check,
    code_meanings,
    data_sources,
    dicom_tag_table,
    record_conversion,
    record_set,
    runners,
    shard_assignment,
    shard_jobs,
    shard_staging,
)
from tfrecord_tools.imaging import limits
from tfrecord_tools.io import csv_tables, filesystem, manifest, output_lock
from tfrecord_tools.io.spellings import merged_identities

_LOG = logging.getLogger(__name__)

_Entry = dict[str, Any]


def build(config: build_config.BuildConfig) -> None:
    """Builds a record set, or writes the table of DICOM tags that `csv_from_dicom` asks for."""
    if config.csv_from_dicom:
        write_dicom_tags(config)
    else:
        build_record_set(config)


def build_record_set(config: build_config.BuildConfig) -> record_set.RecordSet:
    """Builds one split of a record set; the same input gives the same bytes.

    Shards that an earlier run finished from the same input and options are kept. An earlier set in `output` stays until
    all shards of the new one are finished.

    Args:
        config: `BuildConfig` with `output`, and either `csv` and `images` or `records`.

    Returns:
        The `RecordSet` in `output`.

    Raises:
        ConfigError: Options contradict each other, a required one is missing, or another process builds the split.
        CorruptRecordError: An image cannot be read, and `on_error` is `stop`; or no image can be read.
        LeakageError: The folds file splits a patient, a lesion or a photograph.
        IsicError: The table is invalid; the message lists all its problems.

    Examples:
        >>> from tfrecord_tools.building import BuildConfig
        >>> config = BuildConfig(csv="train.csv", images="jpeg", output="records/384", image_size=384)
        >>> build_record_set(config).records  # doctest: +SKIP
        33126
    """
    build_config.check_options(config)
    if config.csv_from_dicom:
        raise errors.ConfigError(
            "csv_from_dicom writes a table of DICOM tags, not a record set; call write_dicom_tags with this config"
        )
    output = cast(str, config.output)
    # Another process may build the other split in the same directory.
    with output_lock.locked(os.path.join(output, config.split)):
        try:
            return _build_split(config, output)
        finally:
            # Without a finished shard there is nothing to resume.
            filesystem.remove_empty([shard_jobs.staging_directory(output, config.split)])


def _build_split(config: build_config.BuildConfig, output: str) -> record_set.RecordSet:
    """Builds a split whose place is locked; see `build_record_set`."""
    shard_staging.refuse_foreign_shards(output, config.split)
    read, missing = _read_rows(config)
    rows = _assign_shards(config, read)
    options = _conversion_options(config)
    jobs = shard_jobs.make_jobs(rows, output, config.split, options, config.on_error, limits.extract(config))
    entries = _write_shards(config, output, jobs)
    if not any(entry["shard"]["records"] for entry in entries):
        problem = entries[0]["skipped"][0]["problem"]
        filesystem.rmtree(shard_jobs.staging_directory(output, config.split))
        raise errors.CorruptRecordError(
            f"none of the {len(rows)} images can be read (first: {problem}); check --images, or copy the images again"
        )
    # The manifest is written first: with it, a run that is killed from here on can be repeated in the same directory.
    index = _make_index(config, rows, entries)
    shard_assignment.log_copies(index)
    _write_manifest_and_index(config, output, rows, entries, options, index, missing)
    shard_staging.put_in_place(output, config.split, entries)
    built = record_set.summarize(output, config.split, entries)
    record_set.log_summary(built, index, entries)
    places = channel_check.list_places(built.shards)
    channel_check.warn_of_exchanged_channels(f"{config.split} of {output}", places)
    return built


@output_lock.locking("csv_from_dicom")
def write_dicom_tags(config: build_config.BuildConfig) -> pd.DataFrame:
    """Writes a table of the tags of DICOM files, to complete before a build.

    Args:
        config: `BuildConfig` with `images`, `split` and `csv_from_dicom`.

    Returns:
        DataFrame of text, as written to `csv_from_dicom`, see `dicom_tag_table.write_tag_table`.

    Raises:
        ConfigError: Options contradict each other, or a required one is missing.
        CorruptRecordError: A DICOM file is damaged.
        IsicError: There are no DICOM files.

    Examples:
        >>> from tfrecord_tools.building import BuildConfig
        >>> config = BuildConfig(images="dicom", split="test", csv_from_dicom="test.csv")
        >>> write_dicom_tags(config)["sex"].tolist()  # doctest: +SKIP
        ['female', 'male', '']
    """
    build_config.check_options(config)
    if not config.csv_from_dicom:
        raise errors.ConfigError("csv_from_dicom is required: the CSV file to write the DICOM tags to")
    images = cast(str, config.images)
    return dicom_tag_table.write_tag_table(
        images, config.split, config.csv_from_dicom, config.pseudonyms, limits.extract(config)
    )


def _read_rows(config: build_config.BuildConfig) -> tuple[pd.DataFrame, list[str]]:
    """Reads the rows of the set, and the names of the images of the table that have no file and are left out."""
    if config.records:
        return data_sources.read_records(config.records, config.csv, config.split), []
    csv, images = cast(str, config.csv), cast(str, config.images)
    return data_sources.read_images(csv, images, config.split, config.missing_images)


def _assign_shards(config: build_config.BuildConfig, table: pd.DataFrame) -> pd.DataFrame:
    num_folds = config.num_folds if config.split == "train" else 0
    fold_table = csv_tables.read_table(config.folds, ("image_name", "fold")) if config.folds else None
    merged_identities.log_merged(table, cast(str, config.csv or config.records))
    return shard_assignment.assign_shards(table, config.num_shards, num_folds, fold_table, config.folds or "")


def _conversion_options(config: build_config.BuildConfig) -> record_conversion.ConversionOptions:
    return record_conversion.ConversionOptions(
        image_size=config.image_size,
        resize=config.resize,
        trim_border=config.trim_border,
        color_constancy=config.color_constancy,
        quality=config.quality,
    )


def _write_shards(config: build_config.BuildConfig, output: str, jobs: Sequence[shard_jobs.ShardJob]) -> list[_Entry]:
    """Writes the shards that no earlier run finished, and returns the entries of all shards."""
    finished = []
    waiting = []
    for job in jobs:
        entry = shard_staging.find_finished(job, output)
        if entry is None:
            waiting.append(job)
        else:
            finished.append(entry)
    shard_staging.clear_leftovers(output, config.split, finished)
    if finished and waiting:
        _LOG.info(
            f"{config.split}: {len(finished)} of {len(jobs)} shards are already finished; resuming with the others"
        )
    if config.runner == "beam":
        runners.run_beam(waiting, config.beam_options)
    else:
        runners.run_local(waiting, config.workers)
    entries = []
    missing = []
    for job in jobs:
        entry = shard_staging.find_finished(job, output)
        if entry is None:
            missing.append(job.shard)
        else:
            entries.append(entry)
    if missing:
        raise errors.IsicError(
            f"shards {missing} in {output} are incomplete, possibly because a file changed during the build; run the "
            "same command again"
        )
    return entries


def _write_manifest_and_index(
    config: build_config.BuildConfig,
    output: str,
    rows: pd.DataFrame,
    entries: Sequence[_Entry],
    options: record_conversion.ConversionOptions,
    index: pd.DataFrame,
    missing: Sequence[str],
) -> None:
    source: dict[str, Any] = {"files": data_sources.list_file_types(rows)}
    if config.csv:
        source["csv"] = os.path.basename(config.csv)
        source["sha256"] = hashlib.sha256(filesystem.read(config.csv)).hexdigest()
    facts: dict[str, Any] = {"missing_images": list(missing)} if missing else {}
    if config.records and not config.csv:
        unconfirmed = code_meanings.find_unconfirmed(rows["path"].map(os.path.dirname).unique(), config.split, rows)
        code_meanings.log_unconfirmed(f"{config.split} of {config.records}", unconfirmed)
        facts = {manifest.UNCONFIRMED: unconfirmed} if unconfirmed else {}
    manifest.write_manifest_and_index(
        output,
        config.split,
        [entry["shard"] for entry in entries if entry["shard"]["records"]],
        index,
        **dataclasses.asdict(options),
        source=source,
        skipped=record_set.list_skipped(entries),
        tag_disagreements=record_set.count_tags(entries),
        **facts,
    )


def _make_index(config: build_config.BuildConfig, rows: pd.DataFrame, entries: Sequence[_Entry]) -> pd.DataFrame:
    """Returns the index of the records in `entries`."""
    listed = rows.assign(fold=rows["fold"].replace(schema.UNKNOWN, ""))
    if config.split != "train":
        listed["target"] = ""
    parts = [part for _, part in listed.groupby("shard", sort=True)]
    indexed = [shard_staging.index_rows(entry, part) for entry, part in zip(entries, parts, strict=True)]
    index = pd.concat(indexed, ignore_index=True)
    if config.split == "train":
        index["target"] = [schema.encode("target", target) for target in index["target"]]
    return index
