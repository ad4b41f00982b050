"""Seeds of records: a pure function of (seed, epoch, record, copy)."""

import tensorflow as tf


def hash_keys(rows):
    """Gives what tells records apart, int64 `[n]`; the second half of their seeds."""
    return tf.strings.to_hash_bucket_fast(tf.constant(rows["key"].tolist()), 2**62)


def int64(number):
    return tf.constant(number, tf.int64)


def record_seed(key, seed, epoch, copy):
    """Gives a record's seed in one epoch, the same whatever the batch, the replica and the order.

    Args:
        key: int64 `[...]`, hash of what names the record.
        seed: Whole number below 2^31.
        epoch: int64 `[...]`, below a million.
        copy: int64 `[...]`, which of the record's occurrences in the epoch this is, below 2,048.

    Returns:
        int64 `[..., 2]`.
    """
    return tf.stack([copy * 2**52 + int64(seed) * 1_000_000 + epoch, key], axis=-1)
