"""Reads and decodes DICOM files: the single frame of each."""

import io
import logging
import warnings
import zlib

import numpy as np
import pydicom
from pydicom import uid

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom_grayscale, dicom_pixels, jpeg_colors
from tfrecord_tools.imaging import limits as image_limits

# libjpeg-turbo decodes these itself, the lossless ones from version 3 on.
_BASELINE = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
# Where the group that states the transfer syntax starts, after preamble and magic bytes.
_META = 132
# Bytes that are inflated at once to count them.
_PART = 1 << 20


def read(data: bytes, source: str, limits: image_limits.ImageLimits = image_limits.DEFAULTS) -> pydicom.Dataset:
    """Parses a DICOM file.

    Args:
        data: Bytes of the file.
        source: Name of the file in errors.
        limits: What decoding may take; a deflated file may inflate to no more.

    Returns:
        `pydicom.Dataset`.

    Raises:
        CorruptRecordError: The bytes are not an intact DICOM file.
    """
    _check_deflated(data, source, limits)
    # pydicom warns of each value that deviates from the standard, and these files have many.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(io.BytesIO(data))
    except pydicom.errors.InvalidDicomError as error:
        raise errors.CorruptRecordError(
            f"{source} is not an intact DICOM file ({len(data)} bytes): it lacks the prefix DICM; replace the file"
        ) from error
    except Exception as error:  # pydicom raises exceptions of any type on damaged bytes
        raise errors.CorruptRecordError(
            f"{source} is not an intact DICOM file ({len(data)} bytes): {error}; replace the file"
        ) from error


def _check_deflated(data: bytes, source: str, limits: image_limits.ImageLimits) -> None:
    """Refuses a file in the deflated transfer syntax that inflates to more memory than allowed."""
    # The group of the transfer syntax opens with its own length.
    start = _META + 12 + int.from_bytes(data[_META + 8 : _META + 12], "little")
    if uid.DeflatedExplicitVRLittleEndian.encode() not in data[_META:start]:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    waiting = data[start:]
    total = 0
    try:
        while waiting:
            total += len(inflater.decompress(waiting, _PART))
            image_limits.check_memory(limits, source, total)
            waiting = inflater.unconsumed_tail
    except zlib.error as error:
        raise errors.CorruptRecordError(
            f"{source} is not an intact DICOM file ({len(data)} bytes): {error}; replace the file"
        ) from error


def decode(
    dataset: pydicom.Dataset,
    source: str,
    at_least: int | None = None,
    longest: bool = False,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
    notes: list[str] | None = None,
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes the color frame of a DICOM file to 8 bits per channel; a monochrome one to gray, where that is accepted.

    A JPEG frame is decoded by libjpeg-turbo, scaled as in `codec.decode`. The JPEG stream itself determines whether its
    channels are RGB or YCbCr, because the photometric interpretation of many headers contradicts the stream; where the
    stream states nothing, see `jpeg_colors.mark_rgb`. pydicom decodes all other transfer syntaxes.

    Args:
        dataset: See `read`.
        source: Name of the file in errors.
        at_least: See `codec.decode`; ignored where the frame is not a JPEG.
        longest: See `codec.decode`.
        limits: What decoding may take.
        notes: A list that gets a text where the colors had to be decided by the pixels.

    Returns:
        uint8 `[height, width, 3]`, BGR, and (width, height) of the frame at full size.

    Raises:
        CorruptRecordError: The file does not have exactly one frame of an accepted kind, exceeds the limits, or
            cannot be decoded.
    """
    kind = dicom_pixels.check_header(dataset, source, limits)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax in _BASELINE + _LOSSLESS:
        frame = dicom_pixels.read_frame(dataset, source)
        try:
            frame, note = jpeg_colors.mark_rgb(frame, kind == "RGB", source, limits)
            if dicom_grayscale.is_monochrome(kind):
                # The window applies to the samples as they are stored.
                image, size = codec.decode(frame, source, upright=False, limits=limits)
                return dicom_pixels.convert_gray(image[..., 0], dataset, source), size
            image, size = codec.decode(frame, source, at_least, longest, upright=False, limits=limits)
        except ValueError:
            # An older libjpeg-turbo does not decode lossless JPEG, pydicom's plugins may.
            if syntax not in _LOSSLESS:
                raise
        else:
            if note and notes is not None:
                notes.append(note)
            return image, size
    image = dicom_pixels.decode_pixels(dataset, source, limits)
    return image, (image.shape[1], image.shape[0])
