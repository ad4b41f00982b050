"""Lists the records of existing shards, with what they and an index beside them state."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from tfrecord_tools import schema
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import csv_tables, filesystem, tfrecord

_LABELS = ("target", "diagnosis")
_COLUMNS = ["image_name", "path", "offset", "length", "size", "integers"]


def scan_records(files: Sequence[str], split: str) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Reads shards, and lists their records as rows of a table.

    Args:
        files: Paths of shards in any of the public layouts.
        split: `train` or `test`; the labels of test records are ignored.

    Returns:
        rows: DataFrame in file order with `image_name`, `patient_id` and `target` as text ("" if unknown); the place
            of each record, `path`, `offset` and `length` (in bytes); `size`, the (width, height) of its JPEG in pixels,
            or () if it is not a JPEG; and `integers`, a dict of the schema's integers that it has.
        entries: One entry per shard, see `manifest.describe_shard`.

    Raises:
        CorruptRecordError: A shard is damaged.
        IsicError: A shard has another schema, or an image name occurs twice.
    """
    rows: list[tuple[Any, ...]] = []
    entries = []
    for file in tqdm(files, "records", unit="shard", disable=None):
        digest = hashlib.sha256()
        num_before = len(rows)
        for offset, length, features in tfrecord.read(file, digest):
            integers = {name: int(features[name]) for name in tfrecord.INTEGERS if name in features}
            if split == "test":
                integers = {name: value for name, value in integers.items() if name not in _LABELS}
            header = codec.jpeg_header(features["image"])
            size = header[:2] if header else ()
            rows.append((features["image_name"], file, offset, length, size, integers))
        entry = {
            "name": os.path.basename(file),
            "records": len(rows) - num_before,
            "bytes": filesystem.size(file),
            "sha256": digest.hexdigest(),
        }
        entries.append(entry)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    directories = sorted({os.path.dirname(file) or "." for file in files})
    csv_tables.refuse_repeats(", ".join(directories), table, "hold")
    patients = pd.Series(_integer_texts(table, "patient_id"), table["image_name"], dtype=object)
    patients.update(_read_indexed_patients(files, split))
    return table.assign(patient_id=patients.to_list(), target=_integer_texts(table, "target")), entries


def _integer_texts(table: pd.DataFrame, name: str) -> list[str]:
    """Returns an integer of each record as text, "" if unknown."""
    values = [integers.get(name, schema.UNKNOWN) for integers in table["integers"]]
    return [str(value) if value >= 0 else "" for value in values]


def _read_indexed_patients(files: Sequence[str], split: str) -> pd.Series:
    """Reads patient IDs by image name from the indexes beside shards, if there are any."""
    known = []
    for directory in sorted({os.path.dirname(file) for file in files}):
        path = os.path.join(directory, f"{split}.index.csv")
        if filesystem.exists(path):
            index = csv_tables.read_table(path, schema.INDEX_COLUMNS)
            known.append(index.loc[index["patient_id"] != ""].set_index("image_name")["patient_id"])
    return pd.concat(known) if known else pd.Series(dtype=object)
