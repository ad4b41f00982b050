"""Samples how often each record occurs in an epoch, so that groups can be over- or undersampled."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from isic_tf.data import record_seeds


def count_copies(groups: np.ndarray, samples_per_epoch: Sequence[int], seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """Samples how often each record occurs in an epoch.

    Every record of a group of m records with q samples occurs `q // m` times; `q % m` records, sampled anew for each
    epoch, occur once more.

    Args:
        groups: int `[n]`, the group of each record, from 0.
        samples_per_epoch: Samples of each group in an epoch.
        seed: Integer below 2^31.
        epoch: int64 `[]`, from 0.

    Returns:
        int64 `[n]`, from 0; its sum is that of `samples_per_epoch`.
    """
    num_groups = len(samples_per_epoch)
    copies = tf.zeros(len(groups), tf.int64)
    for group, samples in enumerate(samples_per_epoch):
        members = np.flatnonzero(groups == group)
        copies_of_all, remainder = divmod(samples, len(members))
        # Negative, so that it differs from the keys that order the shards.
        key = tf.stack([record_seeds.int64(seed), -1 - epoch * num_groups - group])
        order = tf.random.experimental.stateless_shuffle(tf.range(len(members)), key)
        copies_of_member = copies_of_all + tf.cast(order < remainder, tf.int64)
        copies += tf.scatter_nd(members[:, None], copies_of_member, [len(groups)])
    return copies
