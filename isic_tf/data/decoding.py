"""Reads, parses and decodes records into images."""

import tensorflow as tf

from tfrecord_tools.io import tf_example


def read(files):
    """Reads serialized records in file order.

    Args:
        files: Path of a shard, or several.

    Returns:
        Dataset of string `[]`.
    """
    return tf.data.TFRecordDataset(files)


def parse(serialized, labelled):
    """Parses one record.

    Args:
        serialized: string `[]`.
        labelled: Whether to read the label; a test record never yields one.

    Returns:
        Dict of `image` (JPEG, string `[]`), `image_name` (string `[]`), the schema's integers (int64 `[]`, -1 where
        unknown) and, where labelled, `target`.
    """
    return tf.io.parse_single_example(serialized, tf_example.parse_spec(labelled))


def decode(image, image_size):
    """Decodes a JPEG to a square of one size.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg), so that no more pixels are decoded than the smallest
    such size that is not below `image_size`; a resize is left only where that is not exact.

    Args:
        image: JPEG, string `[]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`, RGB.
    """
    side = tf.reduce_min(tf.io.extract_jpeg_shape(image)[:2])
    # libjpeg rounds a scaled side up.
    fits = [-(-side // ratio) >= image_size for ratio in (8, 4, 2)]
    decoded = tf.case(
        [(fit, _scaled_decode(image, ratio)) for fit, ratio in zip(fits, (8, 4, 2), strict=True)],
        default=_scaled_decode(image, 1),
    )
    return resize(decoded, image_size)


def _scaled_decode(image, ratio):
    return lambda: tf.io.decode_jpeg(image, channels=3, ratio=ratio)


def resize(image, image_size):
    """Stretches an image, uint8 `[h, w, 3]`, to a square of one size, uint8 `[S, S, 3]`, where it is not one."""
    exact = tf.reduce_all(tf.equal(tf.shape(image)[:2], image_size))
    resized = tf.cond(exact, lambda: image, lambda: _resize(image, image_size))
    return tf.ensure_shape(resized, [image_size, image_size, 3])


def _resize(image, image_size):
    sides = tf.shape(image)[:2]
    size = [image_size, image_size]

    def bilinear():
        return tf.raw_ops.ResizeBilinear(images=image[tf.newaxis], size=size, half_pixel_centers=True)[0]

    def area_or_antialiased():
        # The area average comes as near to an antialiased resize on photographs and costs a quarter; it cannot enlarge.
        return tf.cond(
            tf.reduce_all(sides >= image_size),
            lambda: tf.image.resize(image, size, "area"),
            lambda: tf.image.resize(image, size, antialias=True),
        )

    # Up to 4/3 (512 px to 384) four neighbours leave out next to nothing, in half the time again.
    near = tf.reduce_all((sides >= image_size) & (3 * sides <= 4 * image_size))
    # All three are averages, so none leaves the range.
    return tf.cast(tf.cond(near, bilinear, area_or_antialiased) + 0.5, tf.uint8)


def to_float(images, dtype=tf.float32):
    """Turns uint8 images into floating point in [0, 1], the model's input."""
    # A product, since compilers turn a division by a constant into one and lose a bit.
    return tf.cast(images, dtype) * (1 / 255)
