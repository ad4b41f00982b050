"""Resizes images in a TensorFlow graph to the pixels that `tfrecord_tools.imaging.preprocessing` gives, by OpenCV.

TensorFlow's own resizing differs by some gray levels at edges, which moves single predictions by up to 0.15
(experiments/LOG.md, 2026-11-29).
"""

import tensorflow as tf

# OpenCV weighs bilinear neighbors in steps of 1/256.
_LINEAR_BITS = 8
# Of the bicubic kernel of OpenCV (Keys 1981 has -0.5).
_CUBIC = -0.75


def resize(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Resizes an image by averages when it shrinks, and bicubic when it grows.

    Args:
        image: uint8 `[h, w, 3]`.
        height: int32 `[]`, pixels.
        width: int32 `[]`, pixels.

    Returns:
        uint8 `[height, width, 3]`: at most one gray level from `preprocessing.resize_to_square`.

    Examples:
        >>> resize(tf.reshape(tf.constant([0, 100], tf.uint8), [1, 2, 1]), 1, 1).numpy().ravel().tolist()
        [50]
    """
    own = tf.shape(image)
    is_same = (own[0] == height) & (own[1] == width)
    is_larger = (own[0] >= height) & (own[1] >= width)
    return tf.cond(
        is_same,
        lambda: image,
        lambda: tf.cond(is_larger, lambda: _shrink(image, height, width), lambda: _resize_cubic(image, height, width)),
    )


def _shrink(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    own = tf.cast(tf.shape(image), tf.float64)
    row_factor = own[0] / tf.cast(height, tf.float64)
    column_factor = own[1] / tf.cast(width, tf.float64)

    def average() -> tf.Tensor:
        return tf.cast(tf.round(tf.image.resize(image, [height, width], "area")), tf.uint8)

    def interpolate() -> tf.Tensor:
        values = tf.cast(image, tf.int32)
        is_tall, is_wide = row_factor >= 2.4, column_factor >= 2.4
        blurred = tf.cond(is_tall, lambda: _sum_of_three(values, 0), lambda: values)
        blurred = tf.cond(is_wide, lambda: _sum_of_three(blurred, 1), lambda: blurred)
        area = tf.where(is_tall, 3, 1) * tf.where(is_wide, 3, 1)
        return _resize_linear((blurred + area // 2) // area, height, width)

    return tf.cond(tf.maximum(row_factor, column_factor) > 3.5, average, interpolate)


def _sum_of_three(values: tf.Tensor, axis: int) -> tf.Tensor:
    """Adds both neighbors to every pixel along an axis, mirrored at the border."""
    size = tf.shape(values)[axis]
    places = tf.range(size)
    before = tf.gather(values, tf.abs(places - 1), axis=axis)
    after = tf.gather(values, size - 1 - tf.abs(size - 2 - places), axis=axis)
    return before + values + after


def _resize_linear(values: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Interpolates integers in [0, 255] as OpenCV's INTER_LINEAR_EXACT; returns uint8."""
    for axis, size in ((1, width), (0, height)):
        places, shares = _find_places(tf.shape(values)[axis], size)
        last = tf.shape(values)[axis] - 1
        weights = tf.cast(tf.round(shares * 2**_LINEAR_BITS), tf.int32)
        weights = tf.reshape(weights, [-1, 1, 1] if axis == 0 else [1, -1, 1])
        low = tf.gather(values, tf.clip_by_value(places, 0, last), axis=axis)
        high = tf.gather(values, tf.clip_by_value(places + 1, 0, last), axis=axis)
        values = low * (2**_LINEAR_BITS - weights) + high * weights
    half = 1 << (2 * _LINEAR_BITS - 1)
    return tf.cast((values + half) // (2 * half), tf.uint8)


def _resize_cubic(image: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Interpolates as OpenCV's INTER_CUBIC; returns uint8."""
    values = tf.cast(image, tf.float32)
    for axis, size in ((1, width), (0, height)):
        places, shares = _find_places(tf.shape(values)[axis], size)
        last = tf.shape(values)[axis] - 1
        found = tf.zeros([], tf.float32)
        for offset, weights in enumerate(_cubic_weights(tf.cast(shares, tf.float32))):
            own = tf.reshape(weights, [-1, 1, 1] if axis == 0 else [1, -1, 1])
            found += own * tf.gather(values, tf.clip_by_value(places + offset - 1, 0, last), axis=axis)
        values = found
    return tf.cast(tf.clip_by_value(tf.round(values), 0, 255), tf.uint8)


def _cubic_weights(x: tf.Tensor) -> list[tf.Tensor]:
    """Returns the weights of the pixels at -1, 0, 1 and 2 for a place x between 0 and 1."""

    def outer(distance: tf.Tensor) -> tf.Tensor:
        return ((_CUBIC * distance - 5 * _CUBIC) * distance + 8 * _CUBIC) * distance - 4 * _CUBIC

    def inner(distance: tf.Tensor) -> tf.Tensor:
        return ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1

    first, second, third = outer(x + 1), inner(x), inner(1 - x)
    return [first, second, third, 1 - first - second - third]


def _find_places(own: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns for each new pixel the old one before its center, int32 `[size]`, and the share of the next, float64."""
    scale = tf.cast(own, tf.float64) / tf.cast(size, tf.float64)
    centers = (tf.cast(tf.range(size), tf.float64) + 0.5) * scale - 0.5
    before = tf.floor(centers)
    return tf.cast(before, tf.int32), centers - before
