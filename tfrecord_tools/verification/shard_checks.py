"""Checks the records of one shard, the shards of one split against its manifest and index, and folds for leaks."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import filesystem, tfrecord

COLUMNS = ("path", "position", "offset", "image_name", "target", "problem")
# Stands for the fold of all images of a test split.
TEST_FOLD = "test"


def examine_shard(path: str, image_size: int | None, decode: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Reads all records of a shard, past damaged ones too.

    Args:
        path: The shard.
        image_size: Required side of the images, in pixels; None if unknown.
        decode: Whether to decode the images too.

    Returns:
        table: DataFrame of `COLUMNS`, one row per record or damaged part: `offset` is in bytes, `target` is the
            record's own, -1 if it has none, and `problem` is "" if the record is valid.
        facts: Dict of the file's `bytes` and `sha256`.

    Examples:
        >>> table, facts = examine_shard("records/train00-2071.tfrec", image_size=384, decode=True)  # doctest: +SKIP
        >>> table["problem"].value_counts()  # doctest: +SKIP
    """
    digest = hashlib.sha256()
    size = filesystem.size(path)
    rows = []
    for position, (offset, data, damage) in enumerate(tfrecord.scan(path, digest)):
        features: dict[str, Any] = {}
        problems = [damage]
        if data is not None and not damage:
            features, problems = tfrecord.parse(data)
        if not problems:
            problems = _check_image(features["image"], image_size, decode)
        target = features.get("target", schema.UNKNOWN)
        if not problems and target not in (schema.UNKNOWN, 0, 1):
            problems = [f"target must be 0 or 1, is {target}"]
        rows.append((path, position, offset, features.get("image_name", ""), target, "; ".join(problems)))
    return pd.DataFrame(rows, columns=COLUMNS), {"bytes": size, "sha256": digest.hexdigest()}


def _check_image(image: bytes, image_size: int | None, decode: bool) -> list[str]:
    header = codec.jpeg_header(image)
    if header is None:
        return ["image is not a JPEG"]
    width, height = header[:2]
    if width * height > codec.MAX_PIXELS:
        return [f"image has {width}x{height} pixels, more than {codec.MAX_PIXELS}"]
    if image_size and (width, height) != (image_size, image_size):
        return [f"image is {width}x{height}, but the manifest states {image_size}x{image_size}"]
    return _check_decoding(image) if decode else []


def _check_decoding(image: bytes) -> list[str]:
    import tensorflow as tf

    # TensorFlow fails on a truncated JPEG; OpenCV may fill it with gray. At an eighth of the size, all bytes are read.
    try:
        tf.io.decode_jpeg(image, channels=3, ratio=8)
    except tf.errors.InvalidArgumentError:
        return ["image cannot be decoded"]
    return []


def check_counts(
    directory: str, manifest: Mapping[str, Any], facts_by_path: Mapping[str, Mapping[str, Any]], table: pd.DataFrame
) -> list[str]:
    """Compares the shards of a split with its manifest.

    Args:
        directory: Directory of the set.
        manifest: See `manifest.read_manifest`.
        facts_by_path: `bytes` and `sha256` of each shard, by path.
        table: DataFrame of `COLUMNS` of all these shards.

    Returns:
        List of problems.
    """
    listed = {shard["name"]: shard for shard in manifest["shards"]}
    counts = table.groupby("path").size()
    problems = []
    for path, facts in facts_by_path.items():
        name = os.path.basename(path)
        if name not in listed:
            problems.append(f"{name} is not in the manifest")
            continue
        found = {"records": int(counts.get(path, 0)), **facts}
        for fact in ("records", "bytes", "sha256"):
            if found[fact] != listed[name][fact]:
                problems.append(f"{name} has {fact} {found[fact]}, but the manifest states {listed[name][fact]}")
    checked = {os.path.basename(path) for path in facts_by_path}
    for name in sorted(set(listed) - checked):
        if not filesystem.exists(os.path.join(directory, name)):
            problems.append(f"{name} is in the manifest, but does not exist")
    return problems


def check_index(index: pd.DataFrame, table: pd.DataFrame) -> list[str]:
    """Compares the records of a split with its index: names in order, and targets.

    Args:
        index: DataFrame of text, the index.
        table: DataFrame of `COLUMNS` of shards of the split.

    Returns:
        List of problems.
    """
    problems = []
    rows_by_shard = dict(list(index.groupby("shard")))
    for path, part in table.groupby("path"):
        shard = os.path.basename(path)
        rows = rows_by_shard.get(shard)
        if rows is None or rows["image_name"].tolist() != part["image_name"].tolist():
            problems.append(f"the index lists other images than {shard} holds")
            continue
        own = part["target"].to_numpy()
        indexed = pd.to_numeric(rows["target"].replace("", str(schema.UNKNOWN))).to_numpy()
        num_differing = int(((own != indexed) & (indexed >= 0)).sum())
        if num_differing:
            problems.append(f"{shard} has {num_differing} records with another target than the index")
    return problems


def check_leaks(index: pd.DataFrame, pairs: pd.DataFrame | None) -> list[str]:
    """Finds patients and duplicates that are in two folds, or in training and test.

    Args:
        index: DataFrame of text with `schema.INDEX_COLUMNS`, the indexes of all splits; `fold` is `TEST_FOLD` in a
            test split.
        pairs: DataFrame of text with `image_name_1` and `image_name_2`, the known duplicates; or None.

    Returns:
        List of problems.

    Examples:
        >>> index = pd.DataFrame({"image_name": ["a", "b"], "patient_id": ["p", "p"], "fold": ["0", "1"]})
        >>> check_leaks(index, None)
        ['1 patients are in two folds (for example p)']
    """
    used = index[index["fold"] != ""]
    problems = []
    folds = used[used["patient_id"] != ""].groupby("patient_id")["fold"].agg(set)
    in_two_folds = folds[folds.map(lambda found: len(found - {TEST_FOLD}) > 1)]
    if len(in_two_folds):
        problems.append(f"{len(in_two_folds)} patients are in two folds (for example {in_two_folds.index[0]})")
    in_both_splits = folds[folds.map(lambda found: TEST_FOLD in found and len(found) > 1)]
    if len(in_both_splits):
        problems.append(
            f"{len(in_both_splits)} patients are in training and test (for example {in_both_splits.index[0]})"
        )
    if pairs is None:
        return problems
    fold_by_name = used.drop_duplicates("image_name").set_index("image_name")["fold"]
    first, second = (pairs[column].map(fold_by_name) for column in schema.PAIR_COLUMNS)
    apart = pairs[first.notna() & second.notna() & (first != second)]
    if len(apart):
        names = " and ".join(apart.iloc[0][list(schema.PAIR_COLUMNS)])
        problems.append(f"{len(apart)} pairs of listed duplicates are in two folds or splits (for example {names})")
    return problems
