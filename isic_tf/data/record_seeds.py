"""Seeds of records for augmentation: a pure function of (seed, epoch, record, copy)."""

import pandas as pd
import tensorflow as tf

# Occurrences of a record in an epoch that have seeds of their own.
MAX_COPIES = 2**11


def hash_keys(rows: pd.DataFrame) -> tf.Tensor:
    """Hashes the text that identifies each record; the hash is the second half of a record's seed.

    Args:
        rows: DataFrame of n records with `key` (text), see `mixture.read_sets`.

    Returns:
        int64 `[n]`, 0 to 2^62 - 1.
    """
    return tf.strings.to_hash_bucket_fast(tf.constant(rows["key"].tolist()), 2**62)


def int64(number: int) -> tf.Tensor:
    """Returns a number as an int64 `[]` tensor."""
    return tf.constant(number, tf.int64)


def record_seed(key: tf.Tensor, seed: int | tf.Tensor, epoch: tf.Tensor, copy: tf.Tensor) -> tf.Tensor:
    """Computes the seeds of records in an epoch, independent of batch, replica and order.

    Args:
        key: int64 `[...]`, see `hash_keys`.
        seed: Integer below 2^31, the seed of the run.
        epoch: int64 `[...]`, from 0, below a million.
        copy: int64 `[...]`, which of the occurrences of the record in the epoch this is, from 0, below `MAX_COPIES`.

    Returns:
        int64 `[..., 2]`, different for every (key, seed, epoch, copy).
    """
    return tf.stack([copy * 2**52 + int64(seed) * 1_000_000 + epoch, key], axis=-1)
