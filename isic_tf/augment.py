"""Augmentation on the device: draw parameters from each record's seed, then apply them to the batch.

Keras's random layers draw the same numbers on every replica, and TensorFlow's generators differ between device types.
Here every number comes from a counter and the record's seed by integer arithmetic, so that (seed, epoch, record) fixes
it on CPU, GPU and TPU, whatever the batch size, the replica or the order.
"""

import math

import tensorflow as tf

# What the strengths mean, and how much of each is drawn; `scaled` multiplies them all.
STRENGTHS = {
    "flip": 1.0,  # 1: mirrored left to right in half of the images
    "turn": 1.0,  # 1: turned by 0, 90, 180 or 270 degrees
    "rotation": 15.0,  # degrees either way
    "zoom": 0.12,  # log scale either way
    "shift": 0.06,  # share of the side, either way
    "brightness": 0.1,  # added, either way
    "contrast": 0.2,  # factor from 1 - c to 1 + c about the image's mean
    "saturation": 0.2,  # factor from 1 - s to 1 + s about the pixel's grey
}
# Threefry-2x32's rotations and key parity (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011).
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
# ITU-R BT.601 luma.
_GREY = (0.299, 0.587, 0.114)


def threefry(key, counter):
    """Encrypts counters with keys: Threefry-2x32 with 20 rounds (Salmon et al. 2011).

    Args:
        key: Pair of uint32 tensors.
        counter: Pair of uint32 tensors that broadcast with the key's.

    Returns:
        Pair of uint32 tensors, each bit as good as random.
    """
    keys = (*key, tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(*key), tf.constant(_PARITY, tf.uint32)))
    x, y = counter[0] + keys[0], counter[1] + keys[1]
    for block in range(5):
        for rotation in _ROTATIONS[block % 2]:
            x = x + y
            left = tf.bitwise.left_shift(y, tf.constant(rotation, tf.uint32))
            right = tf.bitwise.right_shift(y, tf.constant(32 - rotation, tf.uint32))
            y = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_or(left, right), x)
        x = x + keys[(block + 1) % 3]
        y = y + keys[(block + 2) % 3] + tf.constant(block + 1, tf.uint32)
    return x, y


def uniform(seeds, count):
    """Draws uniform numbers for each record.

    Args:
        seeds: int64 `[b, 2]`.
        count: Numbers n a record.

    Returns:
        float32 `[b, n]` in [0, 1), of 24 bits.
    """
    low, high = (tf.cast(word, tf.uint32)[..., None] for word in (seeds, tf.bitwise.right_shift(seeds, 32)))
    # One half of the seed encrypts the other, which is then the key of the numbers' positions.
    key = threefry((low[:, 0], high[:, 0]), (low[:, 1], high[:, 1]))
    positions = tf.cast(tf.range(count), tf.uint32)[None]
    bits, _ = threefry(key, (positions, tf.zeros_like(positions)))
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def sample(seeds, strengths):
    """Draws the parameters of a batch.

    Args:
        seeds: int64 `[b, 2]`, one a record.
        strengths: Dict like `STRENGTHS`; 0 switches an operation off.

    Returns:
        Dict of float32 `[b]`: `flip` (0 or 1), `turn` (quarter turns counter-clockwise, 0 to 3), `rotation` (radians,
        counter-clockwise), `zoom` (factor above 0; 2 shows half the side), `shift_x` and `shift_y` (share of the side;
        positive moves the picture right and down), `brightness` (added), `contrast` and `saturation` (factors).
    """
    draws = tf.unstack(uniform(seeds, 9), axis=1)
    either = [2 * draw - 1 for draw in draws]
    return {
        "flip": tf.floor(draws[0] + 0.5 * strengths["flip"]),
        "turn": tf.floor(draws[1] * (1 + 3 * strengths["turn"])),
        "rotation": either[2] * strengths["rotation"] * math.pi / 180,
        "zoom": tf.exp(either[3] * strengths["zoom"]),
        "shift_x": either[4] * strengths["shift"],
        "shift_y": either[5] * strengths["shift"],
        "brightness": either[6] * strengths["brightness"],
        "contrast": 1 + either[7] * strengths["contrast"],
        "saturation": 1 + either[8] * strengths["saturation"],
    }


def scaled(strength):
    """Gives `STRENGTHS`, all multiplied by `strength` (0 to 1 for what is drawn as a chance)."""
    chances = ("flip", "turn")
    return {
        name: min(1.0, value * strength) if name in chances else value * strength for name, value in STRENGTHS.items()
    }


def as_float(images):
    """Turns uint8 images into float32 in [0, 1], the model's input."""
    return tf.cast(images, tf.float32) / 255.0


def apply(images, params):
    """Applies drawn parameters; deterministic.

    Args:
        images: uint8 `[b, S, S, 3]`.
        params: See `sample`.

    Returns:
        float32 `[b, S, S, 3]` in [0, 1].
    """
    return recolour(warp(as_float(images), matrices(params)), params)


def matrices(params):
    """Composes flip, turn, rotation, zoom and shift.

    Args:
        params: See `sample`; in the picture they take place in this order: flip, turn, rotation, zoom, shift.

    Returns:
        float32 `[b, 2, 3]`: from an output pixel's (x, y, 1) about the centre, in units of the side and y down, to the
        input's (x, y). Exact for flips and quarter turns, so that these move pixels without blurring them.
    """
    turn = tf.cast(params["turn"], tf.int32)
    quarter_cos = tf.gather([1.0, 0.0, -1.0, 0.0], turn)
    quarter_sin = tf.gather([0.0, 1.0, 0.0, -1.0], turn)
    cos, sin = tf.cos(params["rotation"]), tf.sin(params["rotation"])
    # The inverse of a counter-clockwise turn, where y points down.
    cos, sin = cos * quarter_cos - sin * quarter_sin, sin * quarter_cos + cos * quarter_sin
    mirror = 1 - 2 * params["flip"]
    linear = tf.stack([tf.stack([mirror * cos, -mirror * sin], -1), tf.stack([sin, cos], -1)], axis=1)
    linear = linear / params["zoom"][:, None, None]
    shift = tf.stack([params["shift_x"], params["shift_y"]], -1)[:, None]
    return tf.concat([linear, -tf.reduce_sum(linear * shift, axis=2, keepdims=True)], axis=2)


def warp(images, matrices):
    """Warps images affinely with bilinear sampling; beyond the border the picture is mirrored.

    A gather, since `ImageProjectiveTransformV3` does not compile under XLA.

    Args:
        images: float32 `[b, S, S, 3]`.
        matrices: See `matrices`.

    Returns:
        float32 `[b, S, S, 3]`.
    """
    size = images.shape[1]
    axis = tf.range(size, dtype=tf.float32) - (size - 1) / 2
    x, y = axis[:, None], axis[:, None, None]
    # Not a matrix product: accelerators round its inputs to a few bits, which are pixels here.
    along_x, along_y, shift = tf.unstack(matrices[:, None, None], axis=-1)
    source = _mirror(x * along_x + y * along_y + size * shift + (size - 1) / 2, size)
    corner = tf.clip_by_value(tf.floor(source), 0, size - 2)
    right, down = tf.split(source - corner, 2, axis=-1)
    first = tf.cast(corner[..., 1] * size + corner[..., 0], tf.int32)
    pixels = tf.reshape(images, [-1, size * size, 3])

    def at(offset):
        return tf.gather(pixels, first + offset, batch_dims=1)

    top = (1 - right) * at(0) + right * at(1)
    bottom = (1 - right) * at(size) + right * at(size + 1)
    return (1 - down) * top + down * bottom


def _mirror(position, size):
    """Folds positions back into [0, size - 1], the border pixel not repeated."""
    span = size - 1
    return span - tf.abs(tf.math.floormod(position, 2.0 * span) - span)


def recolour(images, params):
    """Changes saturation, contrast and brightness, in this order, and clips to [0, 1].

    Args:
        images: float32 `[b, S, S, 3]` in [0, 1].
        params: See `sample`.

    Returns:
        float32 `[b, S, S, 3]` in [0, 1].
    """
    saturation, contrast, brightness = (
        params[name][:, None, None, None] for name in ("saturation", "contrast", "brightness")
    )
    grey = tf.reduce_sum(images * tf.constant(_GREY), axis=-1, keepdims=True)
    images = grey + saturation * (images - grey)
    mean = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
    return tf.clip_by_value(mean + contrast * (images - mean) + brightness, 0.0, 1.0)
