"""Batches for training and for evaluation, from records on disk or from decoded images."""

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import decoding, oversampling, patient_bags, read_errors, record_seeds
from tfrecord_tools import schema

_SHARDS_AT_ONCE = 8
# Batches that wait for the device.
_READY = 2


def make_train_dataset(
    rows,
    quotas=None,
    *,
    image_size,
    batch_size,
    seed,
    threads,
    start=0,
    num_workers=1,
    worker=0,
    shuffle_buffer=2048,
    images=None,
    labels=None,
    bag_size=0,
):
    """Streams training batches without end; a pure function of its arguments.

    The stream is the epochs one after another, each in an order drawn from (seed, epoch), cut into global batches
    without regard to where an epoch ends. So record k of the stream is the same whatever the batch size, and a run that
    stopped after k records continues with `start=k`. Where the images come from changes nothing either.

    Args:
        rows: DataFrame of records to train on, see `fold_split.split_rows` and `mixture.weigh`.
        quotas: int64 `[groups]`, records of each group in an epoch; None for every record once.
        image_size: Side S in pixels.
        batch_size: Images b in one replica's batch.
        seed: Whole number below 2^31.
        threads: Images decoded at once, in a thread pool of the dataset's own.
        start: Records of the stream already seen, by all workers together.
        num_workers: Number of processes that share the stream.
        worker: This process's number; it takes every `num_workers`-th record, or bag.
        shuffle_buffer: Records that the shuffle holds, as JPEG bytes.
        images: Function from record numbers to decoded images, see `image_cache.open_images`; None to read and decode.
        labels: float32 `[n, ...]`, what goes with each row; None for its `target`.
        bag_size: Records that come together, of one patient as far as can be, see `patient_bags.arrange_bags`; b and `start` are
            multiples of it, and so are the quotas' sum. 0 for records one by one.

    Returns:
        Dataset of (uint8 `[b, S, S, 3]`, float32 `[b, ...]` labels, int64 `[b, 2]` seeds).
    """
    groups = rows["group"].to_numpy() if quotas is not None else np.zeros(len(rows), np.int64)
    quotas = [len(rows)] if quotas is None else [int(quota) for quota in quotas]
    labels = tf.constant(rows["target"].to_numpy() if labels is None else labels, tf.float32)
    keys = record_seeds.hash_keys(rows)
    open_unit, num_units = _unit_reader(rows, stored=images is None)
    sizes, first = np.bincount(groups), record_seeds.int64(0)
    partial, repeated = (np.array(quotas) < sizes).any(), (np.array(quotas) > sizes).any()

    def epoch_records(epoch):
        copies = oversampling.count_copies(groups, quotas, seed, epoch)
        order = tf.random.experimental.stateless_shuffle(
            tf.range(num_units), tf.stack([record_seeds.int64(seed), epoch])
        )
        dataset = tf.data.Dataset.from_tensor_slices(order).interleave(
            lambda unit: open_unit(unit, copies if partial else None),
            cycle_length=_SHARDS_AT_ONCE,
            num_parallel_calls=min(threads, _SHARDS_AT_ONCE),
            deterministic=True,
        )
        if repeated:
            dataset = dataset.flat_map(lambda *record: _repeat(record, copies, epoch))
        else:
            # A function that hands on what it is given costs nothing, one that makes a zero does.
            dataset = dataset.map(lambda row, data: (row, data, first, epoch))
        # A set that lacks records of its index would shift the epochs, or never give a batch.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(sum(quotas)))
        dataset = _shuffle(dataset, shuffle_buffer, seed, epoch)
        if bag_size:
            dataset = patient_bags.arrange_bags(dataset, rows, copies, bag_size, seed, epoch)
            # They come as they get full, large patients' first.
            dataset = _shuffle(dataset, max(1, shuffle_buffer // bag_size), seed, epoch)
        return dataset

    def finish(images, row, copy, epoch):
        return images, tf.gather(labels, row), record_seeds.record_seed(tf.gather(keys, row), seed, epoch, copy)

    together = bag_size or 1
    epoch, seen = divmod(start // together, sum(quotas) // together)
    dataset = tf.data.Dataset.counter(epoch).flat_map(epoch_records).skip(seen).shard(num_workers, worker)
    dataset = dataset.unbatch() if bag_size else dataset
    load, collect = _loaders(rows, image_size, images)
    dataset = dataset.map(lambda row, data, *which: (load(data, row), row, *which), threads)
    # What can be done for a whole batch at once is done after it: each small operation costs as much for one.
    dataset = dataset.batch(batch_size, drop_remainder=True)
    return _settled(dataset.map(lambda loaded, row, *which: finish(collect(loaded, row), row, *which)), threads)


def make_eval_dataset(rows, *, image_size, batch_size, threads, images=None, known=None):
    """Gives every record once, in the order of `in_file_order`; the last batch is filled up with black images.

    Args:
        rows: DataFrame of records, with `shard`, `position` and `image_name`.
        image_size: Side S in pixels.
        batch_size: Images B in a batch, of all replicas.
        threads: Images decoded at once, in a thread pool of the dataset's own.
        images: See `train_dataset`.
        known: float32 `[n, m]`, the rows' metadata, see `clinical_metadata.encode`; None to give none.

    Returns:
        Dataset of (uint8 `[B, S, S, 3]`, float32 `[B, m]` metadata where given, string `[B]` names, "" where filled
        up).
    """
    names = tf.constant(rows["image_name"].tolist(), tf.string)
    open_unit, num_units = _unit_reader(rows, stored=images is None)
    dataset = tf.data.Dataset.range(num_units).flat_map(open_unit)
    load, collect = _loaders(rows, image_size, images)
    dataset = dataset.map(lambda row, data: (load(data, row), row), threads).batch(batch_size)

    def fill(loaded, row):
        missing = batch_size - tf.shape(row)[0]
        found = tf.pad(collect(loaded, row), [[0, missing], [0, 0], [0, 0], [0, 0]])
        named = tf.concat([tf.gather(names, row), tf.fill([missing], "")], axis=0)
        parts = [tf.ensure_shape(found, [batch_size, image_size, image_size, 3]), tf.ensure_shape(named, [batch_size])]
        if known is not None:
            own = tf.pad(tf.gather(tf.constant(known, tf.float32), row), [[0, missing], [0, 0]])
            parts.insert(1, tf.ensure_shape(own, [batch_size, known.shape[1]]))
        return tuple(parts)

    return _settled(dataset.map(fill), threads)


def in_file_order(rows):
    """Orders rows shard by shard, as the shards first come, and by position within them."""
    return rows.iloc[np.lexsort((rows["position"], pd.factorize(rows["shard"])[0]))]


def _unit_reader(rows, stored):
    """Creates the function that opens one shard, and counts the shards.

    Returns:
        Function from a shard's number (and how often each row is wanted, int64 `[n]`; None for once) to a dataset of
        (int64 row, string serialized record, "" unless `stored`) in file order; and the number of shards.
    """
    codes, shards = pd.factorize(rows["shard"])
    positions = [rows["position"].to_numpy()[codes == code] for code in range(len(shards))]
    slots = []
    for code, part in enumerate(positions):
        slots.append(np.full(part.max() + 1, -1))
        slots[-1][part] = np.flatnonzero(codes == code)
    # A filter costs more than reading, so there is none where a set's folds do not cut through its shards.
    whole = all((slot >= 0).all() for slot in slots)
    slots, paths = tf.ragged.constant(slots, tf.int64), tf.constant(list(shards))
    flat, splits = slots.flat_values, tf.cast(slots.row_splits, tf.int64)

    def open_unit(unit, copies=None):
        wanted = flat[splits[unit] : splits[unit + 1]]
        if copies is not None:
            wanted = tf.where(tf.gather(copies, tf.maximum(wanted, 0)) > 0, wanted, -1)
        data = decoding.read(paths[unit]) if stored else tf.data.Dataset.from_tensors("").repeat()
        dataset = tf.data.Dataset.zip((tf.data.Dataset.from_tensor_slices(wanted), data))
        return dataset if whole and copies is None else dataset.filter(lambda row, _: row >= 0)

    return open_unit, len(shards)


def _shuffle(dataset, buffer, seed, epoch):
    """Shuffles; unlike by `Dataset.shuffle`, the order depends on nothing but `seed` and the tensor `epoch`."""
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


def _repeat(record, copies, epoch):
    return tf.data.Dataset.range(copies[record[0]]).map(lambda copy: (*record, copy, epoch))


def _loaders(rows, image_size, images):
    """Creates the two functions that turn serialized records into images: one for each record, one for each batch.

    Returns:
        Function from a serialized record and its row's number to what the batch holds of it; and function from that,
        batched, and the rows' numbers to the images.
    """
    if images is not None:
        numbers = tf.constant(rows["number"].to_numpy(), tf.int64)

        def fetch(_, row):
            found = tf.numpy_function(images, [tf.gather(numbers, row)], tf.uint8)
            return tf.ensure_shape(found, [row.shape[0], image_size, image_size, 3])

        return (lambda data, row: data), fetch
    names = tf.constant(rows["image_name"].tolist(), tf.string)
    labelled = "target" in rows
    targets = tf.constant(rows["target"].to_numpy(), tf.int64) if labelled else None
    # A label in a record of a test split is never read.
    pseudo = tf.constant(rows["pseudo"].to_numpy()) if labelled and "pseudo" in rows and rows["pseudo"].any() else None

    def load(data, row):
        record = decoding.parse(data, labelled and pseudo is None)
        own = record["target"] if labelled and pseudo is None else ()
        if pseudo is not None:
            unknown = tf.constant(schema.UNKNOWN, tf.int64)
            own = tf.cond(tf.gather(pseudo, row), lambda: unknown, lambda: decoding.parse(data, True)["target"])
        return decoding.decode(record["image"], image_size), record["image_name"], own

    def check(loaded, row):
        found, named, own = loaded
        name = tf.gather(names, row)
        _assert(named == name, read_errors.STALE_NAME, name)
        if labelled:
            # A stale index would train on another set's labels without a sound.
            _assert((own == tf.gather(targets, row)) | (own == schema.UNKNOWN), read_errors.STALE_LABEL, name)
        return found

    return load, check


def _assert(right, problem, name):
    """Fails where not all of a batch is right, naming the first that is not."""
    tf.debugging.Assert(tf.reduce_all(right), [problem, tf.boolean_mask(name, ~right)[:1]])


def _settled(dataset, threads):
    """Leaves nothing of a dataset's speed or order to TensorFlow's discretion."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = 1
    # `tf.distribute` would split by files: workers are split here, by record.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options).prefetch(_READY)
