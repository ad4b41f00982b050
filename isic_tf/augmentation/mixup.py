"""Mixup and CutMix."""

import tensorflow as tf

from isic_tf.augmentation import occlusion


def mix(images, labels, params):
    """Mixes each image and its label with those of its neighbour in the batch: mixup, then cutmix.

    Args:
        images: float `[b, S, S, 3]`.
        labels: float32 `[b]` or `[b, c]`.
        params: See `sample`: `mixup` and `cutmix` are the shares that stay.

    Returns:
        Images and labels of the same shapes; a label is mixed as its pixels are.
    """
    if "mixup" in params:
        share = params["mixup"]
        weight = tf.cast(share, images.dtype)[:, None, None, None]
        images = weight * images + (1 - weight) * tf.roll(images, 1, axis=0)
        labels = _mix_labels(labels, share)
    if "cutmix" in params:
        side = tf.sqrt(1 - params["cutmix"])
        own = occlusion.dropout(tf.ones_like(images[..., :1]), side, params["cutmix_middles"])
        images = own * images + (1 - own) * tf.roll(images, 1, axis=0)
        share = tf.reduce_mean(tf.cast(own, tf.float32), axis=(1, 2, 3))
        labels = _mix_labels(labels, share)
    return images, labels


def _mix_labels(labels, share):
    share = tf.reshape(share, [-1] + [1] * (labels.shape.rank - 1))
    return share * labels + (1 - share) * tf.roll(labels, 1, axis=0)
