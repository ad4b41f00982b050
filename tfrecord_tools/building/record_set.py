"""Describes a record set that was built or indexed."""

import collections
import dataclasses
import logging
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tfrecord_tools.building import record_conversion
from tfrecord_tools.imaging import jpeg_colors
from tfrecord_tools.io import identity

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordSet:
    """One split of a record set on disk, as `build_record_set` and `index_record_set` return it.

    Attributes:
        directory: Directory with the shards, `{split}.manifest.json` and `{split}.index.csv`.
        split: `train` or `test`.
        records: Number of records.
        shards: Paths of the shards, in order.
        skipped: Names of the images that could not be read (with `--on_error=skip`), in order of their shards.

    Examples:
        >>> found = RecordSet(directory="records", split="train", records=2071, shards=("records/train00-2071.tfrec",))
        >>> found.records, found.skipped
        (2071, ())
    """

    directory: str
    split: str
    records: int
    shards: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def describe_people(index: pd.DataFrame) -> str:
    """Describes whose images a record set holds, for a log.

    Args:
        index: DataFrame of text with `patient_id` and `lesion_id`.

    Returns:
        Text such as `12 patients`, or `12 patients and unknown patients (8 records, 3 lesions)`.

    Examples:
        >>> describe_people(pd.DataFrame({"patient_id": ["P1", "p1", "-1"], "lesion_id": ["", "", "L1"]}))
        '1 patients and unknown patients (1 records, 1 lesions)'
    """
    patients = identity.person_keys(index["patient_id"])
    is_unknown = patients == ""
    num_patients = patients[~is_unknown].nunique()
    parts = [f"{num_patients} patients"] if num_patients else []
    if is_unknown.any():
        lesions = identity.person_keys(index.loc[is_unknown, "lesion_id"])
        num_lesions = lesions[lesions != ""].nunique()
        known = f", {num_lesions} lesions" if num_lesions else ""
        parts.append(f"unknown patients ({is_unknown.sum()} records{known})")
    return " and ".join(parts)


def list_skipped(entries: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Lists the images that could not be read.

    Args:
        entries: Entries of all shards, see `shard_staging.find_finished`.

    Returns:
        Dicts of `image_name` and `problem`.
    """
    return [row for entry in entries for row in entry["skipped"]]


def count_tags(entries: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Counts the DICOM files, and those whose tags disagree with the table, by column.

    Args:
        entries: See `list_skipped`.

    Returns:
        Dict of `files` and the columns; an empty one without DICOM files.

    Examples:
        >>> count_tags([{"tags": {"files": 2, "sex": 1}}, {"tags": {"files": 1}}])
        {'files': 3, 'sex': 1, 'age_approx': 0, 'anatom_site_general_challenge': 0}
    """
    counts: collections.Counter[str] = collections.Counter()
    for entry in entries:
        counts.update(entry["tags"])
    return {name: counts[name] for name in ("files", *record_conversion.TAGGED)} if counts else {}


def summarize(directory: str, split: str, entries: Sequence[dict[str, Any]]) -> RecordSet:
    """Returns the record set that the entries of its shards describe.

    Args:
        directory: Directory with the shards.
        split: `train` or `test`.
        entries: See `list_skipped`.
    """
    shards = [entry["shard"] for entry in entries if entry["shard"]["records"]]
    return RecordSet(
        directory=directory,
        split=split,
        records=sum(shard["records"] for shard in shards),
        shards=tuple(os.path.join(directory, shard["name"]) for shard in shards),
        skipped=tuple(row["image_name"] for row in list_skipped(entries)),
    )


def log_summary(built: RecordSet, index: pd.DataFrame, entries: Sequence[dict[str, Any]]) -> None:
    """Logs what a set holds, where DICOM files differ from the table, and which images were left out.

    Args:
        built: See `summarize`.
        index: DataFrame of text with `patient_id` and `lesion_id`.
        entries: See `list_skipped`.
    """
    split = built.split
    _LOG.info(
        f"{split}: {built.records} records of {describe_people(index)} in {len(built.shards)} shards in "
        f"{built.directory}"
    )
    tags = count_tags(entries)
    differing = [f"{name} {tags[name]}" for name in record_conversion.TAGGED if tags.get(name)]
    if differing:
        _LOG.warning(
            f"{split}: tags of {tags['files']} DICOM files differ from the table, whose values are used: "
            f"{', '.join(differing)}"
        )
    num_open = sum(entry["tags"].get(record_conversion.COLORS, 0) for entry in entries)
    if num_open:
        _LOG.warning(f"{split}: {jpeg_colors.describe_notes(num_open)}")
    skipped = list_skipped(entries)
    if skipped:
        _LOG.warning(
            f"{split}: {len(skipped)} images skipped and listed in the manifest (first: {skipped[0]['problem']})"
        )
