"""Makes a network for images of one normalization out of one for another.

The difference is a scale and a shift of each channel of the input. The scale goes into the kernel of the first
convolution, the shift into the mean of the batch normalization after it. The network is the same, but for the border:
there the convolution pads with the zero of the new normalization, which is another color than that of the old one.
"""

import numpy as np
import tensorflow as tf

from isic_tf.models import backbones

# From [0, 1]: factors and offsets of the channels.
_STD = np.array([0.229, 0.224, 0.225])
_MEAN = np.array([0.485, 0.456, 0.406])
_NORMALIZATIONS = {
    "imagenet": (1 / _STD, -_MEAN / _STD),
    "half": (np.full(3, 2.0), np.full(3, -1.0)),
    "unit": (np.ones(3), np.zeros(3)),
}
# Of the normalized input: (x - 127.5) / 127.5 and (x - 127) / 128 are held for the same, that of Google's weights.
_TOLERANCE = 0.01


def differs(backbone: str, name: str) -> bool:
    """Returns whether a normalization is another than that of a backbone.

    Args:
        backbone: Name of a backbone with a normalization of its own.
        name: One of `NAMES`: `imagenet` (mean and standard deviation of ImageNet), `half` (2 x - 1), `unit` (x).

    Examples:
        >>> differs("efficientnet-b0", "imagenet"), differs("efficientnet-b0", "half")
        (False, True)
    """
    ratio, shift = _find_difference(backbone, name)
    return bool(np.abs(ratio - 1).max() > _TOLERANCE or np.abs(shift).max() > _TOLERANCE)


def fold(network: tf.keras.Model, arrays: list[np.ndarray], name: str) -> list[np.ndarray]:
    """Converts weights for images of another normalization to weights for that of a backbone.

    Args:
        network: The backbone.
        arrays: float32 arrays in the order of `network.weights`, whose first are the kernel `[h, w, 3, f]` of the first
            convolution, and gamma, beta, mean and variance `[f]` of the batch normalization after it.
        name: The normalization that they expect, one of `NAMES`.

    Returns:
        The arrays, the kernel and the mean replaced. Features are the same, but for the border.
    """
    ratio, shift = _find_difference(network.name, name)
    kernel, gamma, beta, mean, *others = arrays
    shifted = np.einsum("hwcf,c->f", kernel.astype(np.float64), shift)
    kernel = (kernel * ratio[:, np.newaxis]).astype(np.float32)
    return [kernel, gamma, beta, (mean - shifted).astype(np.float32), *others]


def _find_difference(backbone: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Finds the factor and the offset of each channel from the input of a backbone to another normalization."""
    own = backbones.make_normalization(backbone)
    own_scale, own_offset = (np.broadcast_to(np.asarray(part, np.float64), 3) for part in (own.scale, own.offset))
    scale, offset = _NORMALIZATIONS[name]
    ratio = scale / own_scale
    return ratio, offset - ratio * own_offset
