"""Batches for training and for evaluation, from records on disk."""

import tensorflow as tf

from isic_tf import records
from tfrecord_tools import schema


def train_dataset(rows, *, image_size, batch_size, seed, start=0, num_workers=1, worker=0, shuffle_buffer=2048):
    """Streams training batches without end; a pure function of its arguments.

    The stream is the epochs one after another, each all records once in an order drawn from (seed, epoch), cut into
    global batches without regard to where an epoch ends. So record k of the stream is the same whatever the batch
    size, and a run that stopped after k records continues with `start=k`.

    Args:
        rows: Index rows to train on.
        image_size: Side S in pixels.
        batch_size: Images b in one replica's batch.
        seed: Whole number.
        start: Records of the stream already seen, by all workers together.
        num_workers: Number of processes that share the stream.
        worker: This process's number; it takes every `num_workers`-th record.
        shuffle_buffer: Records shuffled at a time, as JPEG bytes.

    Returns:
        Dataset of (uint8 `[b, S, S, 3]`, float32 `[b]` labels, int64 `[b, 2]` seeds).
    """
    files, labels = sorted(set(rows["shard"])), _table(rows["image_name"], rows["target"].to_numpy())

    def epoch_records(epoch):
        order = tf.stack([tf.constant(seed, tf.int64), epoch])
        dataset = records.read(files, order).map(lambda serialized: (serialized, records.parse_name(serialized)))
        dataset = dataset.filter(lambda _, name: labels.lookup(name) != schema.UNKNOWN)
        # A set that lacks records of its index would shift the epochs, or never give a batch.
        dataset = dataset.apply(tf.data.experimental.assert_cardinality(len(rows)))
        dataset = dataset.map(lambda serialized, name: (serialized, record_seed(name, seed, epoch)))
        return _shuffle(dataset, shuffle_buffer, order)

    def load(serialized, record_seed):
        record = records.parse(serialized, labelled=True)
        label, own = labels.lookup(record["image_name"]), record["target"]
        # A stale index would train on another set's labels without a sound.
        agree = tf.logical_or(own == label, own == schema.UNKNOWN)
        tf.debugging.Assert(agree, [records.STALE_LABEL, record["image_name"], label, own])
        return records.decode(record["image"], image_size), tf.cast(label, tf.float32), record_seed

    epoch, seen = divmod(start, len(rows))
    dataset = tf.data.Dataset.counter(epoch).flat_map(epoch_records).skip(seen).shard(num_workers, worker)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)
    return _unsharded(dataset).prefetch(tf.data.AUTOTUNE)


def _shuffle(dataset, buffer, seed):
    """Shuffles blocks of records; unlike `Dataset.shuffle` it depends on nothing but the tensor `seed`."""

    def shuffle_block(*columns):
        order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(columns[0])[0]), seed)
        return tuple(tf.gather(column, order) for column in columns)

    return dataset.batch(buffer).map(shuffle_block).unbatch()


def record_seed(name, seed, epoch):
    """Gives a record's seed in one epoch: int64 `[2]`, the same whatever the batch, the replica and the order.

    Args:
        name: `image_name`, string `[]`.
        seed: Whole number.
        epoch: int64 `[]`.
    """
    # Epochs below a million never meet another seed's.
    return tf.stack([tf.constant(seed, tf.int64) * 1_000_000 + epoch, tf.strings.to_hash_bucket_fast(name, 2**62)])


def eval_dataset(files, *, image_size, batch_size, kept=None):
    """Reads every record once, in file order; the last batch is filled up with black images without a name.

    Args:
        files: Paths of shards.
        image_size: Side S in pixels.
        batch_size: Images B in a batch, of all replicas.
        kept: Names to keep, the rest is not decoded; None for all.

    Returns:
        Dataset of (uint8 `[B, S, S, 3]`, string `[B]` names, "" where filled up).
    """
    dataset = records.read(files)
    if kept is not None:
        known = _table(kept, tf.ones(len(kept), tf.int64))
        dataset = dataset.filter(lambda serialized: known.lookup(records.parse_name(serialized)) == 1)

    def load(serialized):
        record = records.parse(serialized, labelled=False)
        return records.decode(record["image"], image_size), record["image_name"]

    def fill(images, names):
        rows = batch_size - tf.shape(names)[0]
        images = tf.pad(images, [[0, rows], [0, 0], [0, 0], [0, 0]])
        names = tf.concat([names, tf.fill([rows], "")], axis=0)
        return tf.ensure_shape(images, [batch_size, image_size, image_size, 3]), tf.ensure_shape(names, [batch_size])

    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).map(fill)
    return _unsharded(dataset).prefetch(tf.data.AUTOTUNE)


def _table(names, values):
    """Lookup from a name to an int64 value, -1 for other names."""
    initial = tf.lookup.KeyValueTensorInitializer(tf.constant(list(names), tf.string), tf.cast(values, tf.int64))
    return tf.lookup.StaticHashTable(initial, default_value=schema.UNKNOWN)


def _unsharded(dataset):
    """Keeps `tf.distribute` from splitting a dataset by files: its workers are split here, by record."""
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)
