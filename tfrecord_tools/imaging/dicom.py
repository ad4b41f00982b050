"""DICOM files: the one colour frame of each, and the few tags that are the schema's own."""

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
_SITES = {"headneck": "head/neck", "head and neck": "head/neck", "upper limb": "upper extremity"}
_SITES |= {"lower limb": "lower extremity", "trunk": "torso"}
# An Adobe marker (length, name, version, two flags, transform 0) by which a JPEG says that its channels are RGB.
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"


def read(data, source):
    """Parses a DICOM file.

    Args:
        data: The file's bytes.
        source: What to call it in an error.

    Returns:
        `pydicom.Dataset`.

    Raises:
        IsicError: The bytes are no DICOM file.
    """
    # pydicom remarks on each value that is not quite as the standard has it; these files are full of them.
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pydicom.dcmread(io.BytesIO(data))
    except Exception as error:  # damaged bytes make pydicom raise anything
        raise errors.CorruptRecordError(
            f"{source} is no whole DICOM file ({len(data)} bytes): {error}; replace the file"
        ) from error


def decode(dataset, source, at_least=None, longest=False):
    """Decodes the colour frame of a DICOM file to RGB's 8 bits, BGR in order.

    A JPEG frame goes to libjpeg-turbo as it is, scaled as in `codec.decode`. Whether its channels are RGB or YCbCr the
    JPEG itself decides, since headers name a photometric interpretation that is not the stream's; where the stream
    says nothing, the header is believed. All other transfer syntaxes are left to pydicom.

    Args:
        dataset: See `read`.
        source: What to call it in an error.
        at_least: See `codec.decode`; ignored where the frame is no JPEG.
        longest: See `codec.decode`.

    Returns:
        As `codec.decode`.

    Raises:
        IsicError: The file holds no single colour frame, or cannot be decoded.
    """
    _check(dataset, source)
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", None)
    if syntax in _BASELINE + _LOSSLESS:
        try:
            frame = encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
        except Exception as error:
            raise errors.CorruptRecordError(f"{source} is truncated or damaged: {error}; replace the file") from error
        header = codec.jpeg_header(frame)
        if header and not header[2] and dataset.PhotometricInterpretation == "RGB":
            frame = frame[:2] + _ADOBE_RGB + frame[2:]
        try:
            return codec.decode(frame, source, at_least, longest, upright=False)
        except ValueError:
            if syntax not in _LOSSLESS:
                raise
    try:
        image = _pixels(dataset)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise errors.CorruptRecordError(
            f"{source} cannot be decoded: {reason}; convert it, or replace the file"
        ) from error
    return image, (image.shape[1], image.shape[0])


def _check(dataset, source):
    kind = str(dataset.get("PhotometricInterpretation", ""))
    if "PixelData" not in dataset:
        raise errors.CorruptRecordError(
            f"{source} holds no whole pixel data; replace the file, or take its row from the table"
        )
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise errors.CorruptRecordError(
            f"{source} holds {dataset.NumberOfFrames} frames, expected one; export the frame you mean"
        )
    if kind.startswith("MONOCHROME"):
        raise errors.CorruptRecordError(
            f"{source} is {kind}, expected colour: no dermoscopic image; take its row from the table"
        )
    if kind not in ("RGB", "PALETTE COLOR") and not kind.startswith("YBR_"):
        raise errors.CorruptRecordError(
            f"{source} has the photometric interpretation {kind!r}, expected RGB, YBR or PALETTE COLOR"
        )
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if not 0 < rows * columns <= codec.MAX_PIXELS:
        raise errors.CorruptRecordError(f"{source} has {columns}x{rows} pixels, expected 1 to {codec.MAX_PIXELS}")


def _pixels(dataset):
    """Decodes through pydicom; deeper samples keep their upper 8 bits."""
    image, bits = pixels.pixel_array(dataset), int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        image = pixels.apply_color_lut(image, dataset)
        bits = 8 * image.dtype.itemsize
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "u":
        raise errors.CorruptRecordError(f"expected unsigned [height, width, 3], got {image.dtype} {list(image.shape)}")
    image = image >> (bits - 8) if bits >= 8 else image << (8 - bits)
    return cv2.cvtColor(image.astype(np.uint8), cv2.COLOR_RGB2BGR)


def read_tags(dataset):
    """Reads what a table would say, and nothing else; tags of this data carry literal quotes, which are dropped.

    Args:
        dataset: See `read`.

    Returns:
        Dict of text, "" where unknown: `patient_id`, `sex`, `age_approx` (whole years) and
        `anatom_site_general_challenge`, in the schema's words.
    """
    tags = {
        name: str(dataset.get(name) or "").strip().strip("\"'").strip()
        for name in ("PatientID", "PatientSex", "PatientAge", "BodyPartExamined")
    }
    age, unit = tags["PatientAge"][:3], tags["PatientAge"][3:]
    years = {"Y": 1, "M": 12, "W": 52, "D": 365}.get(unit, 0)
    site = tags["BodyPartExamined"].casefold()
    site = _SITES.get(site, site)
    return {
        "patient_id": tags["PatientID"],
        "sex": {"M": "male", "F": "female"}.get(tags["PatientSex"].upper(), ""),
        "age_approx": str(int(age) // years) if years and age.isascii() and age.isdigit() else "",
        "anatom_site_general_challenge": site if schema.encode("anatom_site_general_challenge", site) >= 0 else "",
    }
