"""Published weights by name, such as `noisy-student`: which there are of a backbone, and how they are loaded."""

import tensorflow as tf

from isic_tf.models.pretrained import h5_weights, lite_weights, weights_cache, weights_table


def list_kinds(backbone: str) -> tuple[str, ...]:
    """Lists the kinds of weights that are published for a backbone.

    Args:
        backbone: Name of the backbone.

    Returns:
        Some of `weights_table.KINDS`, the best last.

    Examples:
        >>> list_kinds("efficientnet-b0"), list_kinds("efficientnet-l2")
        (('imagenet', 'noisy-student'), ())
    """
    return tuple(kind for kind in weights_table.KINDS if weights_table.find_files(backbone, kind))


def load_published(network: tf.keras.Model, backbone: str, kind: str) -> None:
    """Loads published weights into a backbone; all of them or nothing.

    Args:
        network: The backbone without its classification layer.
        backbone: Its name.
        kind: One of `list_kinds(backbone)`.

    Raises:
        IsicError: The weights are neither here nor can they be downloaded.
        CorruptRecordError: Their file is not the one that was published.
    """
    path = weights_cache.fetch(backbone, kind)
    if path.endswith(".pth"):
        lite_weights.load_lite(network, path)
    else:
        h5_weights.load(network, path, is_published=True)
