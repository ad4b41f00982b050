"""Selects records and loads their images and labels for display."""

import os

from isic_tf.data import input_pipeline, read_errors
from isic_tf.distribution import cpu
from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, record_index


def choose_records(rows, count, names, seed):
    """Gives the rows of the named images, or of some drawn from all shards."""
    if names:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        missing = sorted(set(wanted) - set(rows["image_name"]))
        if missing:
            raise errors.IsicError(f"{len(missing)} images of --names are not in these records, {missing[0]} first")
        return rows[rows["image_name"].isin(wanted)]
    return rows.sample(min(count, len(rows)), random_state=seed).sort_index()


def load_images(rows, image_size):
    """Reads and decodes records; gives uint8 `[n, S, S, 3]` in the order of the rows."""
    dataset = input_pipeline.make_eval_dataset(
        rows, image_size=image_size, batch_size=len(rows), threads=cpu.count_cores()
    )
    with read_errors.explained_read_errors(list(rows["shard"].unique())):
        return next(iter(dataset))[0].numpy()


def read_labels(rows):
    """Looks up labels in the indexes beside the shards; -1 where there is none, and for test records always."""
    labels = {}
    for folder in {os.path.dirname(shard) for shard in rows["shard"]}:
        if filesystem.exists(os.path.join(folder, "train.index.csv")):
            index = record_index.read_index(folder, "train")
            labels |= dict(zip(zip(index["shard"], index["image_name"], strict=True), index["target"], strict=True))
    return [labels.get(key, schema.UNKNOWN) for key in zip(rows["shard"], rows["image_name"], strict=True)]
