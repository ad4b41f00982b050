"""Selects records and loads their images and labels for display."""

import os

import numpy as np
import pandas as pd

from isic_tf.data import input_pipeline, read_errors
from isic_tf.distribution import cpu
from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem, record_index


def choose_records(rows: pd.DataFrame, count: int, names: str, seed: int) -> pd.DataFrame:
    """Selects the named images, or samples some from all shards.

    Args:
        rows: DataFrame of records with `image_name`.
        count: Number of records to sample.
        names: Names of images, separated by commas; blank to sample.
        seed: Seed of the sample.

    Returns:
        Rows in their original order.

    Raises:
        IsicError: A name is not in the records.
    """
    if names:
        wanted = filesystem.rejoin(names.split(","), set(rows["image_name"]).__contains__)
        missing = sorted(set(wanted) - set(rows["image_name"]))
        if missing:
            raise errors.IsicError(
                f"{len(missing)} images of --names are not in these records (first: {missing[0]}); check --records"
            )
        return rows[rows["image_name"].isin(wanted)]
    return rows.sample(min(count, len(rows)), random_state=seed).sort_index()


def load_images(rows: pd.DataFrame, image_size: int) -> np.ndarray:
    """Reads and decodes the images of records.

    Args:
        rows: DataFrame of records with `shard`, `position` and `image_name`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[n, S, S, 3]`, in the order of the rows.

    Raises:
        CorruptRecordError: A record cannot be read.
    """
    dataset = input_pipeline.make_eval_dataset(
        rows, image_size=image_size, batch_size=len(rows), threads=cpu.count_cores()
    )
    with read_errors.explained_read_errors(list(rows["shard"].unique())):
        batch = next(iter(dataset), None)
    if batch is None:
        raise errors.CorruptRecordError(
            f"{rows['shard'].iloc[0]} and the other shards hold none of the {len(rows)} expected records; make or "
            "fetch them again"
        )
    # The dataset is in file order.
    order = input_pipeline.in_file_order(rows.reset_index(drop=True)).index.to_numpy()
    images = np.empty_like(batch[0].numpy())
    images[order] = batch[0].numpy()
    return images


def read_labels(rows: pd.DataFrame) -> list[int]:
    """Reads labels from the indexes next to the shards.

    Args:
        rows: DataFrame of records with `shard` and `image_name`.

    Returns:
        0 or 1 for each row; -1 where there is no label, and always for test records.
    """
    labels: dict[tuple[str, str], int] = {}
    for directory in {os.path.dirname(shard) for shard in rows["shard"]}:
        if filesystem.exists(os.path.join(directory, "train.index.csv")):
            index = record_index.read_index(directory, "train")
            keys = zip(index["shard"], index["image_name"], strict=True)
            labels.update(zip(keys, index["target"], strict=True))
    return [labels.get(key, schema.UNKNOWN) for key in zip(rows["shard"], rows["image_name"], strict=True)]
