"""What `codec` does to the pixels of a file, in a graph of TensorFlow: turning it upright, and reading CMYK.

TensorFlow's own decoders ignore the orientation, and invert a CMYK JPEG that lacks Adobe's marker.
"""

import functools

import tensorflow as tf

# Bytes in which a plain JPEG starts its image data; those that OpenCV writes take 623.
_HEAD = 1024
# Of the header of the first scan: its length and number of components, then for each its name and tables, then 0 and 63
# (0 in a progressive JPEG). A regular expression of TensorFlow cannot name the marker before it: \C is any byte.
_SCAN_PATTERN = r"\C*\x00(?:\x08\x01\C\C|\x0c\x03\C{6})\x00[\x00?]\C*"
# A PNG; EXIF data; or the frame header of four components, whose length is 20, then 8 bits.
_UNUSUAL_PATTERN = r"\CPNG\C*|\C*(?:Exif|\x00\x14\x08)\C*"
_SCAN = 0xDA
_EXIF = (0xE1, b"Exif\0\0")
_ADOBE = (0xEE, b"Adobe")
# Adobe's marker (length, name, version, two flags, transform) for CMYK that is not transformed.
_ADOBE_CMYK = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
_PNG_SIGNATURE = 8
_PNG_EXIF = b"eXIf"
_PNG_END = b"IEND"
_ORIENTATION = 0x0112
_SHORT = 3
# By orientation, 0 to 8: axes that are reversed, after a transposition from orientation 5 on.
_REVERSED: tuple[list[int], ...] = ([], [], [1], [0, 1], [0], [], [1], [0, 1], [0])


def is_plain_jpeg(file: tf.Tensor) -> tf.Tensor:
    """Returns whether a file is a JPEG whose pixels TensorFlow's own decoder determines as `codec` does.

    Args:
        file: Bytes of a file, string `[]`.

    Returns:
        bool `[]`; False for a JPEG with EXIF data, with four components, or with a long header; and for other files.
    """
    head = tf.strings.substr(file, 0, _HEAD)
    starts_scan = tf.strings.regex_full_match(head, _SCAN_PATTERN)
    return starts_scan & ~tf.strings.regex_full_match(head, _UNUSUAL_PATTERN)


def mark_cmyk(file: tf.Tensor) -> tf.Tensor:
    """Adds Adobe's marker to a CMYK JPEG that has none, so that it is read as other decoders read it.

    Args:
        file: Bytes of a JPEG of four components, string `[]`.

    Returns:
        Bytes of a JPEG, string `[]`.
    """
    data = tf.io.decode_raw(file, tf.uint8)
    _, size = _find_segment(data, *_ADOBE)
    marked = tf.strings.join([tf.strings.substr(file, 0, 2), _ADOBE_CMYK, tf.strings.substr(file, 2, -1)])
    return tf.where(size > 0, file, marked)


def add_adobe_marker(file: bytes) -> bytes:
    """Adds Adobe's marker to a CMYK JPEG that has none, as `mark_cmyk` does.

    Args:
        file: Bytes of a JPEG of four components.

    Returns:
        Bytes of a JPEG.
    """
    return file[:2] + _ADOBE_CMYK + file[2:]


def turn_jpeg_upright(file: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Turns the image of a JPEG as its EXIF orientation says.

    Args:
        file: Bytes of the JPEG, string `[]`.
        image: What it was decoded to at any scale, uint8 `[h, w, 3]`.

    Returns:
        uint8 `[h, w, 3]` or `[w, h, 3]`.
    """
    data = tf.io.decode_raw(file, tf.uint8)
    start, size = _find_segment(data, *_EXIF)
    return _turn(image, _read_orientation(data[start + len(_EXIF[1]) : start + size]))


def turn_png_upright(file: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Turns the image of a PNG as its EXIF orientation says.

    Args:
        file: Bytes of the PNG, string `[]`.
        image: What it was decoded to, uint8 `[h, w, 3]`.

    Returns:
        uint8 `[h, w, 3]` or `[w, h, 3]`.
    """
    data = tf.io.decode_raw(file, tf.uint8)
    start, size = _find_chunk(data)
    return _turn(image, _read_orientation(data[start : start + size]))


def _contains(data: tf.Tensor, wanted: bytes) -> tf.Tensor:
    """Returns whether bytes, uint8 `[n]`, contain others."""
    size = tf.size(data) - len(wanted) + 1
    found = tf.ones([tf.maximum(size, 0)], tf.bool)
    for offset, value in enumerate(wanted):
        found &= data[offset : offset + tf.maximum(size, 0)] == value
    return tf.reduce_any(found)


def _number(data: tf.Tensor, at: tf.Tensor, size: int, little: tf.Tensor | bool = False) -> tf.Tensor:
    """Reads a number, int64, of bytes at a place; 0 where they end before it."""
    part = tf.cast(data[at : at + size], tf.int64)
    part = tf.cond(tf.size(part) == size, lambda: part, lambda: tf.zeros([size], tf.int64))
    weights = tf.constant([256**power for power in reversed(range(size))], tf.int64)
    # A slice by steps of -1 would make the optimizer of TensorFlow 2.21 print an error where the graph is loaded.
    return tf.reduce_sum(part * tf.where(little, tf.reverse(weights, [0]), weights))


def _find_segment(data: tf.Tensor, marker: int, name: bytes) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the first segment of a kind before the image data of a JPEG.

    Returns:
        Where its content starts, and its size in bytes; 0 and 0 if there is none.
    """
    length = tf.size(data, tf.int64)

    def is_wanted(at: tf.Tensor) -> tf.Tensor:
        return (data[at + 1] == marker) & _contains(data[at + 4 : at + 4 + len(name)], name)

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        def is_other() -> tf.Tensor:
            return (data[at] == 0xFF) & (data[at + 1] != _SCAN) & ~is_wanted(at)

        return tf.cond(at + 4 <= length, is_other, lambda: False)

    def advance(at: tf.Tensor) -> list[tf.Tensor]:
        # Any number of fill bytes may come before a marker.
        return [tf.where(data[at + 1] == 0xFF, at + 1, at + 2 + _number(data, at + 2, 2))]

    at = tf.while_loop(goes_on, advance, [tf.constant(2, tf.int64)])[0]

    def place() -> tuple[tf.Tensor, tf.Tensor]:
        is_found = is_wanted(at)
        size = _number(data, at + 2, 2) - 2
        return tf.where(is_found, at + 4, 0), tf.where(is_found, size, 0)

    return tf.cond(at + 4 <= length, place, lambda: (tf.constant(0, tf.int64), tf.constant(0, tf.int64)))


def _find_chunk(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the EXIF chunk of a PNG: where its content starts, and its size; 0 and 0 if there is none."""
    length = tf.size(data, tf.int64)

    def is_kind(at: tf.Tensor, kind: bytes) -> tf.Tensor:
        return _contains(data[at + 4 : at + 8], kind)

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        return (at + 8 <= length) & ~is_kind(at, _PNG_EXIF) & ~is_kind(at, _PNG_END)

    def advance(at: tf.Tensor) -> list[tf.Tensor]:
        return [at + 12 + _number(data, at, 4)]

    at = tf.while_loop(goes_on, advance, [tf.constant(_PNG_SIGNATURE, tf.int64)])[0]
    is_found = (at + 8 <= length) & is_kind(at, _PNG_EXIF)
    return tf.where(is_found, at + 8, 0), tf.where(is_found, _number(data, at, 4), 0)


def _read_orientation(block: tf.Tensor) -> tf.Tensor:
    """Reads the orientation of EXIF data, uint8 `[n]`, as `exif.read_orientation` does: int64 `[]`, 1 to 8."""
    little = _contains(block[:4], b"II*\0")
    is_exif = little | _contains(block[:4], b"MM\0*")
    first = _number(block, tf.constant(4, tf.int64), 4, little)
    room = tf.maximum(tf.size(block, tf.int64) - first - 2, 0) // 12
    count = tf.minimum(_number(block, first, 2, little), room)
    entries = tf.cast(tf.reshape(block[first + 2 : first + 2 + 12 * count], [-1, 12]), tf.int64)
    weights = tf.where(little, [1, 256], [256, 1])
    tags = tf.reduce_sum(entries[:, 0:2] * tf.cast(weights, tf.int64), axis=1)
    kinds = tf.reduce_sum(entries[:, 2:4] * tf.cast(weights, tf.int64), axis=1)
    values = tf.reduce_sum(entries[:, 8:10] * tf.cast(weights, tf.int64), axis=1)
    is_orientation = tags == _ORIENTATION
    chosen = tf.concat([tf.boolean_mask(tf.where(kinds == _SHORT, values, 1), is_orientation), [1]], axis=0)[0]
    return tf.where(is_exif & (chosen >= 1) & (chosen <= 8), chosen, 1)


def _turn(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns an image as `exif.turn_upright` does."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    branches = [functools.partial(tf.reverse, image, tf.constant(axes, tf.int32)) for axes in _REVERSED]
    return tf.switch_case(tf.cast(orientation, tf.int32), branches)
