"""Seeds, images and a policy of all operations for the tests of the augmentation."""

import numpy as np
import tensorflow as tf

from isic_tf.augmentation import policies, random_parameters

SEEDS = tf.stack([tf.range(4000, dtype=tf.int64) // 7, tf.range(4000, dtype=tf.int64) * 2**33], axis=1)


EVERYTHING = {
    name: {"alpha": 1.0}
    if name in policies.MIXES
    else {}
    if name in policies.SWITCHES
    else {"uniform": [max(low, 0.3), min(high, 0.9)]}
    for name, (_, low, high) in policies.OPERATIONS.items()
    if name not in ("hue", "blur", "hair")
} | {"hue": {"uniform": [20, 40]}, "blur": {"uniform": [0.004, 0.006]}, "hair": {"uniform": [2, 3]}}


def picture(size=16, count=2):
    """Returns uint8 images of noise, the same each time."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def drawn(policy, count=4000):
    """Samples the parameters of a policy with the first seeds, as arrays by name."""
    return {name: value.numpy() for name, value in random_parameters.sample_parameters(SEEDS[:count], policy).items()}
