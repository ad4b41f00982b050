"""Decides how often each record occurs in an epoch."""

import numpy as np
import tensorflow as tf

from isic_tf.data import record_seeds


def count_copies(groups, quotas, seed, epoch):
    """Draws how often each record comes in an epoch.

    Args:
        groups: int `[n]`, from 0.
        quotas: Records of each group in an epoch; what does not divide by the group's size goes to some of its records,
            others each epoch.
        seed: Whole number.
        epoch: int64 `[]`.

    Returns:
        int64 `[n]`.
    """
    copies = tf.zeros(len(groups), tf.int64)
    for group, quota in enumerate(quotas):
        members = np.flatnonzero(groups == group)
        every, some = divmod(quota, len(members))
        # Below zero, so not the numbers that order the shards.
        order = tf.random.experimental.stateless_shuffle(
            tf.range(len(members)), tf.stack([record_seeds.int64(seed), -1 - epoch * len(quotas) - group])
        )
        copies += tf.scatter_nd(members[:, None], every + tf.cast(order < some, tf.int64), [len(groups)])
    return copies
