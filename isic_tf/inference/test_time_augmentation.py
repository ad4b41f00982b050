"""Test-time augmentation: the versions of an image whose probabilities are averaged."""

import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import decoding, record_seeds
from tfrecord_tools import errors

KINDS = ("dihedral", "training")
# The symmetries of a square.
DIHEDRAL = 8


def make_views(count, kind, run, seed):
    """Creates the function that gives one version of a batch.

    Args:
        count: Versions of each image.
        kind: One of `KINDS`: `dihedral`, the symmetries of a square, of which 1 is the image as it is and 8 are all; or
            `training`, draws of the policy that the run was trained with, without mixup and cutmix.
        run: Dict of the run's flags as text, see `run_directory.read_flags`.
        seed: Fixes the draws, with the image's name.

    Returns:
        Function from uint8 `[b, S, S, 3]`, int64 `[b]` hashes of the names and an int32 `[]` from 0 to `count` - 1 to
        float32 `[b, S, S, 3]` in [0, 1]; all of it stays on the device and compiles with static shapes.

    Raises:
        IsicError: There are not so many versions.
    """
    if kind == "dihedral":
        if count > DIHEDRAL:
            raise errors.IsicError(f"expected --tta from 1 to {DIHEDRAL} of --tta_policy=dihedral, got {count}")
        return lambda images, keys, view: decoding.to_float(dihedral(images, view))
    changed = augmenter.make_augment(read_tta_policy(run))

    def draw(images, keys, view):
        epoch, copy = tf.cast(view, tf.int64), tf.zeros_like(keys)
        return changed(images, copy, record_seeds.record_seed(keys, seed, epoch + copy, copy))[0]

    return draw


def read_tta_policy(run):
    """Reads the policy that a run was trained with, without mixup and cutmix.

    Args:
        run: Dict of the run's flags as text, see `run_directory.read_network`.

    Returns:
        Dict, see `policies`.
    """
    policy = policies.read_policy(run.get("augment_policy", "light"), float(run.get("augment_strength", 1)))
    return {name: entry for name, entry in policy.items() if name not in policies.MIXES}


def dihedral(images, view):
    """Turns and flips images by one of the eight symmetries of a square.

    Args:
        images: `[b, S, S, c]`.
        view: int32 `[]`, 0 to 7; its bits flip top to bottom, flip left to right, and transpose last.

    Returns:
        `[b, S, S, c]`; of view 0 the images as they are.
    """
    # All are computed and one is chosen: moving bytes costs nothing beside a network.
    images = tf.where(view % 2 == 1, tf.reverse(images, [1]), images)
    images = tf.where(view // 2 % 2 == 1, tf.reverse(images, [2]), images)
    return tf.where(view // 4 == 1, tf.transpose(images, [0, 2, 1, 3]), images)
