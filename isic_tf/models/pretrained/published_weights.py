"""Loads published weights by name, such as `noisy-student`."""

import tensorflow as tf

from isic_tf.models.pretrained import h5_weights, lite_weights, weights_cache


def load_published(network: tf.keras.Model, backbone: str, kind: str) -> None:
    """Loads published weights into a backbone; all of them or nothing.

    Args:
        network: The backbone without its classification layer.
        backbone: Its name.
        kind: One of `weights_table.list_kinds(backbone)`.

    Raises:
        IsicError: The weights are neither here nor can they be downloaded.
        CorruptRecordError: Their file is not the one that was published.
    """
    path = weights_cache.fetch(backbone, kind)
    if path.endswith(".pth"):
        lite_weights.load_lite(network, path)
    else:
        h5_weights.load(network, path, is_published=True)
