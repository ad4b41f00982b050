"""Decodes DICOM files: the single color frame of each, and the few tags that the schema has."""

import io
import logging
import warnings

import cv2
import numpy as np
import pydicom
from pydicom import encaps, pixels, uid

from tfrecord_tools import errors, schema
from tfrecord_tools.imaging import codec

# libjpeg-turbo decodes these itself, the lossless ones from version 3 on.
_BASELINE = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
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
# An Adobe marker (length, name, version, two flags, transform 0), which declares that the channels of a JPEG are RGB.
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


def read(data: bytes, source: str) -> pydicom.Dataset:
    """Parses a DICOM file.

    Args:
        data: Bytes of the file.
        source: Name of the file in errors.

    Returns:
        `pydicom.Dataset`.

    Raises:
        CorruptRecordError: The bytes are not an intact DICOM file.
    """
    # pydicom warns of each value that deviates from the standard, and these files have many.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(io.BytesIO(data))
    except Exception as error:  # pydicom raises exceptions of any type on damaged bytes
        raise errors.CorruptRecordError(
            f"{source} is not an intact DICOM file ({len(data)} bytes): {error}; replace the file"
        ) from error


def decode(
    dataset: pydicom.Dataset, source: str, at_least: int | None = None, longest: bool = False
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes the color frame of a DICOM file to 8 bits per channel.

    A JPEG frame is decoded by libjpeg-turbo, scaled as in `codec.decode`. The JPEG stream itself determines whether its
    channels are RGB or YCbCr, because the photometric interpretation of many headers contradicts the stream; the header
    counts only where the stream declares nothing. pydicom decodes all other transfer syntaxes.

    Args:
        dataset: See `read`.
        source: Name of the file in errors.
        at_least: See `codec.decode`; ignored where the frame is not a JPEG.
        longest: See `codec.decode`.

    Returns:
        uint8 `[height, width, 3]`, BGR, and (width, height) of the frame at full size.

    Raises:
        CorruptRecordError: The file does not have exactly one color frame, or cannot be decoded.
    """
    _check(dataset, source)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax in _BASELINE + _LOSSLESS:
        frame = _extract_jpeg(dataset, source)
        try:
            return codec.decode(frame, source, at_least, longest, upright=False)
        except ValueError:
            # An older libjpeg-turbo does not decode lossless JPEG, pydicom's plugins may.
            if syntax not in _LOSSLESS:
                raise
    try:
        image = _decode_pixels(dataset)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise errors.CorruptRecordError(
            f"{source} cannot be decoded: {reason}; convert it, or replace the file"
        ) from error
    return image, (image.shape[1], image.shape[0])


def _extract_jpeg(dataset: pydicom.Dataset, source: str) -> bytes:
    """Returns the JPEG stream of the only frame, marked as RGB where only the header says so."""
    try:
        frame = encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception as error:
        raise errors.CorruptRecordError(f"{source} is truncated or damaged: {error}; replace the file") from error
    header = codec.jpeg_header(frame)
    if header and not header[2] and dataset.PhotometricInterpretation == "RGB":
        return frame[:2] + _ADOBE_RGB + frame[2:]
    return frame


def _check(dataset: pydicom.Dataset, source: str) -> None:
    """Checks by its header that a file has exactly one color frame of a reasonable size."""
    kind = str(dataset.get("PhotometricInterpretation", ""))
    if "PixelData" not in dataset:
        raise errors.CorruptRecordError(
            f"{source} has no complete pixel data; replace the file, or delete its row from the CSV"
        )
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise errors.CorruptRecordError(
            f"{source} has {dataset.NumberOfFrames} frames, expected one; export the frame to use as a file of its own"
        )
    if kind.startswith("MONOCHROME"):
        raise errors.CorruptRecordError(
            f"{source} is {kind}, expected a color image; it is not dermoscopic, delete its row from the CSV"
        )
    if kind not in ("RGB", "PALETTE COLOR") and not kind.startswith("YBR_"):
        raise errors.CorruptRecordError(
            f"{source} has the photometric interpretation {kind!r}, expected RGB, YBR or PALETTE COLOR; convert it"
        )
    rows = int(dataset.get("Rows") or 0)
    columns = int(dataset.get("Columns") or 0)
    if not 0 < rows * columns <= codec.MAX_PIXELS:
        raise errors.CorruptRecordError(
            f"{source} has {columns}x{rows} pixels, expected 1 to {codec.MAX_PIXELS}; replace the file"
        )


def _decode_pixels(dataset: pydicom.Dataset) -> np.ndarray:
    """Decodes with pydicom to BGR uint8; samples of more than 8 bits keep their upper 8."""
    image = pixels.pixel_array(dataset)
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        image = pixels.apply_color_lut(image, dataset)
        bits = 8 * image.dtype.itemsize
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "u":
        raise errors.CorruptRecordError(f"expected unsigned [height, width, 3], got {image.dtype} {list(image.shape)}")
    upper = image >> (bits - 8) if bits >= 8 else image << (8 - bits)
    return cv2.cvtColor(upper.astype(np.uint8), cv2.COLOR_RGB2BGR)


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
    site = _read_text(dataset, "BodyPartExamined").casefold()
    site = _SITES.get(site, site)
    return {
        "patient_id": _read_text(dataset, "PatientID"),
        "sex": _SEXES.get(_read_text(dataset, "PatientSex").upper(), ""),
        "age_approx": _to_years(_read_text(dataset, "PatientAge")),
        "anatom_site_general_challenge": site if schema.encode("anatom_site_general_challenge", site) >= 0 else "",
    }


def _read_text(dataset: pydicom.Dataset, tag: str) -> str:
    return str(dataset.get(tag) or "").strip().strip("\"'").strip()


def _to_years(age: str) -> str:
    """Converts a DICOM age, as 055Y or 018M, to whole years as text; "" where it is not one."""
    number = age[:3]
    per_year = _UNITS_PER_YEAR.get(age[3:])
    if per_year is None or not (number.isascii() and number.isdigit()):
        return ""
    return str(int(number) // per_year)
