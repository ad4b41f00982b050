"""Finds the finished shards of a build in its staging directory, and moves them to their places."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.building import shard_jobs
from tfrecord_tools.io import filesystem, manifest


def find_finished(job: shard_jobs.ShardJob, output: str) -> dict[str, Any] | None:
    """Returns the entry of a shard that an earlier run finished from the same job.

    Such a shard is in the staging directory or, if that run was interrupted at the very end, already in its place.

    Args:
        job: See `shard_jobs.make_jobs`.
        output: Directory of the record set.

    Returns:
        Dict of `fingerprint`, `staged` (path of the shard), `shard` (see `manifest.describe_shard`), `digests` (of the
        image of each record, see `identity.image_digest`), `skipped` (list of `image_name` and `problem`) and `tags`
        (counts of DICOM `files` and of disagreements by tag); or None.
    """
    if not filesystem.exists(job.entry_path):
        return None
    try:
        entry = json.loads(filesystem.read(job.entry_path))
        shard = entry["shard"]
        if entry["fingerprint"] != job.fingerprint or len(entry["digests"]) != shard["records"]:
            return None
        for path in (entry["staged"], os.path.join(output, shard["name"])):
            if filesystem.exists(path) and manifest.describe_shard(path, shard["name"], shard["records"]) == shard:
                return entry
    except (ValueError, KeyError, TypeError):
        # The entry is damaged: the shard is written again.
        return None
    return None


def clear_leftovers(output: str, split: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Removes the unfinished files of earlier runs, and those finished from other jobs.

    No other run may be working on the split, see `output_lock`.

    Args:
        output: Directory of the record set.
        split: `train` or `test`.
        entries: Entries of the finished shards to keep, see `find_finished`.
    """
    shards = {os.path.basename(entry["staged"]) for entry in entries}
    kept = shards | {re.sub(r"-[0-9a-f]{8}\.tfrec$", ".json", name) for name in shards}
    staging = shard_jobs.staging_directory(output, split)
    for name in filesystem.listdir(staging):
        if name not in kept:
            filesystem.remove(os.path.join(staging, name))
    for name in filesystem.listdir(output):
        if re.fullmatch(rf"\.tmp-\d+-([0-9a-f]{{8}}-)?{split}\.(manifest\.json|index\.csv)", name):
            filesystem.remove(os.path.join(output, name))


def put_in_place(output: str, split: str, entries: Iterable[Mapping[str, Any]]) -> None:
    """Moves finished shards to their places, and removes the shards of an earlier set.

    Args:
        output: Directory of the record set.
        split: `train` or `test`.
        entries: See `find_finished`.
    """
    staged_by_name = {entry["shard"]["name"]: entry["staged"] for entry in entries if entry["shard"]["records"]}
    for name, staged in staged_by_name.items():
        if filesystem.exists(staged):
            filesystem.replace(staged, os.path.join(output, name))
    for name in set(list_shards(output, split)) - set(staged_by_name):
        filesystem.remove(os.path.join(output, name))
    filesystem.rmtree(shard_jobs.staging_directory(output, split))


def list_shards(output: str, split: str) -> list[str]:
    """Returns the file names of a split's shards in a directory, in order."""
    pattern = re.compile(rf"{split}\d+-\d+\.tfrec")
    return [name for name in filesystem.listdir(output) if pattern.fullmatch(name)]


def refuse_foreign_shards(output: str, split: str) -> None:
    """Refuses a directory with shards of the split that `tfrecord_tools.build` did not make.

    Args:
        output: Directory of the record set.
        split: `train` or `test`.

    Raises:
        ConfigError: `output` holds shards of the split, but no manifest.
    """
    shards = list_shards(output, split)
    if shards and not filesystem.exists(os.path.join(output, f"{split}.manifest.json")):
        raise errors.ConfigError(
            f"{output} holds {split} shards without a manifest (first: {shards[0]}), so they are not replaced; choose "
            "another --output"
        )


def index_rows(entry: Mapping[str, Any], rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the rows of a shard that became records, in order, with the columns of an index.

    Args:
        entry: See `find_finished`.
        rows: DataFrame of the shard's rows.

    Returns:
        DataFrame with `schema.INDEX_COLUMNS` and `schema.OPTIONAL_INDEX_COLUMNS`; `position` counts from 0.
    """
    skipped = {row["image_name"] for row in entry["skipped"]}
    kept = rows[~rows["image_name"].isin(skipped)].reset_index(drop=True)
    kept = kept.assign(shard=entry["shard"]["name"], position=range(len(kept)), image_digest=entry["digests"])
    return kept.reindex(columns=[*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS], fill_value="")
