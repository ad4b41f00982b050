"""Mixup and CutMix."""

import tensorflow as tf

from isic_tf.augmentation import occlusion


def mix(images: tf.Tensor, labels: tf.Tensor, params: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes each image and its label with those of its neighbor in the batch: mixup, then CutMix.

    Args:
        images: float `[b, S, S, 3]`.
        labels: float32 `[b]` or `[b, c]`.
        params: See `random_parameters.sample_parameters`: `mixup` and `cutmix` are the weights of the image itself.

    Returns:
        Images and labels of the same shapes; a label is mixed in the proportion of its pixels.
    """
    if "mixup" in params:
        own_weight = params["mixup"]
        weight = tf.cast(own_weight, images.dtype)[:, None, None, None]
        images = weight * images + (1 - weight) * tf.roll(images, 1, axis=0)
        labels = _mix_labels(labels, own_weight)
    if "cutmix" in params:
        side = tf.sqrt(1 - params["cutmix"])
        own = occlusion.dropout(tf.ones_like(images[..., :1]), side, params["cutmix_centers"])
        images = own * images + (1 - own) * tf.roll(images, 1, axis=0)
        own_area = tf.reduce_mean(tf.cast(own, tf.float32), axis=(1, 2, 3))
        labels = _mix_labels(labels, own_area)
    return images, labels


def _mix_labels(labels: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    weight = tf.reshape(weight, [-1] + [1] * (labels.shape.rank - 1))
    return weight * labels + (1 - weight) * tf.roll(labels, 1, axis=0)
