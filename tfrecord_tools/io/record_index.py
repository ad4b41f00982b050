"""Reads the index of a record set and finds its shards."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, filesystem, manifest, record_frames

# More records than a shard has, whatever a manifest states.
_MAX_COUNT = 2**40
_INTEGER_COLUMNS = ("position", "target", "fold")


def match_shards(pattern: str) -> list[str]:
    """Returns the shards that match glob patterns.

    Args:
        pattern: Glob pattern, or several separated by commas. A path that exists is meant as it is, also where it has
            a comma or a bracket.

    Returns:
        Sorted paths, each once; CSV files, JSON files and directories are left out.

    Raises:
        IsicError: No shard matches, a path is a directory, or a match is a broken link, a named pipe or a device.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     for name in ("train00-9.tfrec", "train01-9.tfrec", "train.index.csv"):
        ...         pathlib.Path(directory, name).touch()
        ...     [os.path.basename(path) for path in match_shards(f"{directory}/train*")]
        ['train00-9.tfrec', 'train01-9.tfrec']
    """
    parts = filesystem.split_list(pattern)
    directory = next((part for part in parts if filesystem.isdir(part)), None)
    if directory:
        raise errors.IsicError(
            f"expected shards, got {directory}, which is a directory; write '{directory.rstrip('/')}/*.tfrec'"
        )
    found = {file for part in parts for file in filesystem.glob(part)}
    files = sorted(file for file in found if not file.endswith((".csv", ".json")) and not filesystem.isdir(file))
    unreadable = [file for file in files if not filesystem.is_remote(file) and not filesystem.is_regular(file)]
    if unreadable:
        raise errors.IsicError(
            f"expected files as shards, got {unreadable[0]}, which is a broken link, a named pipe or a device; remove "
            "it, or name the shards more closely"
        )
    if not files:
        raise errors.IsicError(
            f"no shards match {pattern!r} in {os.getcwd()}; quote the pattern and check the directory"
        )
    return files


def check_index(data_dir: str, split: str) -> str:
    """Checks that a split of a record set has an index, and returns its path.

    Args:
        data_dir: See `read_index`.
        split: See `read_index`.

    Raises:
        IsicError: It does not exist, or `data_dir` is no directory.
    """
    path = os.path.join(data_dir, f"{split}.index.csv")
    if not filesystem.exists(path):
        _refuse_other_paths(data_dir)
        raise errors.IsicError(
            f"{path} not found; create it with `python -m tfrecord_tools.index`, or build the {split} records with "
            "`python -m tfrecord_tools.build`"
        )
    return path


def _refuse_other_paths(data_dir: str) -> None:
    """Refuses a file, a pattern or a name without anything in place of the directory of a record set."""
    if filesystem.is_remote(data_dir) or filesystem.isdir(data_dir):
        return
    if not (filesystem.exists(data_dir) or filesystem.glob(data_dir)):
        raise errors.IsicError(
            f"expected the directory of a record set, got {data_dir}, which does not exist; check it"
        )
    kind = "a file" if filesystem.exists(data_dir) else "a pattern"
    raise errors.IsicError(
        f"expected the directory of a record set, as --data_dir wants it, got {data_dir}, which is {kind}; write "
        f"{os.path.dirname(data_dir) or '.'}"
    )


def read_index(data_dir: str, split: str) -> pd.DataFrame:
    r"""Reads the index of one split of a record set.

    Args:
        data_dir: Directory with `{split}.index.csv`.
        split: `train` or `test`.

    Returns:
        DataFrame with `schema.INDEX_COLUMNS` and `schema.OPTIONAL_INDEX_COLUMNS`, one row per record in file order.
        `shard` is a path; `position`, `target` and `fold` are int64, -1 where blank; the others are text.

    Raises:
        CorruptRecordError: The index is not the one that the manifest beside it was written with.
        IsicError: The index does not exist, is damaged, names a file outside `data_dir`, or a position that no record
            of a shard has.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     _ = pathlib.Path(directory, "train00-1.tfrec").write_bytes(b"the bytes of one record")
        ...     lines = "shard,position,image_name,patient_id,target,fold", "train00-1.tfrec,0,ISIC_1,IP_7,1,"
        ...     _ = pathlib.Path(directory, "train.index.csv").write_text("\n".join(lines))
        ...     index = read_index(directory, "train")
        >>> index[["image_name", "target", "fold"]].to_dict("records")
        [{'image_name': 'ISIC_1', 'target': 1, 'fold': -1}]
    """
    path = check_index(data_dir, split)
    problem = manifest.find_index_problem(data_dir, split)
    if problem:
        raise errors.CorruptRecordError(problem)
    table = csv_tables.read_table(path, schema.INDEX_COLUMNS)
    index = table.reindex(columns=[*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS], fill_value="")
    del table
    codes, shards = pd.factorize(index["shard"])
    outside = [shard for shard in shards if os.path.basename(shard) != shard]
    if outside:
        raise errors.IsicError(f"{path} must name shards by file name alone, got {outside[0]!r}; remove the directory")
    for column in _INTEGER_COLUMNS:
        index[column] = _parse_integers(path, index[column])
    repeated = index.loc[index["image_name"].duplicated(), "image_name"]
    if len(repeated):
        raise errors.IsicError(
            f"{path} lists {len(repeated)} image names twice, for example {repeated.iloc[0]}; rebuild the set"
        )
    paths = np.array([os.path.join(data_dir, shard) for shard in shards], object)
    # Each path once in memory, however many records a shard has.
    index["shard"] = pd.Series(paths[codes], index.index, dtype=object)
    missing = [shard for shard in sorted(paths) if not filesystem.exists(shard)]
    if missing:
        raise errors.IsicError(
            f"{path} lists {len(missing)} shards that do not exist, for example {missing[0]}; download them or "
            "rebuild the set"
        )
    _check_positions(path, codes, paths, index["position"].to_numpy(), manifest.read_manifest(data_dir, split))
    return index


def _check_positions(
    path: str, codes: np.ndarray, shards: np.ndarray, positions: np.ndarray, found: Mapping[str, Any] | None
) -> None:
    """Refuses positions that no record of a shard can have.

    Args:
        path: The index, for the error.
        codes: int `[n]`, the shard of each record, in order of first appearance.
        shards: Text `[s]`, paths of the shards.
        positions: int64 `[n]`.
        found: The manifest; None if there is none.
    """
    stated = {shard["name"]: shard["records"] for shard in found["shards"]} if found else {}
    # The frame alone is the shortest record. A shard that was cut off still has the positions of its rows.
    shortest = record_frames.HEADER_BYTES + record_frames.FOOTER_BYTES
    counts = np.bincount(codes, minlength=len(shards))
    for code, shard in enumerate(shards):
        name = os.path.basename(shard)
        count = stated[name] if name in stated else max(filesystem.size(shard) // shortest, int(counts[code]))
        counts[code] = min(count, _MAX_COUNT)
    is_wrong = (positions < 0) | (positions >= counts[codes])
    # One number for each place, which no place out of range has.
    places = np.where(is_wrong, -1, (np.cumsum(counts) - counts)[codes] + positions)
    is_wrong |= pd.Series(places).duplicated().to_numpy()
    if is_wrong.any():
        code = codes[is_wrong].min()
        position = positions[is_wrong & (codes == code)][0]
        raise errors.CorruptRecordError(
            f"{path}: expected each position of {os.path.basename(shards[code])} once, from 0 to {counts[code] - 1} at "
            f"most, got {position}; recreate it with tfrecord_tools.index"
        )


def _parse_integers(path: str, column: pd.Series) -> pd.Series:
    """Converts text to int64, a blank to -1."""
    try:
        return column.replace("", str(schema.UNKNOWN)).astype("int64")
    except ValueError as error:
        raise errors.IsicError(
            f"{path}: the column {column.name} must hold whole numbers or blanks: {error}; recreate it with "
            "tfrecord_tools.index"
        ) from error
