"""Reads one split of a record set from disk and checks it by itself."""

import concurrent.futures
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from tfrecord_tools import schema
from tfrecord_tools.imaging import channel_order
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import csv_tables, filesystem, manifest, tfrecord
from tfrecord_tools.verification import shard_checks


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitFiles:
    """The files of one split in one directory.

    Attributes:
        directory: Directory of the shards.
        split: `train` or `test`.
        files: Paths of the shards.
        manifest: See `manifest.read_manifest`; None if there is none.
        index: DataFrame of text, the index; None if there is none.
        index_problem: See `manifest.find_index_problem`.
    """

    directory: str
    split: str
    files: Sequence[str]
    manifest: Mapping[str, Any] | None
    index: pd.DataFrame | None
    index_problem: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckedSplit(SplitFiles):
    """One split whose shards have been read.

    Attributes:
        table: DataFrame of `shard_checks.COLUMNS`, one row per record or damaged part.
        facts_by_path: `bytes` and `sha256` of each shard, by path.
    """

    table: pd.DataFrame
    facts_by_path: Mapping[str, Mapping[str, Any]]

    def list_problems(self) -> list[str]:
        """Returns how the split differs from its manifest and index, each with the directory."""
        problems = []
        if self.manifest is not None:
            problems += shard_checks.check_counts(self.directory, self.manifest, self.facts_by_path, self.table)
        if self.index is not None:
            problems += shard_checks.check_index(self.index, self.table)
        if self.index_problem:
            problems.append(self.index_problem)
        return [f"{self.directory}: {problem}" for problem in problems]

    def list_warnings(self) -> list[str]:
        """Returns what is unusual but not wrong, each with the directory."""
        warnings = []
        num_labeled = (self.table["target"] >= 0).sum()
        if self.split == "test" and num_labeled:
            warnings.append(
                f"{self.directory}: {num_labeled} test records have labels; training and prediction ignore them"
            )
        if self.manifest is None or self.index is None:
            warnings.append(
                f"{self.directory}: the manifest or index of {self.split} is missing, so counts and folds are not "
                "checked; create both with tfrecord_tools.index"
            )
        decoded = self.table[["mean_red", "mean_blue"]].dropna()
        exchanged = channel_order.find_exchanged(decoded.to_numpy())
        if exchanged:
            warnings.append(f"{self.directory}: {self.split}: {exchanged}")
        return warnings

    def list_images(self) -> pd.DataFrame:
        """Returns the rows of the index, if there is one, with the `image_digest` of each record itself."""
        if self.index is None:
            return pd.DataFrame(columns=list(schema.INDEX_COLUMNS))
        digests = self.table.drop_duplicates("image_name").set_index("image_name")["image_digest"]
        return self.index.assign(image_digest=self.index["image_name"].map(digests).fillna(""))


def find_splits(files: Sequence[str]) -> list[SplitFiles]:
    """Groups shards by directory and split, and reads the manifest and index of each group.

    Args:
        files: Paths of shards.

    Returns:
        One `SplitFiles` per directory and split, in order of their first shards.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for file in files:
        key = (os.path.dirname(file) or ".", tfrecord.split_of(file))
        groups.setdefault(key, []).append(file)
    splits = []
    for (directory, split), members in groups.items():
        path = os.path.join(directory, f"{split}.index.csv")
        has_index = filesystem.exists(path)
        found = SplitFiles(
            directory=directory,
            split=split,
            files=members,
            manifest=manifest.read_manifest(directory, split),
            index=csv_tables.read_table(path, schema.INDEX_COLUMNS) if has_index else None,
            index_problem=manifest.find_index_problem(directory, split) if has_index else "",
        )
        splits.append(found)
    return splits


def check_split(
    found: SplitFiles, decode: bool, workers: int, limits: image_limits.ImageLimits = image_limits.DEFAULTS
) -> CheckedSplit:
    """Reads all shards of a split; the second record with the same name is invalid.

    Args:
        found: See `find_splits`.
        decode: Whether to decode the images too.
        workers: Number of shards that are read in parallel; where there are fewer, their records are.
        limits: What the decoding of one image may take.

    Returns:
        `CheckedSplit`.
    """
    image_size = found.manifest.get("image_size") if found.manifest else None
    # Together no more than `workers`.
    threads = max(1, workers // len(found.files))
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        # Hashing all images takes as long as all else that is done without decoding.
        digests = _find_digests(found)
        examined = executor.map(
            lambda path: shard_checks.examine_shard(
                path, image_size, decode, limits, with_digests=digests is None, threads=threads
            ),
            found.files,
        )
        results = list(tqdm(examined, found.split, len(found.files), unit="shard", disable=None))
    table = pd.concat([rows for rows, _ in results], ignore_index=True)
    if digests is not None:
        table["image_digest"] = table["image_name"].map(digests).fillna("")
    is_valid = table["problem"] == ""
    is_repeated = is_valid & table["image_name"].where(is_valid).duplicated()
    table.loc[is_repeated, "problem"] = "an earlier record has the same name"
    return CheckedSplit(
        directory=found.directory,
        split=found.split,
        files=found.files,
        manifest=found.manifest,
        index=found.index,
        index_problem=found.index_problem,
        table=table,
        facts_by_path={path: facts for path, (_, facts) in zip(found.files, results, strict=True)},
    )


def _find_digests(found: SplitFiles) -> pd.Series | None:
    """Returns the digests of all images by name, where the manifest proves the index that lists them; else None."""
    if found.index is None or found.index_problem or not (found.manifest or {}).get("index_sha256"):
        return None
    if "image_digest" not in found.index or (found.index["image_digest"] == "").any():
        return None
    return found.index.drop_duplicates("image_name").set_index("image_name")["image_digest"]
