"""Copies the valid records of a damaged split to a new directory, and lists the others."""

import os
import re
from collections.abc import Sequence

from tfrecord_tools import errors
from tfrecord_tools.building import build_config, record_set_indexer
from tfrecord_tools.io import atomic_write, csv_output, filesystem, manifest, tfrecord
from tfrecord_tools.verification import split_check


def check_quarantine(quarantine: str, files: Sequence[str]) -> None:
    """Checks that a quarantine directory is empty, and that all shards are in one directory.

    Args:
        quarantine: The new directory.
        files: Paths of the shards.

    Raises:
        ConfigError: `quarantine` holds files, or the shards are in several directories.
    """
    if filesystem.listdir(quarantine):
        raise errors.ConfigError(f"--quarantine needs a new or empty directory, but {quarantine} holds files")
    directories = sorted({os.path.dirname(file) for file in files})
    if len(directories) > 1:
        raise errors.ConfigError(
            f"--quarantine needs shards of one directory, got {', '.join(directories)}; run it once per directory"
        )


def quarantine_split(checked: split_check.CheckedSplit, quarantine: str) -> list[str]:
    """Copies the valid records of a split, under the names of their shards, with a manifest and an index.

    Invalid records are listed in `{split}.bad.csv`.

    Args:
        checked: The split.
        quarantine: The new directory.

    Returns:
        Paths of the new shards. A shard without valid records is not among them.
    """
    shards = []
    for path, part in checked.table.groupby("path", sort=False):
        positions = set(part.loc[part["problem"] == "", "position"])
        if positions:
            # A count in the name, as in the shards of Kaggle, must match the number of records.
            name = re.sub(r"-\d+(\.\w+)$", rf"-{len(positions)}\1", os.path.basename(path))
            shard = os.path.join(quarantine, name)
            _copy_records(path, shard, positions)
            shards.append(shard)
    bad = checked.table.loc[checked.table["problem"] != "", ["path", "position", "offset", "image_name", "problem"]]
    bad = bad.assign(shard=bad["path"].map(os.path.basename)).drop(columns="path")
    atomic_write.write_text(os.path.join(quarantine, f"{checked.split}.bad.csv"), csv_output.format_table(bad))
    if shards:
        _describe(checked, quarantine, shards)
    return shards


def _copy_records(path: str, shard: str, positions: set[int]) -> None:
    with atomic_write.replaced(shard) as temporary, filesystem.open(temporary, "wb") as file:
        for position, (_, data, _) in enumerate(tfrecord.scan(path)):
            if position in positions and data is not None:
                tfrecord.write(file, data)


def _describe(checked: split_check.CheckedSplit, quarantine: str, shards: Sequence[str]) -> None:
    """Writes the manifest, with the facts of the old one, and the index, with the patients and folds of the old one."""
    if checked.manifest is not None:
        facts = {name: value for name, value in checked.manifest.items() if name not in manifest.COMPUTED}
        manifest.write_manifest(quarantine, checked.split, [], **facts)
    listed = None
    if checked.index is not None:
        listed = os.path.join(checked.directory, f"{checked.split}.index.csv")
    record_set_indexer.index_record_set(
        build_config.IndexConfig(
            records=",".join(shards), csv=listed, folds=listed if checked.split == "train" else None
        )
    )
