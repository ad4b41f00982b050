"""Reads and writes the two files beside the shards of a record set: the manifest and the index.

The manifest describes the set and its shards, the index lists its records.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

import tfrecord_tools
from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write, filesystem

# Keys that `write_manifest` computes itself.
COMPUTED = ("schema_version", "tool_version", "split", "records", "encodings", "shards")
_BLOCK_BYTES = 2**20


def describe_shard(path: str, name: str, records: int) -> dict[str, Any]:
    """Computes a shard's entry in the manifest.

    Args:
        path: Current path of the shard.
        name: File name of the shard in the set.
        records: Number of its records.

    Returns:
        Dict of `name`, `records`, `bytes` and `sha256`.
    """
    digest = hashlib.sha256()
    size = 0
    with filesystem.open(path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return {"name": name, "records": records, "bytes": size, "sha256": digest.hexdigest()}


def write_index(data_dir: str, split: str, table: pd.DataFrame) -> None:
    """Writes `{split}.index.csv`.

    Args:
        data_dir: Directory of the record set.
        split: `train` or `test`.
        table: DataFrame with `schema.INDEX_COLUMNS` in record order, shards by file name, blanks as ""; where
            `schema.OPTIONAL_INDEX_COLUMNS` are absent, they are blank.
    """
    columns = [*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS]
    text = pd.DataFrame(table).reindex(columns=columns, fill_value="").to_csv(index=False)
    atomic_write.write_text(os.path.join(data_dir, f"{split}.index.csv"), text)


def write_manifest(data_dir: str, split: str, shards: Sequence[dict[str, Any]], **facts: Any) -> None:
    """Writes `{split}.manifest.json`; the same set gives the same bytes on every machine.

    Args:
        data_dir: Directory of the record set.
        split: `train` or `test`.
        shards: Entries of `describe_shard`.
        **facts: Other facts about the set: image size, resize mode, JPEG quality, color options, source.
    """
    manifest = {
        "schema_version": schema.VERSION,
        "tool_version": tfrecord_tools.__version__,
        "split": split,
        "records": sum(shard["records"] for shard in shards),
        **facts,
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
    try:
        manifest = json.loads(filesystem.read(path))
        for shard in manifest["shards"]:
            kinds = [type(shard[name]) for name in ("name", "records", "bytes", "sha256")]
            if kinds != [str, int, int, str]:
                raise TypeError(f"a shard reads {shard}")
    except (ValueError, KeyError, TypeError) as error:
        raise errors.CorruptRecordError(
            f"{path} is not a valid manifest ({error!r}); recreate it with tfrecord_tools.index"
        ) from error
    return manifest
