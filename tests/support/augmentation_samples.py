"""Seeds, images and a policy of all operations for the tests of the augmentation."""

import geometry_reference as reference
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


def params(**changes):
    """Parameters of two images, or of as many as the changes are for."""
    count = max([np.size(value) for value in changes.values() if np.ndim(value)], default=2)
    full = {**reference.PARAMETERS, **changes}
    return {name: tf.constant(np.broadcast_to(np.float32(value), count)) for name, value in full.items()}


def draw(count, shear=60, zoom=5):
    """Random parameters of as many images."""
    random = np.random.default_rng(5)
    ranges = {"rotation": (-720, 720), "shear": (-shear, shear), "shift_x": (-1, 1), "shift_y": (-1, 1)}
    drawn = {name: random.integers(0, 2, count) for name in ("transpose", "flip_x", "flip_y")}
    drawn |= {"rotate90": random.integers(0, 4, count)}
    drawn |= {name: random.uniform(*ends, count) for name, ends in ranges.items()}
    return drawn | {name: zoom ** random.uniform(-1, 1, count) for name in ("zoom_x", "zoom_y")}
