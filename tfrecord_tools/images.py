"""Image bytes in, image bytes out: decode, resize, encode."""

import os

MAX_PIXELS = 2**28
# OpenCV reads this when it loads; its own limit is four times as high.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

# One image is one thread's work; the callers run several images at once.
cv2.setNumThreads(1)


def decode(data, source):
    """Decodes a whole JPEG or PNG file.

    Args:
        data: The file's bytes.
        source: What to call it in an error.

    Returns:
        uint8 `[height, width, 3]`, BGR as OpenCV has it, turned upright where EXIF says so.

    Raises:
        ValueError: The bytes are no whole image, or one of more than 2^28 pixels.
    """
    # libjpeg fills what is missing of a truncated file with grey and, in OpenCV 4, only warns.
    # The end of image must follow the last start of scan (an earlier one is a thumbnail's); cameras append data to it.
    truncated = data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda")
    try:
        image = None if truncated or not data else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"{source} cannot be decoded: {error.err or 'too large'}; replace the file") from error
    if image is None:
        kind = "is truncated" if truncated else "is no whole JPEG or PNG file"
        raise ValueError(f"{source} {kind} ({len(data)} bytes); replace the file or take its row from the table")
    if image.shape[0] * image.shape[1] > MAX_PIXELS:
        raise ValueError(f"{source} has {image.shape[1]}x{image.shape[0]} pixels, more than {MAX_PIXELS}; shrink it")
    return image


def resize(image, size):
    """Stretches an image to a square: area average where it shrinks, bicubic where it grows.

    Args:
        image: uint8 `[height, width, 3]`.
        size: Side in pixels.

    Returns:
        uint8 `[size, size, 3]`.
    """
    if image.shape[:2] == (size, size):
        return image
    shrinks = min(image.shape[:2]) >= size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def encode(image, quality):
    """Encodes BGR uint8 `[height, width, 3]` as JPEG bytes of a quality from 1 to 100."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
