"""Decodes BMP, TIFF and WebP files with OpenCV, as `codec` decodes a PNG: opacity is ignored, 16 bits lose the lower 8.

What a file holds beyond one image of gray or color is an error, and not the first of its pages.
"""

import cv2
import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import exif, own_process
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.imaging.rasters import headers, tiff_directory
from tfrecord_tools.io import image_formats

_FORMATS = ("BMP", "TIFF", "WebP")
# These decoders are slower than those of JPEG and PNG, by this factor.
_SLOWNESS = 4
# Bytes of a pixel while it is decoded: its samples, and 4 bytes of RGBA.
_RGBA_BYTES = 4
_SILENT = 0
_Decoded = tuple[np.ndarray, tuple[int, int]]


def is_raster(data: bytes) -> bool:
    r"""Returns whether bytes are those of a BMP, TIFF or WebP file.

    Examples:
        >>> is_raster(b"RIFF\x1a\0\0\0WEBPVP8L"), is_raster(b"\xff\xd8\xff\xe0")
        (True, False)
    """
    return image_formats.find_format(data) in _FORMATS


def decode(
    data: bytes,
    source: str,
    at_least: int | None = None,
    longest: bool = False,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
) -> _Decoded:
    """Decodes a BMP, TIFF or WebP file at full size, turned upright as its orientation says.

    Args:
        data: Bytes of the file.
        source: Name of the image in errors.
        at_least: See `codec.decode`; these formats have no reduced scale.
        longest: See `codec.decode`.
        limits: What decoding may take. An image that may take longer, and a compressed TIFF, whose damage the decoder
            only prints, is decoded in a process of its own.

    Returns:
        uint8 `[height, width, 3]`, BGR, and (width, height) of the image.

    Raises:
        CorruptRecordError: The file is damaged, exceeds the limits, or holds several images or samples that would not
            be read right.
    """
    header = _read_header(data, source)
    image_limits.check_size(limits, source, header.width, header.height)
    num_pixels = header.width * header.height
    tiff = header if isinstance(header, tiff_directory.TiffImage) else None
    num_bytes = _RGBA_BYTES + (tiff.samples * -(-tiff.bits // 8) if tiff else 0)
    image_limits.check_memory(limits, source, num_pixels * num_bytes)
    if (tiff and tiff.is_compressed) or image_limits.may_be_slow(limits, num_pixels * _SLOWNESS):
        return own_process.decode("raster", data, source, limits)
    # What OpenCV would print has no name of a file.
    cv2.utils.logging.setLogLevel(_SILENT)
    return decode_here(data, source)


def decode_here(data: bytes, source: str) -> _Decoded:
    """Decodes a file in this process, whatever it takes; see `decode`.

    Args:
        data: Bytes of the file.
        source: Name of the image in errors.

    Returns:
        See `decode`.

    Raises:
        CorruptRecordError: The file is damaged, or would not be read right.
    """
    header = _read_header(data, source)
    is_tiff = isinstance(header, tiff_directory.TiffImage)
    content = tiff_directory.neutralize(data) if is_tiff else data
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        raise _make_error(source, data, f": {error.err or 'too large'}") from error
    if image is None or image.shape[:2] != (header.height, header.width):
        raise _make_error(source, data)
    image = exif.turn_upright(image, header.orientation)
    return image, (image.shape[1], image.shape[0])


def _read_header(data: bytes, source: str) -> headers.Header | tiff_directory.TiffImage:
    kind = image_formats.find_format(data)
    read = {"BMP": headers.read_bmp, "WebP": headers.read_webp, "TIFF": tiff_directory.read}[kind]
    header = read(data)
    if header is None:
        raise _make_error(source, data)
    if header.problem:
        raise errors.CorruptRecordError(f"{source} is a {kind} file, but {header.problem}")
    return header


def _make_error(source: str, data: bytes, reason: str = "") -> errors.CorruptRecordError:
    kind = image_formats.find_format(data)
    return errors.CorruptRecordError(
        f"{source} is not an intact {kind} file ({len(data)} bytes){reason}; replace the file, or leave it out"
    )
