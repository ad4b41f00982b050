"""Stateless random numbers from a record's seed and a counter, by integer arithmetic: the same on CPU, GPU and TPU.

Keras's random layers sample the same numbers on every replica, and TensorFlow's generators differ between device types.
"""

import math

import tensorflow as tf

# Rotations and key parity of Threefry-2x32 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
# Independent streams of numbers of one record.
PARAMETERS, CELLS, HAIRS, FIELD, HOLES, BOX, PIXELS = range(7)


def threefry(key: tuple[tf.Tensor, tf.Tensor], counter: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """Encrypts counters with keys: Threefry-2x32 with 20 rounds (Salmon et al. 2011).

    Args:
        key: Pair of uint32 tensors.
        counter: Pair of uint32 tensors that broadcast with the key's.

    Returns:
        Pair of uint32 tensors of pseudorandom bits.
    """
    keys = (*key, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(*key), tf.constant(_PARITY, tf.uint32)))
    x = counter[0] + keys[0]
    y = counter[1] + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x = x + y
            left = tf.bitwise.left_shift(y, tf.constant(rotation, tf.uint32))
            right = tf.bitwise.right_shift(y, tf.constant(32 - rotation, tf.uint32))
            y = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_or(left, right), x)
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + tf.constant(block + 1, tf.uint32)
    return x, y


def bits(seeds: tf.Tensor, positions: tf.Tensor, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Samples random bits for each record.

    Args:
        seeds: int64 `[b, 2]`.
        positions: uint32 tensor of any shape: which of the record's words to return.
        stream: Whole number; words of different streams are independent.

    Returns:
        Two uint32 tensors `[b, *positions.shape]`.
    """
    words = (tf.cast(word, tf.uint32) for word in (seeds, tf.bitwise.right_shift(seeds, 32)))
    low, high = (tf.reshape(word, [-1, 2] + [1] * len(positions.shape)) for word in words)
    # One half of the seed encrypts the other half, which is then the key for the positions of the words.
    key = threefry((low[:, 0], high[:, 0]), (low[:, 1], high[:, 1]))
    return threefry(key, (positions[None], tf.fill([1] * (1 + len(positions.shape)), tf.constant(stream, tf.uint32))))


def uniform(seeds: tf.Tensor, count: int, stream: int = PARAMETERS) -> tf.Tensor:
    """Samples uniform numbers for each record.

    Args:
        seeds: int64 `[b, 2]`.
        count: Numbers n per record.
        stream: See `bits`.

    Returns:
        float32 `[b, n]` in [0, 1), of 24 bits.
    """
    word, _ = bits(seeds, tf.cast(tf.range(count), tf.uint32), stream)
    return tf.cast(tf.bitwise.right_shift(word, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def normal(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Transforms two uniform numbers in [0, 1) into one standard normal number (Box and Muller 1958)."""
    return tf.sqrt(-2.0 * tf.math.log(1.0 - first)) * tf.cos(2.0 * math.pi * second)


def noise(seeds: tf.Tensor, size: int, stream: int) -> tf.Tensor:
    """Samples nearly normal noise: each number is the scaled sum of the four bytes of a random word.

    Args:
        seeds: int64 `[b, 2]`.
        size: Side S in pixels.
        stream: See `bits`.

    Returns:
        float32 `[b, S, S, 3]` of mean 0 and standard deviation 1, from -3.5 to 3.5.
    """
    pixels = tf.cast(tf.reshape(tf.range(size * size), [size, size]), tf.uint32)
    first, second = bits(seeds, pixels, stream)
    third, _ = bits(seeds, pixels + tf.constant(size * size, tf.uint32), stream)
    words = tf.stack([first, second, third], -1)
    byte = tf.constant(255, tf.uint32)
    parts = [tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, tf.constant(s, tf.uint32)), byte) for s in (0, 8, 16)]
    parts.append(tf.bitwise.right_shift(words, tf.constant(24, tf.uint32)))
    total = tf.cast(tf.add_n([tf.cast(part, tf.int32) for part in parts]), tf.float32)
    # Four whole numbers from 0 to 255: mean 4 * 127.5, variance 4 * (256^2 - 1) / 12.
    return (total - 510.0) / math.sqrt((256**2 - 1) / 3)
