"""Lens distortion: rows are resampled, then columns, each at places of its own.

What a lens shows at (x, y) is at (x f, y f), where f = 1 + k r^2 + k r^4 and r is the distance from the center, as
OpenCV's `initUndistortRectifyMap` with k1 = k2 = k. The row of the image that is v below the center is resampled first:
at x it needs what is at x f, where y solves y f = v; then every column is resampled at y f. Where a strong lens with
k < 0 folds the border back, the solution nearest to the center counts.

Lines as far above as below the center have the same places, so they are resampled together. Sampling is linear, with
weights in 1/128, and rounded to whole gray levels.
"""

import tensorflow as tf

from isic_tf.augmentation import resampling

# Steps of Newton's method, and the smallest slope that it takes.
_STEPS = 5
_MIN_SLOPE = 0.25


def find_places(strength: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds where the pixels of a distorted image come from.

    Args:
        strength: float32 `[b]`, k, from -1 to 1.
        size: Side S in pixels.

    Returns:
        Places along rows and then along columns, int32 `[b, h, S]` in 1/128 pixel from the first: of the lines from the
        first to the middle one, h = ceil(S / 2), mirrored into the image.
    """
    # From the border to the center; the other half is its mirror image.
    half = (tf.range((size + 1) // 2, dtype=tf.float32) - (size - 1) / 2) / size
    along, line = half[None, None, :], half[None, :, None]
    k = strength[:, None, None]

    def factor(radius: tf.Tensor) -> tf.Tensor:
        return 1 + k * (radius + radius**2)

    other = tf.zeros_like(k) + line + 0 * along
    for _ in range(_STEPS):
        radius = along**2 + other**2
        slope = factor(radius) + 2 * k * other**2 * (1 + 2 * radius)
        other = tf.clip_by_value(other - (other * factor(radius) - line) / tf.maximum(slope, _MIN_SLOPE), -0.5, 0.0)
    rows = along * factor(along**2 + other**2)
    columns = along * factor(along**2 + line**2)
    return _to_pixels(rows, size), _to_pixels(columns, size)


def _to_pixels(position: tf.Tensor, size: int) -> tf.Tensor:
    """Converts positions in sides from the center, of the first half of a line, to places of the whole line."""
    last = (size - 1) * resampling.ONE
    place = tf.cast(tf.round((position * size + (size - 1) / 2) * resampling.ONE), tf.int32)
    place = resampling.mirror(place, last)
    return tf.concat([place, last - place[:, :, ::-1][:, :, size % 2 :]], 2)


def distort(words: tf.Tensor, places: tf.Tensor, on_tpu: bool) -> tf.Tensor:
    """Resamples every row at places of its own, and exchanges rows and columns.

    Args:
        words: int32 `[b, S, S]` with whole gray levels, see `resampling.pack`.
        places: See `find_places`.
        on_tpu: See `resampling`.

    Returns:
        int32 `[b, S, S]`, with columns first.
    """
    size, half = words.shape[1], places.shape[1]
    pairs = tf.stack([words[:, :half], words[:, size - half :][:, ::-1]], 2)
    pairs = tf.reshape(pairs, [-1, 2, size])
    pairs = resampling.interpolate(pairs, tf.reshape(places, [-1, size]), on_tpu)
    upper, lower = tf.unstack(tf.reshape(pairs, [-1, half, 2, size]), axis=2)
    words = tf.concat([upper, lower[:, ::-1][:, 2 * half - size :]], 1)
    return tf.transpose(words, [0, 2, 1])
