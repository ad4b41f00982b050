"""Lists the records of existing shards, with what they and an index beside them state."""

import hashlib
import logging
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from tfrecord_tools import errors, schema
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import csv_tables, filesystem, identity, image_formats, manifest, tfrecord

_LOG = logging.getLogger(__name__)

_LABELS = ("target", "diagnosis")
_COLUMNS = ["image_name", "image_digest", "path", "offset", "length", "size", "integers"]
# What an index beside the shards knows and the records do not.
_INDEXED = ("patient_id", "lesion_id")


def scan_records(files: Sequence[str], split: str) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Reads shards, and lists their records as rows of a table.

    Args:
        files: Paths of shards in any of the public layouts.
        split: `train` or `test`; the labels of test records are ignored.

    Returns:
        rows: DataFrame in file order with `image_name`, `patient_id`, `lesion_id` and `target` as text ("" if unknown);
            `image_digest`, see `identity.image_digest`; the place of each record, `path`, `offset` and `length` (in
            bytes); `size`, the (width, height) of its JPEG or PNG in pixels, or () if it is neither; and `integers`, a
            dict of the schema's integers that it has.
        entries: One entry per shard, see `manifest.describe_shard`.

    Raises:
        CorruptRecordError: A shard is damaged.
        IsicError: A shard has another schema, an image is of a format that training does not decode, or an image name
            occurs twice.
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
            _refuse_format(features["image"], f"record {len(rows) - num_before} ({features['image_name']}) of {file}")
            size = codec.image_size(features["image"]) or ()
            image_digest = identity.image_digest(features["image"])
            rows.append((features["image_name"], image_digest, file, offset, length, size, integers))
        entry = {
            "name": os.path.basename(file),
            "records": len(rows) - num_before,
            "bytes": filesystem.size(file),
            "sha256": digest.hexdigest(),
        }
        entries.append(entry)
    table = pd.DataFrame(rows, columns=_COLUMNS)
    _log_unreadable(table)
    directories = sorted({os.path.dirname(file) or "." for file in files})
    csv_tables.refuse_repeats(", ".join(directories), table, "hold")
    table = table.assign(
        patient_id=_integer_texts(table, "patient_id"), lesion_id="", target=_integer_texts(table, "target")
    )
    for path in _find_indexes(files, split):
        index = csv_tables.read_table(path, schema.INDEX_COLUMNS)
        for column in set(_INDEXED) & set(index):
            known = index.loc[index[column] != ""].drop_duplicates("image_name").set_index("image_name")[column]
            table[column] = table["image_name"].map(known).fillna(table[column])
    return table, entries


def _refuse_format(image: bytes, source: str) -> None:
    """Refuses a GIF or a BMP, for example; what is no image at all is found by `tfrecord_tools.verify`."""
    found = image_formats.find_format(image)
    if found and found not in image_formats.TRAINED:
        raise errors.IsicError(
            f"the image of {source} {image_formats.describe_format(image)}; leave it out with tfrecord_tools.verify "
            "--quarantine, or convert the image files to JPEG and build the set again"
        )


def _log_unreadable(table: pd.DataFrame) -> None:
    """Logs how many images have no header of a JPEG or PNG."""
    unreadable = table.loc[table["size"].map(len) == 0, "image_name"].tolist()
    if unreadable:
        _LOG.warning(
            f"note: the images of {len(unreadable)} records are neither JPEG nor PNG, so training refuses them: "
            f"{csv_tables.describe_first_cases(unreadable)}; leave them out with tfrecord_tools.verify --quarantine"
        )


def _integer_texts(table: pd.DataFrame, name: str) -> list[str]:
    """Returns an integer of each record as text, "" if unknown."""
    values = [integers.get(name, schema.UNKNOWN) for integers in table["integers"]]
    return [str(value) if value >= 0 else "" for value in values]


def _find_indexes(files: Sequence[str], split: str) -> list[str]:
    """Returns the paths of the indexes beside shards, if there are any; logs those that were changed."""
    directories = sorted({os.path.dirname(file) for file in files})
    found = []
    for directory in directories:
        path = os.path.join(directory, f"{split}.index.csv")
        if filesystem.exists(path):
            problem = manifest.find_index_problem(directory, split)
            if problem:
                _LOG.warning(f"note: {problem}; its patients and lesions are used as they are")
            found.append(path)
    return found
