"""From the bytes of image files to the images of a network, in a TensorFlow graph."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from isic_tf.data import decoding
from isic_tf.serving import graph_resize
from tfrecord_tools.imaging import graph_codec

_PNG = b"\x89PNG"
# Components of a CMYK JPEG.
_CMYK = 4
# As in `tfrecord_tools.imaging.preprocessing`, which describes the steps.
_BLACK = 28
_EDGE_BLACK = 0.05
_SEARCH_SIDE = 256
_POWER = 6


def decode(files: tf.Tensor, image_size: int, preprocessing: Mapping[str, Any] | None = None) -> tf.Tensor:
    """Decodes a batch of JPEG or PNG files of any size, and prepares them as the records of a run were.

    Args:
        files: string `[n]`.
        image_size: Side S in pixels.
        preprocessing: `resize` (`stretch`, `crop` or `pad`), `trim_border` and `color_constancy` (`none` or
            `shades_of_gray`), see `preprocessing.resize_to_square`; what is missing is `stretch`, False and `none`.
            With `record_size` and `quality` the files pass through records, see `decoding.pass_through_record`.

    Returns:
        uint8 `[n, S, S, 3]`, RGB.

    Examples:
        >>> decode(tf.constant([tf.io.encode_png(tf.zeros([4, 8, 3], tf.uint8)).numpy()]), 4).shape
        TensorShape([1, 4, 4, 3])
    """
    steps = {"resize": "stretch", "trim_border": False, "color_constancy": "none", **(preprocessing or {})}

    def decode_one(numbered: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        position, file = numbered
        is_png = tf.strings.substr(file, 0, len(_PNG)) == _PNG
        problem = "expected the bytes of a JPEG or PNG file for every image, got something else at position (from 0)"
        with tf.control_dependencies([tf.debugging.Assert(tf.io.is_jpeg(file) | is_png, [problem, position])]):
            file = tf.identity(file)
        if "quality" not in steps:
            return _prepare(file, image_size, steps)
        image = _prepare(file, steps["record_size"], steps)
        return decoding.pass_through_record(image, steps["quality"], image_size)

    numbered = (tf.range(tf.size(files)), files)
    return tf.map_fn(decode_one, numbered, fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.uint8))


def _prepare(file: tf.Tensor, size: int, steps: Mapping[str, Any]) -> tf.Tensor:
    """Decodes and prepares one file, uint8 `[S, S, 3]`; see `preprocessing.resize_to_square`."""
    is_padded = steps["resize"] == "pad"
    image = decode_file(file, tf.constant(size), is_padded)
    if steps["trim_border"]:
        edges = find_content(image)
        kept = tf.minimum(edges[1] - edges[0], edges[3] - edges[2])
        # Decoded again, so that what is kept has enough pixels.
        at_least = tf.cast(tf.math.ceil(size / kept), tf.int32)
        image = tf.cond(kept < 1, lambda: decode_file(file, at_least, is_padded), lambda: image)
        sides = tf.cast(tf.shape(image)[:2], tf.float32)
        top, bottom, left, right = tf.unstack(tf.cast(tf.round(edges * tf.repeat(sides, 2)), tf.int32))
        image = image[top:bottom, left:right]
    height, width = tf.unstack(tf.shape(image)[:2])
    wanted = (tf.constant(size), tf.constant(size))
    if steps["resize"] == "crop":
        side = tf.minimum(height, width)
        image = tf.image.crop_to_bounding_box(image, (height - side) // 2, (width - side) // 2, side, side)
    elif is_padded:
        shrunk = tf.cast(tf.shape(image)[:2] * size, tf.float64) / tf.cast(tf.maximum(height, width), tf.float64)
        rows, columns = tf.unstack(tf.maximum(tf.cast(tf.round(shrunk), tf.int32), 1))
        wanted = (rows, columns)
    image = graph_resize.resize(image, *wanted)
    if steps["color_constancy"] == "shades_of_gray":
        image = shades_of_gray(image)
    image = tf.image.pad_to_bounding_box(image, (size - wanted[0]) // 2, (size - wanted[1]) // 2, size, size)
    return tf.ensure_shape(image, [size, size, 3])


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.bool)])
def decode_file(file: tf.Tensor, at_least: tf.Tensor, longest: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG to the pixels that `tfrecord_tools.imaging.codec.decode` gives.

    Args:
        file: Bytes of the file, string `[]`.
        at_least: Pixels that the shorter side keeps if the image has them, int32 `[]`.
        longest: Whether `at_least` applies to the longer side instead, bool `[]`.

    Returns:
        uint8 `[h, w, 3]`, RGB, turned upright.
    """
    if tf.strings.substr(file, 0, len(_PNG)) == _PNG:
        image = graph_codec.turn_png_upright(file, tf.io.decode_png(file, channels=3))
    else:
        shape = tf.io.extract_jpeg_shape(file)
        whole = graph_codec.mark_cmyk(file) if shape[2] == _CMYK else file
        side = tf.reduce_max(shape[:2]) if longest else tf.reduce_min(shape[:2])
        # libjpeg rounds a scaled side up.
        if -(-side // 8) >= at_least:
            pixels = _decode_jpeg(whole, 8)
        elif -(-side // 4) >= at_least:
            pixels = _decode_jpeg(whole, 4)
        elif -(-side // 2) >= at_least:
            pixels = _decode_jpeg(whole, 2)
        else:
            pixels = _decode_jpeg(whole, 1)
        image = graph_codec.turn_jpeg_upright(whole, pixels)
    return image


def _decode_jpeg(file: tf.Tensor, ratio: int) -> tf.Tensor:
    return tf.io.decode_jpeg(file, channels=3, ratio=ratio, dct_method="INTEGER_ACCURATE")


def find_content(image: tf.Tensor) -> tf.Tensor:
    """Finds the part of an image inside a black frame or circle, see `preprocessing.find_content`.

    Args:
        image: uint8 `[height, width, 3]`.

    Returns:
        float32 `[4]`: top, bottom, left and right as fractions of the sides, 0 to 1.

    Examples:
        >>> find_content(tf.fill([50, 100, 3], tf.constant(150, tf.uint8))).numpy().tolist()
        [0.0, 1.0, 0.0, 1.0]
    """
    black = tf.cast(_find_border(image), tf.float32)
    height, width = tf.unstack(tf.shape(black))

    def edge_fractions(edges: tf.Tensor) -> tf.Tensor:
        top, bottom, left, right = tf.unstack(edges)
        part = black[top:bottom, left:right]
        lines = (part[0], part[-1], part[:, 0], part[:, -1])
        # At least two fifths of each side stay.
        is_high = 5 * (bottom - top - 3) >= 2 * height
        is_wide = 5 * (right - left - 3) >= 2 * width
        may_go = tf.cast(tf.stack([is_high, is_high, is_wide, is_wide]), tf.float32)
        return tf.stack([tf.reduce_mean(line) for line in lines]) * may_go

    def remove_worst(edges: tf.Tensor) -> tf.Tensor:
        # Towards the middle.
        inward = tf.constant([1, -1, 1, -1])
        return edges + inward * tf.one_hot(tf.argmax(edge_fractions(edges)), 4, dtype=tf.int32)

    whole = tf.stack([0, height, 0, width])
    edges = tf.while_loop(
        lambda edges: tf.reduce_max(edge_fractions(edges)) > _EDGE_BLACK, lambda edges: (remove_worst(edges),), (whole,)
    )[0]
    # The line next to a removed one may be partly black.
    edges += tf.cast(edges != whole, tf.int32) * tf.constant([1, -1, 1, -1])
    return tf.cast(edges, tf.float32) / tf.cast(tf.repeat(tf.stack([height, width]), 2), tf.float32)


def _find_border(image: tf.Tensor) -> tf.Tensor:
    """Returns which pixels of a reduced image are black and connected to its edge: bool `[height, width]`."""
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    scale = tf.minimum(1.0, _SEARCH_SIDE / tf.reduce_max(sides))
    small = tf.image.resize(image, tf.cast(tf.round(sides * scale), tf.int32), "area")
    black = tf.reduce_max(tf.round(small), axis=2) < _BLACK
    framed = tf.pad(black, [[1, 1], [1, 1]], constant_values=True)
    frame = tf.pad(tf.zeros_like(black), [[1, 1], [1, 1]], constant_values=True)

    def spread(reached: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        wide = tf.pad(reached, [[1, 1], [1, 1]])
        beside = wide[:-2, 1:-1] | wide[2:, 1:-1] | wide[1:-1, :-2] | wide[1:-1, 2:]
        grown = reached | (beside & framed)
        return grown, tf.reduce_any(grown != reached)

    reached, _ = tf.while_loop(lambda _, is_growing: is_growing, spread, (frame, tf.constant(True)))
    return reached[1:-1, 1:-1]


def shades_of_gray(image: tf.Tensor) -> tf.Tensor:
    """Corrects the color of the light, see `preprocessing.shades_of_gray`.

    Args:
        image: uint8 `[height, width, 3]`.

    Returns:
        uint8 `[height, width, 3]`.

    Examples:
        >>> shades_of_gray(tf.fill([1, 2, 3], tf.constant(100, tf.uint8))).numpy()[0, 0].tolist()
        [100, 100, 100]
    """
    values = tf.cast(image, tf.float64)
    light = tf.maximum(tf.reduce_mean(values**_POWER, axis=[0, 1]) ** (1 / _POWER), 1e-6)
    gains = tf.sqrt(tf.reduce_mean(light**2)) / light
    return tf.cast(tf.clip_by_value(tf.round(values * gains), 0, 255), tf.uint8)
