"""Converts the samples of a monochrome DICOM frame to gray: rescaled and windowed as pydicom does, then to 8 bits."""

import numpy as np
import pydicom
from pydicom import pixels

from tfrecord_tools import errors

_INVERTED = "MONOCHROME1"


def is_monochrome(photometric: str) -> bool:
    """Returns whether a photometric interpretation is one of gray images."""
    return photometric in ("MONOCHROME1", "MONOCHROME2")


def convert(samples: np.ndarray, dataset: pydicom.Dataset) -> np.ndarray:
    """Converts stored samples to gray.

    The modality's rescaling or table comes first, then the first window or table of values of interest; without one the
    whole range of the stored bits becomes 0 to 255. `MONOCHROME1` is inverted, so that higher is always brighter.

    Args:
        samples: Whole numbers `[height, width]`.
        dataset: See `dicom.read`.

    Returns:
        uint8 `[height, width, 3]` of equal channels.

    Raises:
        CorruptRecordError: There is more than one sample per pixel, or the tags of a window or table are damaged.

    Examples:
        >>> dataset = pydicom.Dataset()
        >>> dataset.PhotometricInterpretation, dataset.BitsStored, dataset.PixelRepresentation = "MONOCHROME1", 12, 0
        >>> convert(np.array([[0, 4095]], np.uint16), dataset)[..., 0].tolist()
        [[255, 0]]
    """
    if samples.ndim != 2 or samples.dtype.kind not in "iu":
        raise errors.CorruptRecordError(
            f"expected one whole number per pixel, got {samples.dtype} {list(samples.shape)}"
        )
    try:
        values = pixels.apply_modality_lut(samples, dataset)
        shown = pixels.apply_voi_lut(values, dataset)
        lowest, highest = _find_range(dataset)
    except Exception as error:  # pydicom raises exceptions of any type on damaged values
        reason = " ".join(str(error).split())
        raise errors.CorruptRecordError(f"the tags of its window or table of values are damaged: {reason}") from error
    scaled = (shown.astype(np.float64) - lowest) * (255 / (highest - lowest))
    gray = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    if dataset.PhotometricInterpretation == _INVERTED:
        gray = 255 - gray
    return np.repeat(gray[..., None], 3, axis=2)


def _find_range(dataset: pydicom.Dataset) -> tuple[float, float]:
    """Returns the values that become black and white: those of pydicom's window or table, or all of the stored bits."""
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        if dataset.get(sequence):
            # The third number of a table states the bits of its values.
            return 0, 2 ** int(dataset[sequence][0].LUTDescriptor[2]) - 1
    bits = int(dataset.BitsStored)
    is_signed = int(dataset.PixelRepresentation) == 1
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
    if "RescaleSlope" in dataset and "RescaleIntercept" in dataset:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
        ends = (ends[0] * slope + intercept, ends[1] * slope + intercept)
    if ends[0] == ends[1]:
        raise ValueError("RescaleSlope is 0")
    # A window maps its lower end to the first of them, even where the slope is negative.
    return ends if "WindowWidth" in dataset else (min(ends), max(ends))
