"""Reads the index of a record set and finds its shards."""

import os

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, filesystem


def match_shards(pattern):
    """Lists the shards of a glob pattern, or of several separated by commas, in order of name.

    Raises:
        IsicError: None matches.
    """
    found = {file for part in pattern.split(",") for file in filesystem.glob(part)}
    files = sorted(file for file in found if not file.endswith((".csv", ".json")) and not filesystem.isdir(file))
    if not files:
        raise errors.IsicError(f"no shards match {pattern!r} in {os.getcwd()}; quote the pattern, and check the folder")
    return files


def read_index(data_dir, split):
    """Reads the index of one split of a record set.

    Args:
        data_dir: Folder with `{split}.index.csv`.
        split: `train` or `test`.

    Returns:
        DataFrame with `INDEX_COLUMNS`, one row a record in file order; `shard` is a path, `position`, `target` and
        `fold` are int64 (-1 where blank), the rest text.

    Raises:
        IsicError: There is no index, it is not whole, or it names a file outside `data_dir`.
    """
    path = os.path.join(data_dir, f"{split}.index.csv")
    if not filesystem.exists(path):
        raise errors.IsicError(
            f"no shards match: expected {split} records and {path}; make them with tfrecord_tools.build"
        )
    index = csv_tables.read_table(path, schema.INDEX_COLUMNS)[list(schema.INDEX_COLUMNS)]
    outside = index.loc[index["shard"].map(os.path.basename) != index["shard"], "shard"]
    if len(outside):
        raise errors.IsicError(f"{path} must name shards by file name alone, got {outside.iloc[0]!r}")
    for column in ("position", "target", "fold"):
        try:
            index[column] = index[column].replace("", str(schema.UNKNOWN)).astype("int64")
        except ValueError as error:
            raise errors.IsicError(f"{path}: the column {column} must hold whole numbers or blanks: {error}") from error
    duplicates = index.loc[index["image_name"].duplicated(), "image_name"]
    if len(duplicates):
        raise errors.IsicError(
            f"{path} lists {len(duplicates)} names twice, {duplicates.iloc[0]} first; rebuild the set"
        )
    index["shard"] = [os.path.join(data_dir, shard) for shard in index["shard"]]
    missing = [shard for shard in sorted(set(index["shard"])) if not filesystem.exists(shard)]
    if missing:
        raise errors.IsicError(
            f"{path} lists {len(missing)} shards that are not there, {missing[0]} first; fetch or rebuild"
        )
    return index
