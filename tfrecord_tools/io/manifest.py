"""Reads and writes the two files beside the shards of a record set: the manifest and the index.

The manifest describes the set and its shards, the index lists its records. The manifest holds the SHA-256 of the index
too, so that an index that was changed afterwards is noticed.
"""

import hashlib
import json
import os
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

import tfrecord_tools
from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write, csv_output, filesystem, saved_files, tfrecord

# Keys that `write_manifest` computes itself.
COMPUTED = ("schema_version", "tool_version", "split", "records", "index_sha256", "encodings", "shards")

# The fact that lists the columns whose codes no table has confirmed, of records that others made.
UNCONFIRMED = "unconfirmed_codes"

_BLOCK_ROWS = 65_536


def describe_shard(path: str, name: str, records: int) -> dict[str, Any]:
    """Computes a shard's entry in the manifest.

    Args:
        path: Current path of the shard.
        name: File name of the shard in the set.
        records: Number of its records.

    Returns:
        Dict of `name`, `records`, `bytes` and `sha256`.
    """
    return {
        "name": name,
        "records": records,
        "bytes": filesystem.size(path),
        "sha256": filesystem.compute_sha256(path),
    }


def write_manifest_and_index(
    data_dir: str, split: str, shards: Sequence[dict[str, Any]], index: pd.DataFrame, **facts: Any
) -> None:
    """Writes `{split}.manifest.json`, then `{split}.index.csv`.

    Args:
        data_dir: See `write_manifest`.
        split: See `write_manifest`.
        shards: See `write_manifest`.
        index: See `write_index`.
        **facts: See `write_manifest`.
    """
    with atomic_write.replaced(os.path.join(data_dir, f"{split}.index.csv")) as temporary:
        # It is in its place after the manifest.
        digest = _write_index(temporary, index)
        write_manifest(data_dir, split, shards, digest, **facts)


def write_index(data_dir: str, split: str, table: pd.DataFrame) -> None:
    """Writes `{split}.index.csv`.

    Args:
        data_dir: Directory of the record set.
        split: `train` or `test`.
        table: DataFrame with `schema.INDEX_COLUMNS` in record order, shards by file name, blanks as ""; where
            `schema.OPTIONAL_INDEX_COLUMNS` are absent, they are blank.
    """
    with atomic_write.replaced(os.path.join(data_dir, f"{split}.index.csv")) as temporary:
        _write_index(temporary, table)


def _write_index(path: str, table: pd.DataFrame) -> str:
    """Writes an index to a file, in blocks, so that its text is not in memory as a whole; returns its SHA-256."""
    columns = [*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS]
    table = pd.DataFrame(table).reindex(columns=columns, fill_value="")
    digest = hashlib.sha256()
    with filesystem.open(path, "wb") as file:
        for start in range(0, max(len(table), 1), _BLOCK_ROWS):
            rows = table.iloc[start : start + _BLOCK_ROWS]
            content = csv_output.format_table(rows, header=start == 0).encode()
            digest.update(content)
            file.write(content)
    return digest.hexdigest()


def write_manifest(
    data_dir: str, split: str, shards: Sequence[dict[str, Any]], index_sha256: str | None = None, **facts: Any
) -> None:
    """Writes `{split}.manifest.json`; the same set gives the same bytes on every machine.

    Args:
        data_dir: Directory of the record set.
        split: `train` or `test`.
        shards: Entries of `describe_shard`.
        index_sha256: SHA-256 of the index beside it, in hexadecimal digits; None if there is none yet.
        **facts: Other facts about the set: image size, resize mode, JPEG quality, color options, source.
    """
    manifest = {
        "schema_version": schema.VERSION,
        "tool_version": tfrecord_tools.__version__,
        "split": split,
        "records": sum(shard["records"] for shard in shards),
        **facts,
        **({} if index_sha256 is None else {"index_sha256": index_sha256}),
        "encodings": {name: list(values) for name, values in schema.CATEGORIES.items()},
        "shards": shards,
    }
    atomic_write.write_text(os.path.join(data_dir, f"{split}.manifest.json"), json.dumps(manifest, indent=1) + "\n")


def read_manifest(data_dir: str, split: str) -> dict[str, Any] | None:
    """Reads `{split}.manifest.json`.

    Args:
        data_dir: Directory of the record set.
        split: `train` or `test`.

    Returns:
        Dict of the manifest's keys, or None if there is no manifest.

    Raises:
        CorruptRecordError: The file is not a manifest.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     shard = {"name": "train00-2.tfrec", "records": 2, "bytes": 99, "sha256": "0f"}
        ...     write_manifest(directory, "train", [shard], image_size=384)
        ...     manifest = read_manifest(directory, "train")
        >>> manifest["records"], manifest["image_size"]
        (2, 384)
    """
    path = os.path.join(data_dir, f"{split}.manifest.json")
    if not filesystem.exists(path):
        return None
    with saved_files.explained_damage(path, "a valid manifest", "recreate it with tfrecord_tools.index"):
        manifest = saved_files.read_json(path)
        for shard in manifest["shards"]:
            kinds = [type(shard[name]) for name in ("name", "records", "bytes", "sha256")]
            if kinds != [str, int, int, str]:
                raise errors.CorruptRecordError(f"a shard reads {shard!r:.100}")
        if not isinstance(manifest.get("index_sha256", ""), str):
            raise errors.CorruptRecordError(f"index_sha256 reads {manifest['index_sha256']!r:.100}")
        if not isinstance(manifest.get(UNCONFIRMED, []), list):
            raise errors.CorruptRecordError(f"{UNCONFIRMED} reads {manifest[UNCONFIRMED]!r:.100}")
        _refuse_control_characters(manifest)
    return manifest


def _refuse_control_characters(manifest: dict[str, Any]) -> None:
    """Refuses line breaks and the like in facts, which become lines of other files."""
    facts = [*manifest.items(), *(("shards", shard["name"]) for shard in manifest["shards"])]
    for name, value in facts:
        if isinstance(value, str) and any(unicodedata.category(letter) == "Cc" for letter in value):
            raise errors.CorruptRecordError(f"{name} must be text without control characters, reads {value!r:.100}")


def find_index_problem(data_dir: str, split: str) -> str:
    """Compares the index with the one that the manifest was written with.

    Args:
        data_dir: Directory of the record set, with `{split}.index.csv`.
        split: `train` or `test`.

    Returns:
        What is wrong and the remedy; "" if they belong together, and where the manifest is absent or of release 0.1.

    Raises:
        CorruptRecordError: The manifest is damaged.
    """
    expected = (read_manifest(data_dir, split) or {}).get("index_sha256")
    path = os.path.join(data_dir, f"{split}.index.csv")
    if not expected or filesystem.compute_sha256(path) == expected:
        return ""
    return (
        f"{path} is not the index that {split}.manifest.json was written with: patients, lesions, targets or folds may "
        "have been changed since; restore it from a copy, or write both files again with tfrecord_tools.index"
    )


def find_unconfirmed(files: Iterable[str], columns: Sequence[str]) -> dict[str, list[str]]:
    """Finds the columns whose codes no table has confirmed, by the manifests beside shards that others made.

    Args:
        files: Paths of shards.
        columns: Names of columns.

    Returns:
        Dict from the shard to those of the columns; shards without such columns or without a manifest are not in it.
    """
    coded = [column for column in columns if column in schema.CATEGORIES]
    if not coded:
        return {}
    splits = {file: (os.path.dirname(file), tfrecord.split_of(file)) for file in files}
    listed = {key: (read_manifest(*key) or {}).get(UNCONFIRMED, ()) for key in set(splits.values())}
    found = {file: [column for column in coded if column in listed[key]] for file, key in splits.items()}
    return {file: names for file, names in found.items() if names}
