"""Occlusions: hairs, the dark border of a dermatoscope (vignette), holes."""

import math

import tensorflow as tf

from isic_tf.augmentation import stateless_rng


def _plane(size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x `[1, 1, S]` and y `[1, S, 1]` of the pixels, from 0 to 1, in units of the side."""
    axis = (tf.range(size, dtype=tf.float32) + 0.5) / size
    return axis[None, None, :], axis[None, :, None]


def sample_hairs(seeds: tf.Tensor, count: int) -> tf.Tensor:
    """Samples the hairs of each image: dark arcs that mostly run in one direction, as hair on skin does.

    Args:
        seeds: int64 `[b, 2]`.
        count: Number n of hairs per image.

    Returns:
        float32 `[b, n, 8]`: x and y of the center, angle (radians), half the length, curvature, half the width, all in
        units of the side, red (0 to 1) and opacity.
    """
    numbers = tf.reshape(stateless_rng.uniform(seeds, 8 * count + 8, stateless_rng.HAIRS), [-1, count + 1, 8])
    own = numbers[:, 1:]
    shared = numbers[:, :1]
    ranges = ((0, 1), (0, 1), (-0.5, 0.5), (0.15, 0.6), (-1.2, 1.2), (0.0012, 0.003), (0.04, 0.3), (0.7, 0.97))
    low, high = (tf.constant(bound, tf.float32) for bound in zip(*ranges, strict=True))
    direction = tf.one_hot(2, 8) * shared[..., 2:3] * 2 * math.pi
    return low + own * (high - low) + direction


def hair(images: tf.Tensor, count: tf.Tensor, hairs: tf.Tensor) -> tf.Tensor:
    """Draws hairs over images; they taper to half their width, and no pixel becomes lighter.

    Args:
        images: float `[b, S, S, 3]` in [0, 1].
        count: float32 `[b]`, how many of the hairs to draw, rounded up.
        hairs: See `sample_hairs`.

    Returns:
        Images of the same shape and dtype.
    """
    size = images.shape[1]
    x, y = _plane(size)
    # Brown to black: less green than red, and less blue.
    tint = tf.constant([1.0, 0.78, 0.62])
    for number in range(hairs.shape[1]):
        center_x, center_y, angle, length, bend, width, shade, opacity = (
            part[:, None, None] for part in tf.unstack(hairs[:, number], axis=1)
        )
        along = (x - center_x) * tf.cos(angle) + (y - center_y) * tf.sin(angle)
        across = (y - center_y) * tf.cos(angle) - (x - center_x) * tf.sin(angle)
        # The distance from the parabola, to first order.
        distance = tf.abs(across - bend * along**2) * tf.math.rsqrt(1 + (2 * bend * along) ** 2)
        end = tf.abs(along) / length
        # The part of the pixel's width that lies within the hair.
        half = width * (1 - 0.5 * end) * size
        away = distance * size
        reach = tf.maximum(tf.minimum(away + 0.5, half) - tf.maximum(away - 0.5, -half), 0.0)
        there = tf.cast((end < 1) & (number < count[:, None, None]), tf.float32)
        cover = tf.cast(reach * there * opacity, images.dtype)[..., None]
        color = tf.cast(shade[..., None] * tint, images.dtype)
        images = images + cover * (tf.minimum(color, images) - images)
    return images


def vignette(images: tf.Tensor, radius: tf.Tensor, center_x: tf.Tensor, center_y: tf.Tensor) -> tf.Tensor:
    """Blackens everything outside the round field of a dermatoscope.

    Args:
        images: float `[b, S, S, 3]`.
        radius: float32 `[b]`, as a fraction of the side; from the distance of the corners on, nothing changes.
        center_x: float32 `[b]`, offset of the field's center from the image's, as a fraction of the side.
        center_y: The same, downward.

    Returns:
        Images of the same shape and dtype.
    """
    size = images.shape[1]
    x, y = _plane(size)
    distance = tf.sqrt((x - 0.5 - center_x[:, None, None]) ** 2 + (y - 0.5 - center_y[:, None, None]) ** 2)
    # An edge of a hundredth of the side, like the blurred edge of the lens.
    visible = tf.clip_by_value((radius[:, None, None] - distance) * 100 + 0.5, 0.0, 1.0)
    return images * tf.cast(visible, images.dtype)[..., None]


def dropout(images: tf.Tensor, side: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Blackens squares (DeVries and Taylor 2017), clipped at the border.

    Args:
        images: float `[b, S, S, 3]`.
        side: float32 `[b]`, side of the squares as a fraction of the image's; 0 for none.
        centers: float32 `[b, n, 2]`, x and y as fractions of the side.

    Returns:
        Images of the same shape and dtype.
    """
    x, y = _plane(images.shape[1])
    half = side[:, None, None] / 2
    visible = tf.ones_like(x + y)
    for number in range(centers.shape[1]):
        center_x, center_y = (centers[:, number, axis, None, None] for axis in (0, 1))
        visible *= 1 - tf.cast((tf.abs(x - center_x) < half) & (tf.abs(y - center_y) < half), tf.float32)
    return images * tf.cast(visible, images.dtype)[..., None]
