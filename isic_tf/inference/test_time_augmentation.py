"""Test-time augmentation: the versions of an image whose probabilities are averaged."""

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import decoding, record_seeds
from tfrecord_tools import errors

# The symmetries of a square.
DIHEDRAL = 8


def make_views(count: int, policy: str, run: Mapping[str, Any], seed: int) -> Callable[..., tf.Tensor]:
    """Creates the function that computes one version of a batch of images.

    Args:
        count: Number of versions of each image.
        policy: One of `config.TTA_POLICIES`: `dihedral`, the symmetries of a square, of which the first is the image as
            it is and 8 are all; or `training`, samples of the augmentation policy that the run was trained with,
            without mixup and cutmix.
        run: Options of the run as text, see `run_directory.read_flags`.
        seed: Seed of the samples, which depend on it and on the image's name.

    Returns:
        Function from uint8 images `[b, S, S, 3]`, int64 hashes of their names `[b]` and the version's number (int32
        `[]`, from 0 to `count` - 1) to float32 `[b, S, S, 3]` in [0, 1]; it runs on the device and compiles with static
        shapes.

    Raises:
        ConfigError: There are fewer versions than asked for.

    Examples:
        >>> view = make_views(2, "dihedral", {}, seed=0)
        >>> images = tf.constant([[[[0], [51]], [[102], [255]]]], tf.uint8)
        >>> flipped = view(images, tf.constant([0], tf.int64), tf.constant(1))
        >>> (255 * flipped[0, :, :, 0]).numpy().round().astype(int).tolist()
        [[102, 255], [0, 51]]
    """
    if policy == "dihedral":
        if count > DIHEDRAL:
            raise errors.ConfigError(
                f"expected --tta from 1 to {DIHEDRAL} with --tta_policy=dihedral, got {count}; reduce it, or use "
                "--tta_policy=training"
            )
        return lambda images, keys, view: decoding.to_float(dihedral(images, view))
    augment = augmenter.make_augment(read_tta_policy(run))

    def sample(images: tf.Tensor, keys: tf.Tensor, view: tf.Tensor) -> tf.Tensor:
        # The seed of a version is that of an epoch of training.
        epoch = tf.cast(view, tf.int64)
        copy = tf.zeros_like(keys)
        return augment(images, copy, record_seeds.record_seed(keys, seed, epoch + copy, copy))[0]

    return sample


def read_tta_policy(run: Mapping[str, Any]) -> dict[str, Any]:
    """Reads the augmentation policy that a run was trained with, without mixup and cutmix.

    Args:
        run: Options of the run as text, see `run_directory.read_network`.

    Returns:
        Dict of operations, see `policies.read_policy`.
    """
    policy = policies.read_policy(run.get("augment_policy", "light"), float(run.get("augment_strength", 1)))
    return {name: entry for name, entry in policy.items() if name not in policies.MIXES}


def dihedral(images: tf.Tensor, view: tf.Tensor) -> tf.Tensor:
    """Rotates and flips images by one of the eight symmetries of a square.

    Args:
        images: `[b, S, S, c]`, any dtype.
        view: int32 `[]`, 0 to 7; its bits flip top to bottom, flip left to right, and transpose, in this order.

    Returns:
        `[b, S, S, c]` of the same dtype; the images themselves for view 0.
    """
    # All are computed and one is chosen: moving bytes costs next to nothing compared with a network.
    images = tf.where(view % 2 == 1, tf.reverse(images, [1]), images)
    images = tf.where(view // 2 % 2 == 1, tf.reverse(images, [2]), images)
    return tf.where(view // 4 == 1, tf.transpose(images, [0, 2, 1, 3]), images)
