"""Decodes and encodes JPEG and PNG images."""

import cv2
import numpy as np

from tfrecord_tools import errors

# The limit that `tfrecord_tools` sets for OpenCV.
MAX_PIXELS = 2**28
# Each image is decoded by one thread; callers decode several images in parallel.
cv2.setNumThreads(1)
_SCALED_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def jpeg_header(data: bytes) -> tuple[int, int, bool] | None:
    """Reads the size of a JPEG without decoding it, and whether the file declares its color space.

    Args:
        data: Bytes of the file.

    Returns:
        (width, height, declares_color), or None if the bytes are not a JPEG. `declares_color` is False where neither a
        JFIF or Adobe marker nor the component identifiers distinguish RGB from YCbCr (rule of libjpeg, jdapimin.c), so
        that a decoder has to guess.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at = 2
    size = None
    declares_color = False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        starts_frame = 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)
        if starts_frame and len(body) >= 6:
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
            declares_color |= body[5] != 3 or body[6:15:3] in (b"\1\2\3", b"RGB")
        declares_color |= marker == 0xE0 and body[:5] == b"JFIF\0"
        declares_color |= marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12
        if marker == 0xDA:
            break
        at += 2 + length
    return None if size is None else (*size, declares_color)


def decode(
    data: bytes, source: str, at_least: int | None = None, longest: bool = False, upright: bool = True
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes a JPEG or PNG file, a JPEG at the smallest scale that is large enough.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg). This takes a fraction of the time of a full decode, and
    equals an area average of the full image except for rounding.

    Args:
        data: Bytes of the file.
        source: Name of the image in errors.
        at_least: Pixels that the shorter side keeps if the image has them; None for full size.
        longest: Whether `at_least` applies to the longer side instead.
        upright: Whether to rotate the image as its EXIF orientation says.

    Returns:
        uint8 `[height, width, 3]`, BGR as in OpenCV, and (width, height) of the image at full size.

    Raises:
        CorruptRecordError: The bytes are not an intact image, or the image has more than 2^28 pixels.

    Examples:
        >>> gray = np.full((48, 64, 3), 128, np.uint8)
        >>> image, size = decode(encode(gray, quality=95), "gray.jpg", at_least=24)
        >>> image.shape, size
        ((24, 32, 3), (64, 48))
    """
    header = jpeg_header(data)
    if header:
        _check_pixels(source, header[0], header[1])
    scale = _choose_scale(header[:2], at_least, longest) if header and at_least else 1
    flags = _SCALED_FLAGS[scale] | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    # libjpeg fills the missing part of a truncated file with gray; OpenCV 4 only prints a warning.
    truncated = _is_truncated_jpeg(data)
    try:
        image = None if truncated or not data else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise errors.CorruptRecordError(
            f"{source} cannot be decoded: {error.err or 'too large'}; replace the file"
        ) from error
    if image is None:
        damage = "is truncated" if truncated else "is not an intact JPEG or PNG file"
        raise errors.CorruptRecordError(
            f"{source} {damage} ({len(data)} bytes); replace the file, or delete its row from the CSV"
        )
    height, width = image.shape[:2]
    _check_pixels(source, width, height)
    if header is None or scale == 1:
        return image, (width, height)
    full_width, full_height, _ = header
    was_rotated = (width, height) != (-(-full_width // scale), -(-full_height // scale))
    return image, (full_height, full_width) if was_rotated else (full_width, full_height)


def _check_pixels(source: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise errors.CorruptRecordError(f"{source} has {width}x{height} pixels, more than {MAX_PIXELS}; shrink it")


def _is_truncated_jpeg(data: bytes) -> bool:
    """Returns whether a JPEG lacks the end-of-image marker of its last scan.

    An earlier marker may belong to a thumbnail, and cameras append data after the last one.
    """
    end = data.rfind(b"\xff\xd9")
    return data[:2] == b"\xff\xd8" and (end < 0 or data.find(b"\xff\xda", end) >= 0)


def _choose_scale(size: tuple[int, int], at_least: int, longest: bool) -> int:
    """Returns the greatest of 1, 2, 4 and 8 that leaves enough pixels; libjpeg rounds a scaled side up."""
    side = max(size) if longest else min(size)
    return max((scale for scale in (2, 4, 8) if -(-side // scale) >= at_least), default=1)


def encode(image: np.ndarray, quality: int) -> bytes:
    """Encodes an image as JPEG.

    Args:
        image: uint8 `[height, width, 3]`, BGR.
        quality: JPEG quality from 1 to 100.

    Returns:
        Bytes of a JPEG file.

    Examples:
        >>> jpeg_header(encode(np.zeros((48, 64, 3), np.uint8), quality=90))
        (64, 48, True)
    """
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return encoded.tobytes()
