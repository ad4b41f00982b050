"""Checks the image of a DICOM file by its header, and decodes what is not a JPEG with pydicom."""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pydicom
from pydicom import dataset as pydicom_dataset
from pydicom import encaps, pixels, uid

from tfrecord_tools import errors
from tfrecord_tools.imaging import dicom_grayscale, jpeg_markers, own_process
from tfrecord_tools.imaging import limits as image_limits

# Bytes per pixel that a JPEG 2000 decoder may need when a stream is cut into the smallest parts.
_LARGEST_OVERHEAD = 200
# Times by which run-length encoding can shrink data.
_LARGEST_RUN = 64
# Other decoders are slower than those of JPEG and PNG, by this factor.
_SLOWNESS = 4
_START_OF_CODESTREAM = b"\xff\x4f\xff\x51"


def read_number(dataset: pydicom.Dataset, tag: str, source: str, default: int = 0) -> int:
    """Reads a whole number of the header.

    Args:
        dataset: See `dicom.read`.
        tag: Keyword, such as `Rows`.
        source: Name of the file in errors.
        default: Its value where the tag is absent or empty.

    Raises:
        CorruptRecordError: The value is not one whole number.
    """
    value: Any = None
    try:
        # pydicom converts a value when it is asked for.
        value = dataset.get(tag)
        return default if value is None or value == "" else int(value)
    except Exception as error:  # pydicom raises exceptions of any type on damaged values
        raise errors.CorruptRecordError(
            f"{source} has {tag} {str(value)[:50]!r}, expected one whole number; replace the file"
        ) from error


def check_header(dataset: pydicom.Dataset, source: str, limits: image_limits.ImageLimits) -> str:
    """Checks by its header that a file has exactly one frame of an accepted kind within the limits.

    Args:
        dataset: See `dicom.read`.
        source: Name of the file in errors.
        limits: What decoding may take.

    Returns:
        Its photometric interpretation, such as `RGB`.

    Raises:
        CorruptRecordError: It has not, or its header is damaged.
    """
    try:
        kind = str(dataset.get("PhotometricInterpretation", ""))
        has_pixels = "PixelData" in dataset and bool(dataset.PixelData)
    except Exception as error:
        raise errors.CorruptRecordError(f"{source} has a damaged header: {error}; replace the file") from error
    if not has_pixels:
        raise errors.CorruptRecordError(f"{source} has no complete pixel data; replace the file, or leave it out")
    num_frames = read_number(dataset, "NumberOfFrames", source, 1)
    if num_frames not in (0, 1):
        raise errors.CorruptRecordError(
            f"{source} has {num_frames} frames, expected one; export the frame to use as a file of its own"
        )
    is_gray = dicom_grayscale.is_monochrome(kind)
    if is_gray and not image_limits.accepts_monochrome(limits):
        raise errors.CorruptRecordError(
            f"{source} is {kind}, expected a color image; it is not dermoscopic: leave it out, or "
            "accept it as gray with --monochrome=accept"
        )
    if not is_gray and kind not in ("RGB", "PALETTE COLOR") and not kind.startswith("YBR_"):
        raise errors.CorruptRecordError(
            f"{source} has the photometric interpretation {kind!r}, expected RGB, YBR or PALETTE COLOR; convert it"
        )
    columns = read_number(dataset, "Columns", source)
    rows = read_number(dataset, "Rows", source)
    image_limits.check_size(limits, source, columns, rows)
    bits = read_number(dataset, "BitsAllocated", source, 8)
    samples = read_number(dataset, "SamplesPerPixel", source, 1)
    # The windows of a gray image are computed in numbers of 8 bytes.
    num_bytes = 2 * 8 if is_gray else samples * bits // 8
    image_limits.check_memory(limits, source, rows * columns * num_bytes)
    return kind


def read_frame(dataset: pydicom.Dataset, source: str) -> bytes:
    """Reads the encoded bytes of the only frame.

    Args:
        dataset: See `dicom.read`.
        source: Name of the file in errors.

    Raises:
        CorruptRecordError: The pixel data are damaged.
    """
    try:
        return encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception as error:
        raise errors.CorruptRecordError(f"{source} is truncated or damaged: {error}; replace the file") from error


def decode_pixels(dataset: pydicom.Dataset, source: str, limits: image_limits.ImageLimits) -> np.ndarray:
    """Decodes with pydicom to BGR uint8; samples of more than 8 bits keep their upper 8.

    Args:
        dataset: See `dicom.read`; it must have passed `check_header`.
        source: Name of the file in errors.
        limits: What decoding may take; what may exceed them is decoded in a process of its own.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        CorruptRecordError: The frame cannot be decoded.
    """
    if not _is_expensive(dataset, source, limits):
        return decode_here(dataset, source)
    image, _ = own_process.decode("frame", _extract_image(dataset, source), source, limits)
    return image


def _is_expensive(dataset: pydicom.Dataset, source: str, limits: image_limits.ImageLimits) -> bool:
    """Holds the stream of a frame against the header; returns whether its decoder may exceed the limits."""
    size = read_number(dataset, "Columns", source), read_number(dataset, "Rows", source)
    num_pixels = size[0] * size[1]
    syntax = getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", uid.ImplicitVRLittleEndian)
    most_bytes = 0
    if syntax == uid.RLELossless:
        most_bytes = _LARGEST_RUN * len(dataset.PixelData)
    elif uid.UID(syntax).is_encapsulated:
        found = _read_stream_size(read_frame(dataset, source))
        if found is not None and found != size:
            raise errors.CorruptRecordError(
                f"{source} holds an image of {found[0]}x{found[1]} pixels, but its header states {size[0]}x{size[1]}; "
                "replace the file"
            )
        most_bytes = _LARGEST_OVERHEAD * num_pixels
    return most_bytes > limits.max_image_megabytes << 20 or image_limits.may_be_slow(limits, num_pixels * _SLOWNESS)


def _read_stream_size(frame: bytes) -> tuple[int, int] | None:
    """Reads the (width, height) of a JPEG, JPEG-LS or JPEG 2000 stream."""
    header = jpeg_markers.read_header(frame)
    if header is not None:
        return header.width, header.height
    start = frame.find(_START_OF_CODESTREAM, 0, 1024)
    if start < 0:
        return None
    # Length and capabilities, then the reference grid's size and the offset of the image in it.
    right, bottom, left, top = np.frombuffer(frame[start + 8 : start + 24].ljust(16, b"\0"), ">u4").tolist()
    return right - left, bottom - top


def _extract_image(dataset: pydicom.Dataset, source: str) -> bytes:
    """Returns a DICOM file of nothing but the image."""
    meta = pydicom_dataset.FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    buffer = io.BytesIO()
    image = pydicom_dataset.FileDataset(buffer, {}, preamble=bytes(128), file_meta=meta)
    try:
        image.update(dataset.group_dataset(0x0028))
        image["PixelData"] = dataset["PixelData"]
        image.save_as(buffer)
    except Exception as error:
        raise errors.CorruptRecordError(f"{source} has a damaged header: {error}; replace the file") from error
    return buffer.getvalue()


def decode_here(dataset: pydicom.Dataset, source: str) -> np.ndarray:
    """Decodes with pydicom in this process, whatever it takes; see `decode_pixels`.

    Args:
        dataset: See `dicom.read`.
        source: Name of the file in errors.

    Returns:
        See `decode_pixels`.

    Raises:
        CorruptRecordError: The frame cannot be decoded.
    """
    with _explained(source):
        return _to_bgr(dataset)


def convert_gray(samples: np.ndarray, dataset: pydicom.Dataset, source: str) -> np.ndarray:
    """Converts the samples of a monochrome frame to gray; see `dicom_grayscale.convert`.

    Args:
        samples: Whole numbers `[height, width]`.
        dataset: See `dicom.read`.
        source: Name of the file in errors.

    Returns:
        uint8 `[height, width, 3]`.

    Raises:
        CorruptRecordError: The tags of a window or table of values are damaged.
    """
    with _explained(source):
        return dicom_grayscale.convert(samples, dataset)


@contextlib.contextmanager
def _explained(source: str) -> Iterator[None]:
    """Names the file in every error of pydicom."""
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())
        raise errors.CorruptRecordError(
            f"{source} cannot be decoded: {reason}; convert it, or replace the file"
        ) from error


def _to_bgr(dataset: pydicom.Dataset) -> np.ndarray:
    image = pixels.pixel_array(dataset)
    if dicom_grayscale.is_monochrome(str(dataset.PhotometricInterpretation)):
        return dicom_grayscale.convert(image, dataset)
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        image = pixels.apply_color_lut(image, dataset)
        bits = 8 * image.dtype.itemsize
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != "u":
        raise errors.CorruptRecordError(f"expected unsigned [height, width, 3], got {image.dtype} {list(image.shape)}")
    upper = image >> (bits - 8) if bits >= 8 else image << (8 - bits)
    return cv2.cvtColor(upper.astype(np.uint8), cv2.COLOR_RGB2BGR)
