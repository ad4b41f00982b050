"""The two files beside a record set's shards: the manifest says what they are, the index lists their records."""

import hashlib
import json
import os

import pandas as pd

import tfrecord_tools
from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write, filesystem

# What `write_manifest` says by itself.
COMPUTED = ("schema_version", "tool_version", "split", "records", "encodings", "shards")


def describe_shard(path, name, records):
    """Gives a shard's entry in the manifest.

    Args:
        path: Where the shard lies now.
        name: The name it has in the set.
        records: Number of its records.

    Returns:
        Dict of name, records, bytes and SHA-256.
    """
    digest, size = hashlib.sha256(), 0
    with filesystem.open(path) as file:
        while block := file.read(2**20):
            digest.update(block)
            size += len(block)
    return {"name": name, "records": records, "bytes": size, "sha256": digest.hexdigest()}


def write_index(data_dir, split, table):
    """Writes `{split}.index.csv`.

    Args:
        data_dir: Folder of the record set.
        split: `train` or `test`.
        table: DataFrame with `schema.INDEX_COLUMNS` in record order, shards by file name, blanks as "".
    """
    text = pd.DataFrame(table)[list(schema.INDEX_COLUMNS)].to_csv(index=False)
    atomic_write.write_text(os.path.join(data_dir, f"{split}.index.csv"), text)


def write_manifest(data_dir, split, shards, **facts):
    """Writes `{split}.manifest.json`; the same set gives the same bytes on every machine.

    Args:
        data_dir: Folder of the record set.
        split: `train` or `test`.
        shards: Entries of `describe_shard`.
        **facts: What else is known of the set: image size, resize mode, JPEG quality, colour options, source.
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


def read_manifest(data_dir, split):
    """Reads `{split}.manifest.json`.

    Returns:
        Dict, or None where there is none.

    Raises:
        IsicError: The file is no manifest.
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
        raise errors.IsicError(f"{path} is no manifest ({error!r}); make it again with tfrecord_tools.index") from error
    return manifest
