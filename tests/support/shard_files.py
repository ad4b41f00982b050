"""Writes small shards for tests."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pandas as pd
import tensorflow as tf
from dicom_files import PICTURE

from tfrecord_tools.imaging import codec
from tfrecord_tools.io import tf_example

JPEG = codec.encode(PICTURE, 90)


def write_shard(
    folder: pathlib.Path, name: str, records: Sequence[dict[str, Any]], jpegs: Sequence[bytes] | None = None
) -> str:
    """Writes records, each a dict of features with image_name, with one picture or with their own; returns the path."""
    folder.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / name)) as writer:
        for jpeg, features in zip(jpegs or [JPEG] * len(records), records, strict=True):
            writer.write(tf_example.to_example(jpeg, **features))
    return str(folder / name)


def rewrite_index(folder: pathlib.Path, split: str, table: pd.DataFrame) -> None:
    """Writes an index by hand beside a manifest that does not hold its digest, as those of release 0.1."""
    table.to_csv(folder / f"{split}.index.csv", index=False)
    path = folder / f"{split}.manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["index_sha256"]
    path.write_text(json.dumps(manifest))
