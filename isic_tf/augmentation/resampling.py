"""Resampling of images along one axis, by integer arithmetic: the same on CPU, GPU and TPU.

A pixel is one word, an int32 whose lowest 30 bits are red, green and blue in quarters of a gray level (0 to 1023):
what moves pixels moves a third of the data, and every value is a whole number, which no device rounds differently.
Places are in 1/256 pixel. Between pixels, values are interpolated by cubic convolution (Keys, IEEE Transactions on
Acoustics, Speech, and Signal Processing 29, 1981) with weights in 1/128, and rounded to a quarter of a gray level.

CPU and GPU gather pixels (`fetch`, `move`) and then interpolate (`blend`). A TPU would pad every gathered pixel to a
row of 128 numbers, so there lines are resampled at common places by a matrix product (`multiply`), and moved by
distances of their own by a barrel shifter: by 64, 16, 4 and 1 times 0 to 3 pixels, each a selection among four slices.
Both give the same words.
"""

from collections.abc import Sequence

import tensorflow as tf

# Parts of a pixel in places, and of 1 in weights. Products of a weight and eight bits are exact in bfloat16.
PARTS = 256
ONE = 128
# Bits of a channel in a word.
_BITS = 10
# Quarters of a gray level, and of the brightest.
LEVEL = 4
_WHITE = 255 * LEVEL
# Eight times Keys's parameter a, with its sign changed. With 4, an image that is zoomed and rotated loses a tenth more
# of its finest details than in one bilinear resampling; with 6 it keeps a fifth more (experiments/LOG.md).
_SHARPNESS = 5
# Pixels that a place is interpolated from, relative to the one before it.
_TAPS = (-1, 0, 1, 2)


def pack(images: tf.Tensor) -> tf.Tensor:
    """Packs uint8 images `[b, S, S, 3]` into words, int32 `[b, S, S]`."""
    red, green, blue = (LEVEL * tf.cast(channel, tf.int32) for channel in tf.unstack(images, axis=-1))
    return red + green * 2**_BITS + blue * 2 ** (2 * _BITS)


def unpack(words: tf.Tensor) -> tf.Tensor:
    """Unpacks words, int32 `[b, S, S]`, into float32 gray levels `[b, S, S, 3]`, from 0 to 255."""
    return tf.stack(_channels(words), -1) / LEVEL


def _channels(words: tf.Tensor) -> list[tf.Tensor]:
    most = tf.constant(2**_BITS - 1)
    return [tf.cast(tf.bitwise.bitwise_and(_shift_right(words, _BITS * c), most), tf.float32) for c in range(3)]


def _shift_right(words: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(words, tf.constant(bits)) if bits else words


def _join(channels: Sequence[tf.Tensor], unit: int) -> tf.Tensor:
    """Rounds sums of quarters of a gray level times 1/128 to multiples of `unit` quarters, clips and packs them."""
    values = [
        unit * tf.clip_by_value(tf.floor(channel / (ONE * unit) + 0.5), 0, _WHITE // unit) for channel in channels
    ]
    red, green, blue = (tf.cast(value, tf.int32) for value in values)
    return red + green * 2**_BITS + blue * 2 ** (2 * _BITS)


def weigh(fraction: tf.Tensor) -> tf.Tensor:
    """Computes the weights of the four pixels around a place.

    Args:
        fraction: int32, distance from the second of them, 0 to 255 in 1/256 pixel.

    Returns:
        float32 of this shape after a dimension of 4: whole numbers whose sum is 128.
    """
    rest = PARTS - fraction
    half = 2**19
    before = _shift_right(half - _SHARPNESS * fraction * rest * rest, 20)
    last = _shift_right(half - _SHARPNESS * fraction * fraction * rest, 20)
    cubic = (_SHARPNESS - 16) * fraction + (24 - 2 * _SHARPNESS) * PARTS
    after = _shift_right(half + (cubic * fraction + _SHARPNESS * PARTS**2) * fraction, 20)
    return tf.cast(tf.stack([before, ONE - before - after - last, after, last]), tf.float32)


def fetch(words: tf.Tensor, places: tf.Tensor, axis: int) -> tf.Tensor:
    """Gathers the four pixels around each place of every line, which `blend` interpolates with a step of n.

    Args:
        words: int32 `[b, H, W]`.
        places: int32 `[b, n]`, from the first pixel of a line in 1/256 pixel, within the line. Beyond its ends lies
            its mirror image.
        axis: 1 to resample columns, 2 to resample rows.

    Returns:
        int32 `[b, 4 n, W]` or `[b, H, 4 n]`: n pixels before the places, then those at them, and so on.
    """
    return tf.gather(words, tf.concat(_list_neighbors(places, words.shape[axis]), 1), axis=axis, batch_dims=1)


def _list_neighbors(places: tf.Tensor, size: int) -> list[tf.Tensor]:
    first = _shift_right(places, 8)
    return [mirror(first + tap, size - 1) for tap in _TAPS]


def mirror(place: tf.Tensor, last: int) -> tf.Tensor:
    """Folds places up to one line beyond either end back into [0, last], without repeating the first or the last."""
    return tf.clip_by_value(last - tf.abs(last - tf.abs(place)), 0, last)


def blend(words: tf.Tensor, weights: tf.Tensor, axis: int, size: int, step: int, unit: int = 1) -> tf.Tensor:
    """Interpolates between four pixels.

    Args:
        words: int32 `[b, H, W]`: along the axis `size` words from each of 0, `step`, 2 `step` and 3 `step` on.
        weights: float32 `[4, ...]`, see `weigh`, whose other dimensions broadcast with the result.
        axis: 1 for columns, 2 for rows.
        size: Length of a line of the result.
        step: Distance of the pixels.
        unit: Quarters of a gray level to whose multiples the result is rounded.

    Returns:
        int32 `[b, size, W]` or `[b, H, size]`.
    """
    taps = [_channels(_slice(words, axis, number * step, size)) for number in range(len(_TAPS))]
    return _join(
        [tf.add_n([weight * tap[c] for weight, tap in zip(tf.unstack(weights), taps, strict=True)]) for c in range(3)],
        unit,
    )


def multiply(words: tf.Tensor, places: tf.Tensor, weights: tf.Tensor, axis: int, unit: int = 1) -> tf.Tensor:
    """Does what `fetch` and `blend` do by a matrix product, in which every product and sum is exact.

    Args:
        words: int32 `[b, H, W]`, with whole gray levels.
        places: See `fetch`.
        weights: float32 `[4, b, n]`, see `weigh`.
        axis: 1 to resample columns, 2 to resample rows.
        unit: See `blend`.

    Returns:
        int32 `[b, n, W]` or `[b, H, n]`.
    """
    matrix = make_matrix(_list_neighbors(places, words.shape[axis]), tf.unstack(weights), words.shape[axis])
    return _apply_matrix(words, matrix, axis, unit)


def _apply_matrix(words: tf.Tensor, matrix: tf.Tensor, axis: int, unit: int) -> tf.Tensor:
    """Multiplies lines of whole gray levels by matrices `[b, n, H]` or `[b, n, W]` of whole numbers in 1/128."""
    formula = "bni,bciw->bcnw" if axis == 1 else "bni,bchi->bchn"
    # A TPU multiplies numbers of eight bits, as which both pass.
    sums = LEVEL * tf.einsum(formula, matrix, tf.stack(_channels(words), 1) / LEVEL)
    return _join(tf.unstack(sums, axis=1), unit)


def make_matrix(indices: Sequence[tf.Tensor], weights: Sequence[tf.Tensor], size: int) -> tf.Tensor:
    """Makes matrices with a few weights in each row.

    Args:
        indices: int32 `[..., n]` each: columns.
        weights: float32 of shapes that broadcast with the indices'.
        size: Number of columns.

    Returns:
        float32 `[..., n, size]`; weights of the same column are added.
    """
    columns = tf.range(size)
    parts = zip(indices, weights, strict=True)
    return tf.add_n([tf.where(index[..., None] == columns, weight[..., None], 0.0) for index, weight in parts])


def interpolate(words: tf.Tensor, places: tf.Tensor, on_tpu: bool) -> tf.Tensor:
    """Interpolates linearly along rows, and rounds to whole gray levels.

    Args:
        words: int32 `[b, H, W]` with whole gray levels.
        places: int32 `[b, n]`, from the first pixel of a row in 1/128 pixel, within the row.
        on_tpu: Whether to use a matrix product.

    Returns:
        int32 `[b, H, n]`.
    """
    last = words.shape[2] - 1
    if on_tpu:
        columns = tf.range(last + 1, dtype=tf.float32) * ONE
        matrix = tf.nn.relu(ONE - tf.abs(tf.cast(places, tf.float32)[..., None] - columns))
        return _apply_matrix(words, matrix, 2, LEVEL)
    first = _shift_right(places, 7)
    share = tf.cast(places - first * ONE, tf.float32)[:, None]
    taps = [_channels(tf.gather(words, index, axis=2, batch_dims=1)) for index in (first, tf.minimum(first + 1, last))]
    return _join([(ONE - share) * taps[0][c] + share * taps[1][c] for c in range(3)], LEVEL)


def move(words: tf.Tensor, offsets: tf.Tensor, axis: int, size: int, limit: int, on_tpu: bool) -> tf.Tensor:
    """Moves every line along itself by whole pixels; `blend`, with a step of 1, moves it by the rest.

    Args:
        words: int32 `[b, H, W]`.
        offsets: int32 `[b, m]`, how much further along it a line's pixels come from, in 1/256 pixel; m is W if columns
            are moved, otherwise H.
        axis: 1 to move columns, 2 to move rows.
        size: Length n of a line after `blend`, which has the middle of the words: it differs by an even number.
        limit: Largest offset in pixels; larger ones count as this.
        on_tpu: Whether to use the barrel shifter.

    Returns:
        int32 `[b, n + 3, W]` or `[b, H, n + 3]`: what comes from a line's pixels from the one before its own on.
        Beyond its ends a line is black.
    """
    length = words.shape[axis]
    start = (length - size) // 2 + _TAPS[0]
    size += len(_TAPS) - 1
    whole = tf.expand_dims(tf.clip_by_value(_shift_right(offsets, 8), -limit, limit), axis)
    if on_tpu:
        return _shift(words, whole + limit, axis, start - limit, size, 2 * limit)
    before, after = max(0, limit - start), max(0, start + size + limit - length)
    words = _slice(words, axis, -before, before + length + after)
    start += before
    place = tf.range(size) + start
    along, across = (words.shape[2], 1) if axis == 1 else (1, words.shape[2])
    lines = tf.range(words.shape[3 - axis]) * across
    place, lines = (place[:, None], lines[None, :]) if axis == 1 else (place[None, :], lines[:, None])
    flat = tf.reshape(words, [-1, words.shape[1] * words.shape[2]])
    return tf.gather(flat, (place + whole) * along + lines, batch_dims=1)


def _shift(words: tf.Tensor, distance: tf.Tensor, axis: int, start: int, size: int, most: int) -> tf.Tensor:
    """Takes `size` pixels of each line from `start` plus a distance of 0 to `most` on: a barrel shifter."""
    # Pairs of bits of the distance, the lowest first; the highest is alone where their number is odd.
    digits = [(2**bit, min(4, 2 ** (most.bit_length() - bit))) for bit in range(0, most.bit_length(), 2)]
    span = size + sum(place * (base - 1) for place, base in digits)
    for place, base in reversed(digits):
        span -= place * (base - 1)
        parts = [_slice(words, axis, start + number * place, span) for number in range(base)]
        odd, high = (tf.bitwise.bitwise_and(distance, tf.constant(bit * place)) > 0 for bit in (1, 2))
        halves = [tf.where(odd, *pair) for pair in zip(parts[1::2], parts[::2], strict=True)]
        words = tf.where(high, halves[1], halves[0]) if base == 4 else halves[0]
        start = 0
    return words


def _slice(words: tf.Tensor, axis: int, start: int, size: int) -> tf.Tensor:
    """Takes a part of each line; beyond its ends it is black."""
    length = words.shape[axis]
    first, last = min(max(start, 0), length), min(max(start + size, 0), length)
    part = words[:, first:last] if axis == 1 else words[:, :, first:last]
    edges = [min(max(-start, 0), size), min(max(start + size - length, 0), size)]
    return tf.pad(part, [[0, 0], *([edges, [0, 0]] if axis == 1 else [[0, 0], edges])]) if any(edges) else part
