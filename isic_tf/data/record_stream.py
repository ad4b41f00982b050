"""The endless training stream: which record comes when, as a pure function of the seed.

An epoch is a list of `tf.data` stages: list the shards, read them, leave out records that are not wanted, repeat
oversampled records, shuffle, and group into bags where asked for. The stream is one epoch after another.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import decoding, oversampling, patient_bags, record_seeds

_SHARDS_AT_ONCE = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """Options of a training stream: its start, its shuffling, and its division among several processes.

    Attributes:
        start: Records of the stream to skip, counted over all workers; a run that stopped after k records resumes
            with `start=k`.
        num_workers: Number of processes that share the stream.
        worker: Index of this process, from 0; it takes every `num_workers`-th record, or bag.
        shuffle_buffer: Records that the shuffle buffer holds, as JPEG bytes.
        bag_size: Records in a bag, of one patient as far as possible, see `patient_bags.arrange_bags`; 0 for single
            records. `start`, the batch size and the number of samples per epoch must be multiples of it.

    Examples:
        >>> StreamOptions(start=64, shuffle_buffer=512)
        StreamOptions(start=64, num_workers=1, worker=0, shuffle_buffer=512, bag_size=0)
    """

    start: int = 0
    num_workers: int = 1
    worker: int = 0
    shuffle_buffer: int = 2048
    bag_size: int = 0


def stream_records(
    rows: pd.DataFrame,
    samples_per_epoch: Sequence[int] | np.ndarray | None,
    *,
    seed: int,
    options: StreamOptions,
    threads: int,
    read_files: bool,
) -> tf.data.Dataset:
    """Streams the records of all epochs without end, each epoch in an order sampled from (seed, epoch).

    The stream does not depend on the batch size, and a stream with `options.start=k` is the rest of the stream that
    starts at 0.

    Args:
        rows: DataFrame of n records, see `input_pipeline.make_train_dataset`.
        samples_per_epoch: int64 `[groups]`, samples of each group in an epoch; None for every record once.
        seed: Integer below 2^31.
        options: `StreamOptions`.
        threads: Upper bound for the number of shards that are read at once.
        read_files: Whether to read the shards; otherwise the serialized records are "".

    Returns:
        Dataset of int64 `[]` row, string `[]` serialized record, int64 `[]` number of the copy within the epoch, and
        int64 `[]` epoch.
    """
    if samples_per_epoch is None:
        groups = np.zeros(len(rows), np.int64)
        samples = [len(rows)]
    else:
        groups = rows["group"].to_numpy()
        samples = [int(count) for count in samples_per_epoch]
    sizes = np.bincount(groups)
    some_left_out = bool((np.array(samples) < sizes).any())
    some_repeated = bool((np.array(samples) > sizes).any())
    open_shard, num_shards = make_shard_reader(rows, read_files)
    first_copy = record_seeds.int64(0)
    bag_size = options.bag_size

    def stream_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        copies = oversampling.count_copies(groups, samples, seed, epoch)
        dataset = _list_shards(num_shards, seed, epoch)
        dataset = _read_shards(dataset, open_shard, copies if some_left_out else None, threads)
        if some_repeated:
            dataset = _repeat(dataset, copies, epoch)
        else:
            # A function that returns its inputs costs nothing, one that creates a zero for each record does.
            dataset = dataset.map(lambda row, data: (row, data, first_copy, epoch))
        # Shards that lack records of their index would shift the epochs, or never fill a batch.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(samples)))
        dataset = shuffle(dataset, options.shuffle_buffer, seed, epoch)
        if bag_size:
            dataset = patient_bags.arrange_bags(dataset, rows, copies, bag_size, seed, epoch)
            # Bags arrive in the order in which they fill up, those of patients with many lesions early.
            dataset = shuffle(dataset, max(1, options.shuffle_buffer // bag_size), seed, epoch)
        return dataset

    # Elements of the stream are records, or bags.
    element_size = bag_size or 1
    first_epoch, skipped = divmod(options.start // element_size, sum(samples) // element_size)
    dataset = tf.data.Dataset.counter(first_epoch).flat_map(stream_epoch)
    dataset = dataset.skip(skipped).shard(options.num_workers, options.worker)
    return dataset.unbatch() if bag_size else dataset


def make_shard_reader(
    rows: pd.DataFrame, read_files: bool
) -> tuple[Callable[[tf.Tensor, tf.Tensor | None], tf.data.Dataset], int]:
    """Creates the function that reads one shard, and counts the shards.

    Args:
        rows: DataFrame of n records with `shard` and `position`.
        read_files: Whether to read the shards; otherwise the serialized records are "".

    Returns:
        Function from the number of a shard, int64 `[]`, and how often each row is wanted, int64 `[n]` or None for
        once, to a dataset of (int64 `[]` row, string `[]` serialized record) in file order; and the number of shards.

    Raises:
        CorruptRecordError: The length of a record is damaged, or the rows name positions beyond the end of a shard.
    """
    codes, shards = pd.factorize(rows["shard"])
    if read_files:
        decoding.check_positions(rows)
    numbers = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes, minlength=len(shards)))[:-1])
    rows_at_positions = [_rows_at_positions(rows["position"].to_numpy(), own, read_files) for own in numbers]
    # A filter costs more than reading, so there is none where the folds of a set do not cut through its shards.
    complete = all((found >= 0).all() for found in rows_at_positions)
    table = tf.ragged.constant(rows_at_positions, tf.int64)
    paths = tf.constant(list(shards))
    flat = table.flat_values
    splits = tf.cast(table.row_splits, tf.int64)

    def open_shard(shard: tf.Tensor, copies: tf.Tensor | None = None) -> tf.data.Dataset:
        wanted = flat[splits[shard] : splits[shard + 1]]
        if copies is not None:
            wanted = tf.where(tf.gather(copies, tf.maximum(wanted, 0)) > 0, wanted, -1)
        data = decoding.read(paths[shard]) if read_files else tf.data.Dataset.from_tensors("").repeat()
        dataset = tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(wanted), data))
        if complete and copies is None:
            return dataset
        return dataset.filter(lambda row, _: row >= 0)

    return open_shard, len(shards)


def _rows_at_positions(positions: np.ndarray, numbers: np.ndarray, keep_gaps: bool) -> np.ndarray:
    """Returns the row number at each position of a shard, int64, -1 where the rows have no record there.

    Without `keep_gaps`, only the positions of the rows remain, in order.
    """
    positions = positions[numbers]
    if not keep_gaps:
        return numbers[np.argsort(positions, kind="stable")]
    found = np.full(positions.max() + 1, -1)
    found[positions] = numbers
    return found


def _list_shards(num_shards: int, seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """Lists the numbers of all shards in random order."""
    key = tf.stack([record_seeds.int64(seed), epoch])
    order = tf.random.experimental.stateless_shuffle(tf.range(num_shards), key)
    return tf.data.Dataset.from_tensor_slices(order)


def _read_shards(
    shards: tf.data.Dataset,
    open_shard: Callable[[tf.Tensor, tf.Tensor | None], tf.data.Dataset],
    copies: tf.Tensor | None,
    threads: int,
) -> tf.data.Dataset:
    """Reads several shards at once, a record of each in turn."""
    return shards.interleave(
        lambda shard: open_shard(shard, copies),
        cycle_length=_SHARDS_AT_ONCE,
        num_parallel_calls=min(threads, _SHARDS_AT_ONCE),
        deterministic=True,
    )


def _repeat(dataset: tf.data.Dataset, copies: tf.Tensor, epoch: tf.Tensor) -> tf.data.Dataset:
    """Repeats each record as often as `copies` has it, and adds the number of the copy and the epoch."""

    def repeat_record(row: tf.Tensor, data: tf.Tensor) -> tf.data.Dataset:
        return tf.data.Dataset.range(copies[row]).map(lambda copy: (row, data, copy, epoch))

    return dataset.flat_map(repeat_record)


def shuffle(dataset: tf.data.Dataset, buffer: int, seed: int, epoch: tf.Tensor) -> tf.data.Dataset:
    """Shuffles a dataset; unlike with `Dataset.shuffle`, the order depends only on the seed and the epoch.

    Args:
        dataset: Any dataset.
        buffer: Elements that the shuffle buffer holds.
        seed: Integer below 2^31.
        epoch: int64 `[]`.

    Returns:
        Dataset of the same elements.
    """
    spec = dataset.element_spec
    shuffled = tf.raw_ops.ShuffleDataset(
        input_dataset=tf.data.experimental.to_variant(dataset),
        buffer_size=record_seeds.int64(buffer),
        seed=record_seeds.int64(seed),
        # Two zeros would ask for any seed.
        seed2=epoch + 1,
        output_types=[part.dtype for part in spec],
        output_shapes=[part.shape for part in spec],
        reshuffle_each_iteration=False,
    )
    return tf.data.experimental.from_variant(shuffled, spec)
