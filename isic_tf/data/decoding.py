"""Reads, parses and decodes records into images."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfrecord_tools.io import tf_example


def read(files: str | tf.Tensor | Sequence[str]) -> tf.data.Dataset:
    """Reads serialized records in file order.

    Args:
        files: Path of a shard, or several.

    Returns:
        Dataset of string `[]`.
    """
    return tf.data.TFRecordDataset(files)


def parse(serialized: tf.Tensor | bytes, labeled: bool) -> dict[str, tf.Tensor]:
    """Parses one record.

    Args:
        serialized: string `[]`, a `tf.train.Example`.
        labeled: Whether to read the label; the label of a test record is never read.

    Returns:
        Dict of `image` (JPEG, string `[]`), `image_name` (string `[]`), the integers of the schema (int64 `[]`, -1
        where unknown) and, if `labeled`, `target`.
    """
    return tf.io.parse_single_example(serialized, tf_example.parse_spec(labeled))


def decode(image: tf.Tensor | bytes, image_size: int) -> tf.Tensor:
    """Decodes a JPEG to a square image.

    libjpeg's inverse DCT scales by 1/2, 1/4 or 1/8 while it decodes. The strongest scaling whose result is not smaller
    than `image_size` is used; the rest is a resize, see `resize`.

    Args:
        image: JPEG, string `[]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`, RGB.

    Examples:
        >>> jpeg = tf.io.encode_jpeg(tf.zeros([120, 160, 3], tf.uint8))
        >>> decode(jpeg, 64).shape
        TensorShape([64, 64, 3])
    """
    side = tf.reduce_min(tf.io.extract_jpeg_shape(image)[:2])
    ratios = (8, 4, 2)
    # libjpeg rounds a scaled side up.
    fits = [-(-side // ratio) >= image_size for ratio in ratios]
    decoded = tf.case(
        [(fit, _scaled_decode(image, ratio)) for fit, ratio in zip(fits, ratios, strict=True)],
        default=_scaled_decode(image, 1),
    )
    return resize(decoded, image_size)


def _scaled_decode(image: tf.Tensor | bytes, ratio: int) -> Callable[[], tf.Tensor]:
    return lambda: tf.io.decode_jpeg(image, channels=3, ratio=ratio)


def resize(image: tf.Tensor, image_size: int) -> tf.Tensor:
    """Stretches an image to a square, ignoring its aspect ratio; an image of that size is returned unchanged.

    Args:
        image: uint8 `[h, w, 3]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`.
    """
    exact = tf.reduce_all(tf.equal(tf.shape(image)[:2], image_size))
    resized = tf.cond(exact, lambda: image, lambda: _resize(image, image_size))
    return tf.ensure_shape(resized, [image_size, image_size, 3])


def _resize(image: tf.Tensor, image_size: int) -> tf.Tensor:
    sides = tf.shape(image)[:2]
    size = [image_size, image_size]

    def bilinear() -> tf.Tensor:
        return tf.raw_ops.ResizeBilinear(images=image[tf.newaxis], size=size, half_pixel_centers=True)[0]

    def area_or_antialiased() -> tf.Tensor:
        # On photographs an area average is as close to an antialiased resize, at a quarter of the time; it cannot
        # enlarge.
        return tf.cond(
            tf.reduce_all(sides >= image_size),
            lambda: tf.image.resize(image, size, "area"),
            lambda: tf.image.resize(image, size, antialias=True),
        )

    # Up to a factor of 4/3 (512 to 384 pixels) bilinear weights skip almost no pixels, in half the time again.
    slightly_larger = tf.reduce_all((sides >= image_size) & (3 * sides <= 4 * image_size))
    # All three are averages, so the result is in range.
    return tf.cast(tf.cond(slightly_larger, bilinear, area_or_antialiased) + 0.5, tf.uint8)


def to_float(images: tf.Tensor, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Converts uint8 images to floating point in [0, 1], the input of a classifier.

    Args:
        images: uint8 `[...]`.
        dtype: Floating-point type.

    Returns:
        `[...]` of this type, 0 to 1.
    """
    # A product, since compilers turn a division by a constant into one and lose a bit.
    return tf.cast(images, dtype) * (1 / 255)
