"""Loads the images of records: parsed and decoded from their bytes, or fetched from a cache of decoded images.

Each loader is two functions: one for a single record, and one for a whole batch. What can be done for a batch at once
is done after batching, since a small TensorFlow operation costs as much for one record as for a batch.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import decoding, read_errors
from tfrecord_tools import schema

# From record numbers, int64 `[b]`, to decoded images, uint8 `[b, S, S, 3]`.
ImageReader = Callable[[np.ndarray], np.ndarray]
# From a serialized record, string `[]`, and its row, int64 `[]`, to what a batch holds of it.
LoadRecord = Callable[[tf.Tensor, tf.Tensor], Any]
# From that, batched, and the rows, int64 `[b]`, to images, uint8 `[b, S, S, 3]`.
FinishBatch = Callable[[Any, tf.Tensor], tf.Tensor]


def make_loader(
    rows: pd.DataFrame, image_size: int, images: ImageReader | None = None
) -> tuple[LoadRecord, FinishBatch]:
    """Creates the two functions that turn serialized records into a batch of images.

    Args:
        rows: DataFrame of the n records, with `image_name`, and `target` where labels are compared with those of the
            records; with `number` where `images` is given.
        image_size: Side S in pixels.
        images: See `input_pipeline.make_train_dataset`; None to decode the records.

    Returns:
        `LoadRecord` and `FinishBatch`.
    """
    if images is None:
        return _make_record_loader(rows, image_size)
    return _make_cache_loader(rows, image_size, images)


def _make_cache_loader(rows: pd.DataFrame, image_size: int, images: ImageReader) -> tuple[LoadRecord, FinishBatch]:
    numbers = tf.constant(rows["number"].to_numpy(), tf.int64)

    def load(data: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
        return data

    def fetch(_: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
        found = tf.numpy_function(images, [tf.gather(numbers, row)], tf.uint8)
        return tf.ensure_shape(found, [row.shape[0], image_size, image_size, 3])

    return load, fetch


def _make_record_loader(rows: pd.DataFrame, image_size: int) -> tuple[LoadRecord, FinishBatch]:
    names = tf.constant(rows["image_name"].tolist(), tf.string)
    targets = tf.constant(rows["target"].to_numpy(), tf.int64) if "target" in rows else None
    parse = _make_parser(rows)

    def load(data: tf.Tensor, row: tf.Tensor) -> tuple[Any, ...]:
        record, label = parse(data, row)
        return decoding.decode(record["image"], image_size), record["image_name"], label

    def check(loaded: tuple[Any, ...], row: tf.Tensor) -> tf.Tensor:
        images, found_names, labels = loaded
        expected_names = tf.gather(names, row)
        _assert_all(found_names == expected_names, read_errors.STALE_NAME, expected_names)
        if targets is not None:
            # A stale index would silently train on the labels of another set.
            matches = (labels == tf.gather(targets, row)) | (labels == schema.UNKNOWN)
            _assert_all(matches, read_errors.STALE_LABEL, expected_names)
        return images

    return load, check


def _make_parser(rows: pd.DataFrame) -> Callable[[tf.Tensor, tf.Tensor], tuple[Any, ...]]:
    """Creates the function that parses a record.

    Returns:
        Function from a serialized record and its row to the dict of `decoding.parse` and the label to compare with
        the index: () where the rows have no targets, -1 where the target of a row is a prediction.
    """

    def parse_unlabeled(data: tf.Tensor, row: tf.Tensor) -> tuple[Any, ...]:
        # A label in a record of a test split is never read.
        return decoding.parse(data, labeled=False), ()

    def parse_labeled(data: tf.Tensor, row: tf.Tensor) -> tuple[Any, ...]:
        record = decoding.parse(data, labeled=True)
        return record, record["target"]

    if "target" not in rows:
        return parse_unlabeled
    if "pseudo" not in rows or not rows["pseudo"].any():
        return parse_labeled
    pseudo = tf.constant(rows["pseudo"].to_numpy())

    def parse_partly_labeled(data: tf.Tensor, row: tf.Tensor) -> tuple[Any, ...]:
        record = decoding.parse(data, labeled=False)
        unknown = tf.constant(schema.UNKNOWN, tf.int64)
        label = tf.cond(tf.gather(pseudo, row), lambda: unknown, lambda: decoding.parse(data, labeled=True)["target"])
        return record, label

    return parse_partly_labeled


def _assert_all(condition: tf.Tensor, problem: str, names: tf.Tensor) -> None:
    """Fails unless the condition holds for every image of a batch; the error names an image for which it does not."""
    tf.debugging.Assert(tf.reduce_all(condition), [problem, tf.boolean_mask(names, ~condition)[:1]])
