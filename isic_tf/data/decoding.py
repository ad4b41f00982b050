"""Reads, parses and decodes records into images."""

import concurrent.futures
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from tfrecord_tools import errors
from tfrecord_tools.imaging import exif, graph_codec, jpeg_markers, png_chunks
from tfrecord_tools.io import image_formats, tf_example, tfrecord

# Shards whose lengths are checked at once: in a bucket, each read waits for the network.
_CHECKED_AT_ONCE = 16
# The start of every PNG file.
_PNG = b"\x89PNG"
# Components of a CMYK JPEG.
_CMYK = 4


def read(files: str | tf.Tensor | Sequence[str]) -> tf.data.Dataset:
    """Reads serialized records in file order.

    Args:
        files: Path of a shard, or several. Shards named by a tensor must have been checked with `count_records`.

    Returns:
        Dataset of string `[]`.

    Raises:
        CorruptRecordError: The length of a record is damaged, see `count_records`.
    """
    if not tf.is_tensor(files):
        count_records([files] if isinstance(files, str) else files)
    return tf.data.TFRecordDataset(files)


def count_records(files: Sequence[str]) -> list[int]:
    """Counts the records of shards, and checks their lengths before TensorFlow reads them.

    Args:
        files: Paths of shards. Unchanged shards are read once per process.

    Returns:
        Number of records of each.

    Raises:
        CorruptRecordError: The length of a record is damaged, or a shard is compressed; see `tfrecord.check_lengths`.
    """
    with concurrent.futures.ThreadPoolExecutor(_CHECKED_AT_ONCE) as pool:
        return list(pool.map(tfrecord.check_lengths, files))


def check_positions(rows: pd.DataFrame) -> None:
    """Refuses positions beyond the records of a shard, before a table with a place for each position is made.

    Args:
        rows: DataFrame with `shard` and `position`.

    Raises:
        CorruptRecordError: A position is too high, or a shard is damaged, see `count_records`.
    """
    last = rows.groupby("shard", sort=False)["position"].max()
    for shard, position, count in zip(last.index, last, count_records(last.index), strict=True):
        if position >= count:
            raise errors.CorruptRecordError(
                f"expected positions below {count}, the number of records of {shard}, got {position} in the index; "
                "index the set again, or rebuild it"
            )


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
    """Decodes a JPEG or PNG to a square image.

    libjpeg's inverse DCT scales by 1/2, 1/4 or 1/8 while it decodes. The strongest scaling whose result is not smaller
    than `image_size` is used; the rest is a resize, see `resize`. A PNG is decoded at its full size.

    Args:
        image: JPEG or PNG, string `[]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`, RGB.

    Examples:
        >>> jpeg = tf.io.encode_jpeg(tf.zeros([120, 160, 3], tf.uint8))
        >>> decode(jpeg, 64).shape
        TensorShape([64, 64, 3])
    """
    return resize(decode_reduced(image, image_size), image_size)


def pass_through_record(image: tf.Tensor | np.ndarray, quality: int, image_size: int) -> tf.Tensor:
    """Encodes an image as a record holds it, and decodes it as `decode` does.

    A record is a JPEG with half the resolution of color, which a network that was trained on it has always seen.

    Args:
        image: uint8 `[R, R, 3]`, RGB, as `tfrecord_tools.imaging.prepare_image` returns it.
        quality: Quality of the JPEG, 1 to 100.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`, RGB.

    Examples:
        >>> pass_through_record(np.zeros([128, 128, 3], np.uint8), 95, 64).shape
        TensorShape([64, 64, 3])
    """
    # Where the records of training are decoded too; another device resizes with other roundings.
    with tf.device("CPU"):
        # Decoded, it is the same image as OpenCV's JPEG of any quality.
        return resize(_decode_reduced_jpeg(tf.io.encode_jpeg(image, quality=quality), image_size), image_size)


def decode_reduced(image: tf.Tensor | bytes, image_size: int) -> tf.Tensor:
    """Decodes a JPEG or PNG, a JPEG at the smallest scale that is large enough.

    The image is turned upright and CMYK is converted as `tfrecord_tools.imaging.codec` does for image files.

    Args:
        image: JPEG or PNG, string `[]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[h, w, 3]`, RGB; both sides are at least S where those of the image are.
    """

    def decode_unusual() -> tf.Tensor:
        if tf.executing_eagerly():
            return tf.constant(_decode_by_operations(tf.constant(image).numpy(), image_size))
        # One operation of Python: even where they are not run, the operations of a graph that turns images upright take
        # longer to pass than a small JPEG takes to be decoded.
        decoded = tf.numpy_function(_decode_in_python, [image, image_size], tf.uint8, stateful=False)
        return tf.ensure_shape(decoded, [None, None, 3])

    return tf.cond(graph_codec.is_plain_jpeg(image), lambda: _decode_reduced_jpeg(image, image_size), decode_unusual)


def _decode_in_python(image: bytes, image_size: int) -> np.ndarray:
    try:
        return _decode_by_operations(image, image_size)
    except tf.errors.InvalidArgumentError as error:
        # TensorFlow passes a ValueError on as the same kind of error again.
        raise ValueError(error.message) from error


def _decode_by_operations(image: bytes, image_size: int) -> np.ndarray:
    """Decodes a PNG, or a JPEG that is rotated or CMYK, by single operations.

    The thread that runs this is one of those that run graphs. A graph would wait for another of them, and where each
    holds such an image, as on a machine of two cores, for ever.
    """
    with tf.device("CPU"):
        if image.startswith(_PNG):
            pixels = tf.io.decode_png(image, channels=3).numpy()
            return exif.turn_upright(pixels, png_chunks.read_orientation(image))
        header = jpeg_markers.read_header(image)
        if header and header.components == _CMYK and header.adobe_transform is None:
            image = graph_codec.add_adobe_marker(image)
        pixels = _decode_reduced_jpeg(image, image_size).numpy()
        return exif.turn_upright(pixels, header.orientation if header else 1)


def _decode_reduced_jpeg(image: tf.Tensor | bytes, image_size: int) -> tf.Tensor:
    side = tf.reduce_min(tf.io.extract_jpeg_shape(image)[:2])
    ratios = (8, 4, 2)
    # libjpeg rounds a scaled side up.
    fits = [-(-side // ratio) >= image_size for ratio in ratios]
    return tf.case(
        [(fit, _scaled_decode(image, ratio)) for fit, ratio in zip(fits, ratios, strict=True)],
        default=_scaled_decode(image, 1),
    )


def _scaled_decode(image: tf.Tensor | bytes, ratio: int) -> Callable[[], tf.Tensor]:
    return lambda: tf.io.decode_jpeg(image, channels=3, ratio=ratio)


def find_problem(image: bytes) -> str:
    """Decodes an image as `decode` does, at a small size, and returns why that fails.

    Args:
        image: Bytes of the image of a record.

    Returns:
        Text such as "the image cannot be decoded"; "" where the image can be decoded.
    """
    problem = image_formats.describe_format(image)
    if problem:
        return f"the image {problem}"
    try:
        # Even at an eighth of the size, all bytes of a JPEG are read.
        _decode_small(image)
    except tf.errors.InvalidArgumentError:
        return "the image cannot be decoded"
    return ""


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _decode_small(image: tf.Tensor) -> tf.Tensor:
    return tf.shape(decode_reduced(image, 1))


def examine(data: bytes) -> tuple[str | None, str]:
    """Parses and decodes one record.

    Args:
        data: Serialized `tf.train.Example`.

    Returns:
        The name of the image, None if it cannot be read; and what is wrong with the record, or "".
    """
    features, problems = tfrecord.parse(data)
    if not problems:
        problems = [problem for problem in [find_problem(features["image"])] if problem]
    return features.get("image_name"), "; ".join(problems)


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
