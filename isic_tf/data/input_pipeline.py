"""Batches for training and for evaluation, from records on disk or from decoded images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import record_loading, record_seeds, record_stream
from isic_tf.distribution import cpu

# Batches that wait for the device.
_PREFETCHED_BATCHES = 2


# Their functions have no statements for AutoGraph to convert, which takes seconds.
@tf.autograph.experimental.do_not_convert
def make_train_dataset(
    rows: pd.DataFrame,
    samples_per_epoch: Sequence[int] | np.ndarray | None = None,
    *,
    image_size: int,
    batch_size: int,
    seed: int,
    labels: np.ndarray | None = None,
    images: record_loading.ImageReader | None = None,
    threads: int | None = None,
    stream: record_stream.StreamOptions | None = None,
) -> tf.data.Dataset:
    """Streams training batches without end; a pure function of its arguments.

    The stream is one epoch after another, each in an order sampled from (seed, epoch), cut into batches without regard
    to where an epoch ends. So record k of the stream is the same whatever the batch size, and it does not matter
    whether images are decoded or come from a cache.

    Args:
        rows: DataFrame of n records to train on: `Plan.rows` of `mixture.plan_fold`.
        samples_per_epoch: int64 `[groups]`, samples of each group in an epoch: `Plan.samples_per_epoch`; None for
            every record once.
        image_size: Side S of the square images, in pixels.
        batch_size: Images b in a batch, of one replica.
        seed: Integer below 2^31.
        labels: float32 `[n, ...]`, label of each row; None for its `target`, 0 or 1.
        images: Function from record numbers to decoded images, see `image_cache.open_images`; None to read and decode
            the records.
        threads: Images decoded at once, in a thread pool of this dataset's own; None for one per CPU core.
        stream: Start, shuffle buffer, workers and bags; None for the defaults of `StreamOptions`.

    Returns:
        Dataset of images, uint8 RGB `[b, S, S, 3]`; labels, float32 `[b, ...]`; and seeds for augmentation, int64
        `[b, 2]`, a function of (seed, epoch, record) only. `isic_tf.augmentation.make_augment` takes such a batch.

    Raises:
        tf.errors.OpError: While iterating: a record is corrupt, or is not the one that the index lists. See
            `read_errors.explained_read_errors`.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["a", "b", "c"], "target": [0, 1, 0], "shard": "train00-3.tfrec"})
        >>> rows = rows.assign(position=[0, 1, 2], number=[0, 1, 2], key=rows["image_name"])
        >>> def read_black_images(numbers):
        ...     return np.zeros((len(numbers), 64, 64, 3), np.uint8)
        >>> dataset = make_train_dataset(rows, image_size=64, batch_size=2, seed=0, images=read_black_images)
        >>> images, labels, seeds = next(dataset.as_numpy_iterator())
        >>> images.shape, labels.shape, seeds.shape
        ((2, 64, 64, 3), (2,), (2, 2))
    """
    threads = threads or cpu.count_cores()
    label_table = tf.constant(rows["target"].to_numpy() if labels is None else labels, tf.float32)
    keys = record_seeds.hash_keys(rows)
    load, finish = record_loading.make_loader(rows, image_size, images)

    def load_record(row: tf.Tensor, data: tf.Tensor, copy: tf.Tensor, epoch: tf.Tensor) -> tuple[Any, ...]:
        return load(data, row), row, copy, epoch

    def finish_batch(loaded: object, row: tf.Tensor, copy: tf.Tensor, epoch: tf.Tensor) -> tuple[Any, ...]:
        batch_images = finish(loaded, row)
        batch_labels = tf.gather(label_table, row)
        seeds = record_seeds.record_seed(tf.gather(keys, row), seed, epoch, copy)
        return batch_images, batch_labels, seeds

    # List, read, filter, repeat, shuffle; then parse and decode; batch; check, label and seed.
    dataset = record_stream.stream_records(
        rows,
        samples_per_epoch,
        seed=seed,
        options=stream or record_stream.StreamOptions(),
        threads=threads,
        read_files=images is None,
    )
    dataset = dataset.map(load_record, threads)
    dataset = dataset.batch(batch_size, drop_remainder=True)
    dataset = dataset.map(finish_batch)
    return _fix_options(dataset, threads)


@tf.autograph.experimental.do_not_convert
def make_eval_dataset(
    rows: pd.DataFrame,
    *,
    image_size: int,
    batch_size: int,
    metadata: np.ndarray | None = None,
    images: record_loading.ImageReader | None = None,
    threads: int | None = None,
) -> tf.data.Dataset:
    """Reads every record once, in the order of `in_file_order`; the last batch is padded with black images.

    Args:
        rows: DataFrame of n records with `shard`, `position` and `image_name`, such as `Plan.held_out` of
            `mixture.plan_fold` or the table of `record_metadata.list_records`.
        image_size: Side S of the square images, in pixels.
        batch_size: Images B in a batch, of all replicas.
        metadata: float32 `[n, m]`, clinical metadata of the rows, see `clinical_metadata.encode`; None for none.
        images: See `make_train_dataset`.
        threads: Images decoded at once, in a thread pool of this dataset's own; None for one per CPU core.

    Returns:
        Dataset of images, uint8 RGB `[B, S, S, 3]`; metadata, float32 `[B, m]`, where given; and names, string `[B]`,
        "" where padded.

    Raises:
        tf.errors.OpError: While iterating, see `make_train_dataset`.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["a", "b", "c"], "shard": "test00-3.tfrec"})
        >>> rows = rows.assign(position=[0, 1, 2], number=[0, 1, 2])
        >>> def read_black_images(numbers):
        ...     return np.zeros((len(numbers), 64, 64, 3), np.uint8)
        >>> dataset = make_eval_dataset(rows, image_size=64, batch_size=2, images=read_black_images)
        >>> [names.tolist() for _, names in dataset.as_numpy_iterator()]
        [[b'a', b'b'], [b'c', b'']]
    """
    threads = threads or cpu.count_cores()
    names = tf.constant(rows["image_name"].tolist(), tf.string)
    open_shard, num_shards = record_stream.make_shard_reader(rows, read_files=images is None)
    load, finish = record_loading.make_loader(rows, image_size, images)

    def load_record(row: tf.Tensor, data: tf.Tensor) -> tuple[Any, ...]:
        return load(data, row), row

    def pad_batch(loaded: object, row: tf.Tensor) -> tuple[Any, ...]:
        missing = batch_size - tf.shape(row)[0]
        padded = tf.pad(finish(loaded, row), [[0, missing], [0, 0], [0, 0], [0, 0]])
        padded_names = tf.concat([tf.gather(names, row), tf.fill([missing], "")], axis=0)
        batch_images = tf.ensure_shape(padded, [batch_size, image_size, image_size, 3])
        batch_names = tf.ensure_shape(padded_names, [batch_size])
        if metadata is None:
            return batch_images, batch_names
        padded_metadata = tf.pad(tf.gather(tf.constant(metadata, tf.float32), row), [[0, missing], [0, 0]])
        return batch_images, tf.ensure_shape(padded_metadata, [batch_size, metadata.shape[1]]), batch_names

    dataset = tf.data.Dataset.range(num_shards).flat_map(open_shard)
    dataset = dataset.map(load_record, threads)
    dataset = dataset.batch(batch_size)
    dataset = dataset.map(pad_batch)
    return _fix_options(dataset, threads)


def in_file_order(rows: pd.DataFrame) -> pd.DataFrame:
    """Sorts rows by shard, in the order in which the shards first occur, and by position within a shard.

    Args:
        rows: DataFrame with `shard` and `position`.

    Returns:
        The same rows.
    """
    shard_codes, _ = pd.factorize(rows["shard"])
    return rows.iloc[np.lexsort((rows["position"], shard_codes))]


def _fix_options(dataset: tf.data.Dataset, threads: int) -> tf.data.Dataset:
    """Leaves nothing of the order or the speed of a dataset to TensorFlow's discretion, and prefetches batches."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    # `tf.distribute` would split by files: workers are split here, by record.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(_PREFETCHED_BATCHES)
