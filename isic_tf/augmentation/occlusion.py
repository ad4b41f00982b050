"""What lies before a lesion: hairs, the edge of the microscope's field, holes."""

import math

import tensorflow as tf

from isic_tf.augmentation import stateless_rng

MOST_HAIRS = 24
MOST_HOLES = 16


def _plane(size):
    """Gives the pixels' x `[1, 1, S]` and y `[1, S, 1]` from 0 to 1, in units of the side."""
    axis = (tf.range(size, dtype=tf.float32) + 0.5) / size
    return axis[None, None, :], axis[None, :, None]


def draw_hairs(seeds, most):
    """Draws the hairs of each image: dark arcs that mostly run one way, as hair on skin does.

    Args:
        seeds: int64 `[b, 2]`.
        most: Number n of hairs to draw for each.

    Returns:
        float32 `[b, n, 8]`: x and y of the middle, angle (radians), half the length, curvature, half the width, all in
        units of the side, red (0 to 1) and opacity.
    """
    numbers = tf.reshape(stateless_rng.uniform(seeds, 8 * most + 8, stateless_rng.HAIRS), [-1, most + 1, 8])
    own, shared = numbers[:, 1:], numbers[:, :1]
    ranges = ((0, 1), (0, 1), (-0.5, 0.5), (0.15, 0.6), (-1.2, 1.2), (0.0012, 0.003), (0.04, 0.3), (0.7, 0.97))
    low, high = (tf.constant(bound, tf.float32) for bound in zip(*ranges, strict=True))
    way = tf.one_hot(2, 8) * shared[..., 2:3] * 2 * math.pi
    return low + own * (high - low) + way


def hair(images, count, hairs):
    """Draws hairs over images; they taper to half their width, and nothing gets lighter by them.

    Args:
        images: float `[b, S, S, 3]` in [0, 1].
        count: float32 `[b]`, how many of the hairs are there; a fraction is one hair more.
        hairs: See `draw_hairs`.

    Returns:
        Like `images`.
    """
    size = images.shape[1]
    x, y = _plane(size)
    # Brown to black: less green than red, and less blue.
    tint = tf.constant([1.0, 0.78, 0.62])
    for number in range(hairs.shape[1]):
        middle_x, middle_y, angle, length, bend, width, shade, opacity = (
            part[:, None, None] for part in tf.unstack(hairs[:, number], axis=1)
        )
        along = (x - middle_x) * tf.cos(angle) + (y - middle_y) * tf.sin(angle)
        across = (y - middle_y) * tf.cos(angle) - (x - middle_x) * tf.sin(angle)
        # To first order the distance from the parabola.
        distance = tf.abs(across - bend * along**2) * tf.math.rsqrt(1 + (2 * bend * along) ** 2)
        end = tf.abs(along) / length
        # What of a pixel's width lies within the hair's.
        half, away = width * (1 - 0.5 * end) * size, distance * size
        reach = tf.maximum(tf.minimum(away + 0.5, half) - tf.maximum(away - 0.5, -half), 0.0)
        there = tf.cast((end < 1) & (number < count[:, None, None]), tf.float32)
        cover = tf.cast(reach * there * opacity, images.dtype)[..., None]
        colour = tf.cast(shade[..., None] * tint, images.dtype)
        images = images + cover * (tf.minimum(colour, images) - images)
    return images


def vignette(images, radius, middle_x, middle_y):
    """Blackens what is outside of a microscope's round field.

    Args:
        images: float `[b, S, S, 3]`.
        radius: float32 `[b]`, in shares of the side; from the corners' distance on nothing changes.
        middle_x: float32 `[b]`, the field's middle from the image's, in shares of the side.
        middle_y: The same, downwards.

    Returns:
        Like `images`.
    """
    size = images.shape[1]
    x, y = _plane(size)
    distance = tf.sqrt((x - 0.5 - middle_x[:, None, None]) ** 2 + (y - 0.5 - middle_y[:, None, None]) ** 2)
    # An edge of a hundredth of the side, as the blurred edge of the lens.
    seen = tf.clip_by_value((radius[:, None, None] - distance) * 100 + 0.5, 0.0, 1.0)
    return images * tf.cast(seen, images.dtype)[..., None]


def dropout(images, side, middles):
    """Blackens squares (DeVries and Taylor 2017); where one passes the border it is cut off.

    Args:
        images: float `[b, S, S, 3]`.
        side: float32 `[b]`, of the squares, in shares of the image's; 0 for none.
        middles: float32 `[b, n, 2]`, x and y in shares of the side.

    Returns:
        Like `images`.
    """
    x, y = _plane(images.shape[1])
    half = side[:, None, None] / 2
    seen = tf.ones_like(x + y)
    for number in range(middles.shape[1]):
        middle_x, middle_y = (middles[:, number, axis, None, None] for axis in (0, 1))
        seen *= 1 - tf.cast((tf.abs(x - middle_x) < half) & (tf.abs(y - middle_y) < half), tf.float32)
    return images * tf.cast(seen, images.dtype)[..., None]
