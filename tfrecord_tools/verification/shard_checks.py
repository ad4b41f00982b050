"""What can be said of the records of one shard, and of the shards of one split against their manifest and index."""

import hashlib
import os

import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import filesystem, tfrecord

COLUMNS = ("path", "position", "offset", "image_name", "target", "problem")


def examine_shard(path, image_size, decode):
    """Reads a shard through, over damage too.

    Args:
        path: The file.
        image_size: Side that every image must have, or None where it is not known.
        decode: Whether to decode the images too.

    Returns:
        DataFrame of `COLUMNS`, one row a record or damaged stretch: `target` is the record's own, -1 for none, and
        `problem` is "" where all is well; and the file's bytes and SHA-256.
    """
    digest, rows, size = hashlib.sha256(), [], filesystem.size(path)
    for position, (offset, data, problem) in enumerate(tfrecord.scan(path, digest)):
        features, problems = (None, [problem]) if problem else tfrecord.parse(data)
        features = features or {}
        if not problems:
            problems = _check_image(features["image"], image_size, decode)
        target = features.get("target", schema.UNKNOWN)
        if not problems and target not in (schema.UNKNOWN, 0, 1):
            problems = [f"target must be 0 or 1, is {target}"]
        rows.append((path, position, offset, features.get("image_name", ""), target, "; ".join(problems)))
    return pd.DataFrame(rows, columns=COLUMNS), {"bytes": size, "sha256": digest.hexdigest()}


def _check_image(image, image_size, decode):
    header = codec.jpeg_header(image)
    if header is None:
        return ["image is no JPEG"]
    if header[0] * header[1] > codec.MAX_PIXELS:
        return [f"image has {header[0]}x{header[1]} pixels, more than {codec.MAX_PIXELS}"]
    if image_size and header[:2] != (image_size, image_size):
        return [f"image is {header[0]}x{header[1]}, the manifest says {image_size}x{image_size}"]
    if decode:
        import tensorflow as tf

        # TensorFlow fails on a truncated JPEG; OpenCV may fill it with grey. An eighth is enough to read all of it.
        try:
            tf.io.decode_jpeg(image, channels=3, ratio=8)
        except tf.errors.InvalidArgumentError:
            return ["image cannot be decoded"]
    return []


def check_counts(folder, found, described, table):
    """Holds the shards of a split against its manifest.

    Args:
        folder: Folder of the set.
        found: Manifest, see `manifest.read_manifest`.
        described: Dict from path to bytes and SHA-256.
        table: DataFrame of `COLUMNS` of all these shards.

    Returns:
        List of problems.
    """
    listed = {shard["name"]: shard for shard in found["shards"]}
    counts, problems = table.groupby("path").size(), []
    for path, facts in described.items():
        name = os.path.basename(path)
        if name not in listed:
            problems.append(f"{name} is not in the manifest")
            continue
        came = {"records": int(counts.get(path, 0)), **facts}
        for fact in ("records", "bytes", "sha256"):
            if came[fact] != listed[name][fact]:
                problems.append(f"{name} has {fact} {came[fact]}, the manifest says {listed[name][fact]}")
    for name in sorted(set(listed) - {os.path.basename(path) for path in described}):
        if not filesystem.exists(os.path.join(folder, name)):
            problems.append(f"{name} is in the manifest and not there")
    return problems


def check_index(found, table):
    """Holds the records of a split against its index: names in order, and targets.

    Args:
        found: DataFrame of text, the index.
        table: DataFrame of `COLUMNS` of shards of the split.

    Returns:
        List of problems.
    """
    problems, listed = [], dict(list(found.groupby("shard")))
    for path, part in table.groupby("path"):
        rows = listed.get(os.path.basename(path))
        if rows is None or rows["image_name"].tolist() != part["image_name"].tolist():
            problems.append(f"the index lists other images than {os.path.basename(path)} holds")
            continue
        own, indexed = part["target"].to_numpy(), pd.to_numeric(rows["target"].replace("", "-1")).to_numpy()
        if differ := int(((own != indexed) & (indexed >= 0)).sum()):
            problems.append(f"{os.path.basename(path)} has {differ} records with another target than the index")
    return problems


def check_leaks(index, pairs):
    """Finds what is in two places that must be kept apart: folds of training, or training and test.

    Args:
        index: DataFrame of text of the indexes of all splits, with `INDEX_COLUMNS`; of a test split `fold` is "test".
        pairs: DataFrame of text, `image_name_1` and `image_name_2`: known duplicates; or None.

    Returns:
        List of problems.
    """
    used = index[index["fold"] != ""]
    problems = []
    places = used[used["patient_id"] != ""].groupby("patient_id")["fold"].agg(lambda folds: tuple(sorted(set(folds))))
    for kind, chosen in (
        ("in two folds", places[places.map(lambda folds: len(set(folds) - {"test"}) > 1)]),
        ("in training and test", places[places.map(lambda folds: "test" in folds and len(folds) > 1)]),
    ):
        if len(chosen):
            problems.append(f"{len(chosen)} patients are {kind}, {chosen.index[0]} first")
    if pairs is not None:
        fold = used.drop_duplicates("image_name").set_index("image_name")["fold"]
        folds = [pairs[column].map(fold) for column in ("image_name_1", "image_name_2")]
        apart = pairs[folds[0].notna() & folds[1].notna() & (folds[0] != folds[1])]
        if len(apart):
            first = " and ".join(apart.iloc[0][["image_name_1", "image_name_2"]])
            problems.append(f"{len(apart)} pairs of listed duplicates are in two folds or splits, {first} first")
    return problems
