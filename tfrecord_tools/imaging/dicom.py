"""Decodes DICOM files: the single color frame of each, and the few tags that the schema has."""

import io
import logging
import warnings
import zlib

import numpy as np
import pydicom
from pydicom import uid

from tfrecord_tools import errors, schema
from tfrecord_tools.imaging import codec, dicom_pixels, jpeg_colors
from tfrecord_tools.imaging import limits as image_limits

# libjpeg-turbo decodes these itself, the lossless ones from version 3 on.
_BASELINE = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
# Where the group that states the transfer syntax starts, after preamble and magic bytes.
_META = 132
# Bytes that are inflated at once to count them.
_PART = 1 << 20
_SEXES = {"M": "male", "F": "female"}
# Units of an age, in parts of a year.
_UNITS_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
_SITES = {
    "headneck": "head/neck",
    "head and neck": "head/neck",
    "upper limb": "upper extremity",
    "lower limb": "lower extremity",
    "trunk": "torso",
}


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
    """Decodes the color frame of a DICOM file to 8 bits per channel.

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
        CorruptRecordError: The file does not have exactly one color frame, exceeds the limits, or cannot be decoded.
    """
    kind = dicom_pixels.check_header(dataset, source, limits)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax in _BASELINE + _LOSSLESS:
        frame = dicom_pixels.read_frame(dataset, source)
        try:
            frame, note = jpeg_colors.mark_rgb(frame, kind == "RGB", source, limits)
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


def read_tags(dataset: pydicom.Dataset) -> dict[str, str]:
    """Reads the tags that a table would have, and no others; literal quotes around values are removed.

    Args:
        dataset: See `read`.

    Returns:
        Dict of text, "" where unknown: `patient_id`, `sex`, `age_approx` (whole years) and
        `anatom_site_general_challenge`, in the words of the schema.

    Examples:
        >>> dataset = pydicom.Dataset()
        >>> dataset.PatientAge = "018M"
        >>> read_tags(dataset)
        {'patient_id': '', 'sex': '', 'age_approx': '1', 'anatom_site_general_challenge': ''}
    """
    site = read_text(dataset, "BodyPartExamined").casefold()
    code = schema.encode("anatom_site_general_challenge", _SITES.get(site, site))
    return {
        "patient_id": read_text(dataset, "PatientID"),
        "sex": _SEXES.get(read_text(dataset, "PatientSex").upper(), ""),
        "age_approx": _to_years(read_text(dataset, "PatientAge")),
        "anatom_site_general_challenge": schema.CATEGORIES["anatom_site_general_challenge"][code] if code >= 0 else "",
    }


def read_text(dataset: pydicom.Dataset, tag: str) -> str:
    """Reads a tag as text, without literal quotes around it.

    Args:
        dataset: See `read`.
        tag: Keyword of the tag.

    Returns:
        Text, "" where the tag is absent or damaged.
    """
    try:
        # pydicom converts a value when it is asked for, and raises exceptions of any type on damaged ones.
        value = dataset.get(tag)
    except Exception:
        return ""
    return str(value or "").strip().strip("\"'").strip()


def _to_years(age: str) -> str:
    """Converts a DICOM age, as 055Y or 018M, to whole years as text; "" where it is not one that a person can have."""
    number = age[:3]
    per_year = _UNITS_PER_YEAR.get(age[3:])
    if per_year is None or not (number.isascii() and number.isdigit()):
        return ""
    years = str(int(number) // per_year)
    try:
        schema.encode("age_approx", years)
    except errors.IsicError:
        return ""
    return years
