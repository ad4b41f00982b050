"""Decodes and encodes JPEG and PNG images."""

import cv2
import numpy as np

from tfrecord_tools import errors

# As `tfrecord_tools` tells OpenCV.
MAX_PIXELS = 2**28
# One image is one process's work; the callers run several images at once.
cv2.setNumThreads(1)
_SCALED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def jpeg_header(data):
    """Reads a JPEG's size without decoding it, and whether it says what its channels are.

    Args:
        data: The file's bytes.

    Returns:
        (width, height, says_colour), or None for no JPEG. `says_colour` is False where neither a JFIF or Adobe marker
        nor the component identifiers tell RGB from YCbCr (libjpeg's rule, jdapimin.c), so that it has to guess.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at, size, says_colour = 2, None, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        body = data[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
            says_colour |= body[5] != 3 or body[6:15:3] in (b"\1\2\3", b"RGB")
        says_colour |= marker == 0xE0 and body[:5] == b"JFIF\0"
        says_colour |= marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12
        if marker == 0xDA:
            break
        at += 2 + length
    return None if size is None else (*size, says_colour)


def decode(data, source, at_least=None, longest=False, upright=True):
    """Decodes a JPEG or PNG file, a JPEG at the smallest scale that is large enough.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg), which takes a fraction of a full decode's time and is
    an area average of it but for rounding.

    Args:
        data: The file's bytes.
        source: What to call it in an error.
        at_least: Pixels that the shorter side must keep where the image has them; None for no scaling.
        longest: Whether `at_least` is asked of the longer side instead.
        upright: Whether to turn the image upright where EXIF says so.

    Returns:
        uint8 `[height, width, 3]`, BGR as OpenCV has it, and the (width, height) it has without scaling.

    Raises:
        IsicError: The bytes are no whole image, or one of more than 2^28 pixels.
    """
    header = jpeg_header(data)
    # libjpeg fills what is missing of a truncated file with grey and, in OpenCV 4, only warns.
    # The end of image must follow the last start of scan (an earlier one is a thumbnail's); cameras append data to it.
    end = data.rfind(b"\xff\xd9")
    truncated = data[:2] == b"\xff\xd8" and (end < 0 or data.find(b"\xff\xda", end) >= 0)
    if header and header[0] * header[1] > MAX_PIXELS:
        raise errors.CorruptRecordError(
            f"{source} has {header[0]}x{header[1]} pixels, more than {MAX_PIXELS}; shrink it"
        )
    scale = _scale(header[:2], at_least, longest) if header and at_least else 1
    flags = _SCALED[scale] | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = None if truncated or not data else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise errors.CorruptRecordError(
            f"{source} cannot be decoded: {error.err or 'too large'}; replace the file"
        ) from error
    if image is None:
        kind = "is truncated" if truncated else "is no whole JPEG or PNG file"
        raise errors.CorruptRecordError(
            f"{source} {kind} ({len(data)} bytes); replace the file or take its row from the table"
        )
    height, width = image.shape[:2]
    if height * width > MAX_PIXELS:
        raise errors.CorruptRecordError(f"{source} has {width}x{height} pixels, more than {MAX_PIXELS}; shrink it")
    if scale == 1:
        return image, (width, height)
    turned = (width, height) != (-(-header[0] // scale), -(-header[1] // scale))
    return image, header[1::-1] if turned else header[:2]


def _scale(size, at_least, longest):
    """Gives the greatest of 1, 2, 4 and 8 that leaves enough pixels; libjpeg rounds a scaled side up."""
    side = max(size) if longest else min(size)
    return max((scale for scale in (2, 4, 8) if -(-side // scale) >= at_least), default=1)


def encode(image, quality):
    """Encodes BGR uint8 `[height, width, 3]` as JPEG bytes of a quality from 1 to 100."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
