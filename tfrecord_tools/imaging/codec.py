"""Decodes and encodes JPEG and PNG images.

This is the one definition of the pixels of a file: the image is turned upright as its EXIF block says, and a CMYK JPEG
is read as Adobe writes it, marked or not. `isic_tf.data.decoding` computes the same in a graph of TensorFlow.
"""

import cv2
import numpy as np
import simplejpeg

from tfrecord_tools import errors
from tfrecord_tools.imaging import exif, jpeg_markers, jpeg_scan, own_process, png_chunks
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import image_formats

# Each image is decoded by one thread; callers decode several images in parallel.
cv2.setNumThreads(1)
_SCALED_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_REMEDY = "replace the file, or leave it out"
_Decoded = tuple[np.ndarray, tuple[int, int]]


class UnusualJpegError(errors.CorruptRecordError):
    """The chroma subsampling of a JPEG has no name, so that only OpenCV decodes it."""


def jpeg_header(data: bytes) -> tuple[int, int, bool] | None:
    """Reads the size of a JPEG without decoding it, and whether the file declares its color space.

    Args:
        data: Bytes of the file.

    Returns:
        (width, height, declares_color), or None if the bytes are not a JPEG. `declares_color` is False where neither a
        JFIF or Adobe marker nor the component identifiers distinguish RGB from YCbCr (rule of libjpeg, jdapimin.c), so
        that a decoder has to guess.
    """
    header = jpeg_markers.read_header(data)
    if header is None:
        return None
    declares_color = header.is_marked or header.components != 3 or header.identifiers in (b"\1\2\3", b"RGB")
    return header.width, header.height, declares_color


def image_size(data: bytes) -> tuple[int, int] | None:
    """Reads the size of a JPEG or PNG from its header, before any rotation.

    Args:
        data: Bytes of the file.

    Returns:
        (width, height) in pixels; None if the bytes are neither.

    Examples:
        >>> image_size(encode(np.zeros((48, 64, 3), np.uint8), quality=90)), image_size(b"GIF89a")
        ((64, 48), None)
    """
    header = jpeg_markers.read_header(data) or png_chunks.read_header(data)
    return None if header is None else (header.width, header.height)


def decode(
    data: bytes,
    source: str,
    at_least: int | None = None,
    longest: bool = False,
    upright: bool = True,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
) -> _Decoded:
    """Decodes a JPEG or PNG file, a JPEG at the smallest scale that is large enough.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg). This takes a fraction of the time of a full decode, and
    equals an area average of the full image except for rounding. All bytes are read at any scale: what libjpeg would
    only warn of is an error here.

    Args:
        data: Bytes of the file.
        source: Name of the image in errors.
        at_least: Pixels that the shorter side keeps if the image has them; None for full size.
        longest: Whether `at_least` applies to the longer side instead.
        upright: Whether to rotate the image as its EXIF orientation says.
        limits: What decoding may take. An image that may take longer is decoded in a process of its own.

    Returns:
        uint8 `[height, width, 3]`, BGR as in OpenCV, and (width, height) of the image at full size.

    Raises:
        CorruptRecordError: The bytes are not an intact image, or the image exceeds the limits.

    Examples:
        >>> gray = np.full((48, 64, 3), 128, np.uint8)
        >>> image, size = decode(encode(gray, quality=95), "gray.jpg", at_least=24)
        >>> image.shape, size
        ((24, 32, 3), (64, 48))
    """
    if _is_expensive(data, source, limits):
        return own_process.decode("file", data, source, limits, at_least=at_least, longest=longest, upright=upright)
    try:
        return decode_here(data, source, at_least, longest, upright)
    except UnusualJpegError:
        # OpenCV prints the warnings of libjpeg, where only a process of its own can tell whose they are.
        return own_process.decode("file", data, source, limits, at_least=at_least, longest=longest, upright=upright)


def decode_record(
    data: bytes, record: str, at_least: int | None = None, longest: bool = False, *, limits: image_limits.ImageLimits
) -> _Decoded:
    """Decodes the image of a record; see `decode`.

    Args:
        data: Bytes of the image.
        record: Name of the record in errors.
        at_least: See `decode`.
        longest: See `decode`.
        limits: See `decode`.

    Returns:
        See `decode`.

    Raises:
        CorruptRecordError: The bytes are not an intact image, or the image exceeds the limits.
    """
    try:
        return decode(data, record, at_least, longest, limits=limits)
    except errors.CorruptRecordError as error:
        remedy = "leave out the record with tfrecord_tools.verify --quarantine"
        raise errors.CorruptRecordError(str(error).replace(_REMEDY, remedy)) from error


def _is_expensive(data: bytes, source: str, limits: image_limits.ImageLimits) -> bool:
    """Holds the header of a file against the limits; returns whether decoding may take longer than allowed."""
    jpeg = jpeg_markers.read_header(data)
    if jpeg is not None:
        image_limits.check_size(limits, source, jpeg.width, jpeg.height)
        num_pixels = jpeg.width * jpeg.height
        # A progressive JPEG is decoded from coefficients of two bytes.
        per_sample = 3 if jpeg.is_progressive else 1
        image_limits.check_memory(limits, source, num_pixels * jpeg.components * per_sample)
        return image_limits.may_be_slow(limits, num_pixels * jpeg.count_scans(data))
    png = png_chunks.read_header(data)
    if png is not None:
        image_limits.check_size(limits, source, png.width, png.height)
        image_limits.check_memory(limits, source, png.num_bytes)
        return image_limits.may_be_slow(limits, png.width * png.height)
    return False


def decode_here(
    data: bytes, source: str, at_least: int | None = None, longest: bool = False, upright: bool = True
) -> _Decoded:
    """Decodes a file in this process, whatever it takes; see `decode`.

    Args:
        data: Bytes of the file.
        source: Name of the image in errors.
        at_least: See `decode`.
        longest: See `decode`.
        upright: See `decode`.

    Returns:
        See `decode`.

    Raises:
        UnusualJpegError: Only `decode_with_opencv` can decode the file.
        CorruptRecordError: The bytes are not an intact image.
    """
    header = jpeg_markers.read_header(data)
    if header is not None:
        scale = _choose_scale(header, at_least, longest)
        image = _decode_jpeg(data, source, header, scale)
        return _turn(image, (header.width, header.height), header.orientation if upright else 1)
    png = png_chunks.read_header(data)
    if png is None:
        kind = image_formats.find_format(data)
        raise _make_error(source, data, f": it is a {kind} file" if kind not in ("", *image_formats.TRAINED) else "")
    damage = png_chunks.find_damage(data)
    pixels = None if damage else _decode_with_flags(data, source, cv2.IMREAD_COLOR)
    if pixels is None:
        raise _make_error(source, data, f": it {damage}" if damage else "")
    return _turn(pixels, (png.width, png.height), png_chunks.read_orientation(data) if upright else 1)


def decode_with_opencv(
    data: bytes, source: str, at_least: int | None = None, longest: bool = False, upright: bool = True
) -> _Decoded:
    """Decodes a JPEG of any chroma subsampling; warnings of libjpeg are only printed.

    Args:
        data: Bytes of the file.
        source: Name of the image in errors.
        at_least: See `decode`.
        longest: See `decode`.
        upright: See `decode`.

    Returns:
        See `decode`.

    Raises:
        CorruptRecordError: The bytes are not a JPEG.
    """
    header = jpeg_markers.read_header(data)
    if header is None:
        raise _make_error(source, data)
    image = _decode_with_flags(data, source, _SCALED_FLAGS[_choose_scale(header, at_least, longest)])
    if image is None:
        raise _make_error(source, data)
    return _turn(image, (header.width, header.height), header.orientation if upright else 1)


def _decode_jpeg(data: bytes, source: str, header: jpeg_markers.JpegHeader, scale: int) -> np.ndarray:
    """Decodes a JPEG by libjpeg-turbo; any of its warnings is an error, and zeros of which it does not warn."""
    if _is_truncated_jpeg(data):
        raise errors.CorruptRecordError(f"{source} is truncated ({len(data)} bytes); {_REMEDY}")
    is_cmyk = header.components == 4
    try:
        image = simplejpeg.decode_jpeg(
            data,
            "CMYK" if is_cmyk else "BGR",
            min_height=-(-header.height // scale),
            min_width=-(-header.width // scale),
            min_factor=scale,
        )
    except ValueError as error:
        kind = UnusualJpegError if "Could not determine" in str(error) else errors.CorruptRecordError
        raise _make_error(source, data, f": {error}", kind) from error
    zeros = jpeg_scan.find_zeros(data, header)
    if zeros is not None:
        raise _make_error(source, data, f": zeros in the place of image data at byte {zeros}")
    return _convert_cmyk(image) if is_cmyk else image


def _convert_cmyk(image: np.ndarray) -> np.ndarray:
    """Converts CMYK to BGR; the channels are inverted, as Adobe writes them and everyone after it."""
    black = image[..., 3:].astype(np.uint16)
    return np.ascontiguousarray((image[..., 2::-1] * black // 255).astype(np.uint8))


def _decode_with_flags(data: bytes, source: str, flags: int) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise _make_error(source, data, f": {error.err or 'too large'}") from error


def _make_error(
    source: str, data: bytes, reason: str = "", kind: type[errors.CorruptRecordError] = errors.CorruptRecordError
) -> errors.CorruptRecordError:
    return kind(f"{source} is not an intact JPEG or PNG file ({len(data)} bytes){reason}; {_REMEDY}")


def _turn(image: np.ndarray, size: tuple[int, int], orientation: int) -> _Decoded:
    return exif.turn_upright(image, orientation), size[::-1] if orientation >= 5 else size


def _is_truncated_jpeg(data: bytes) -> bool:
    """Returns whether a JPEG lacks the end-of-image marker of its last scan.

    An earlier marker may belong to a thumbnail, and cameras append data after the last one.
    """
    end = data.rfind(b"\xff\xd9")
    return end < 0 or data.find(b"\xff\xda", end) >= 0


def _choose_scale(header: jpeg_markers.JpegHeader, at_least: int | None, longest: bool) -> int:
    """Returns the greatest of 1, 2, 4 and 8 that leaves enough pixels; libjpeg rounds a scaled side up."""
    if not at_least or header.is_lossless:
        return 1
    size = (header.width, header.height)
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
