"""Makes small DICOM files for tests."""

import io
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

PICTURE = np.stack(np.broadcast_arrays(np.arange(48)[:, None] * 5, np.arange(64) * 4, 90), -1).astype(np.uint8)


def made(pixels: np.ndarray | bytes = PICTURE, syntax: str = pydicom.uid.ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """Returns the bytes of a DICOM file; `pixels` is RGB, or a frame that is already encoded."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    encoded = isinstance(pixels, bytes)
    height, width = (48, 64) if encoded else pixels.shape[:2]
    defaults = {
        "Rows": height,
        "Columns": width,
        "SamplesPerPixel": 3,
        "PhotometricInterpretation": "RGB",
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PlanarConfiguration": 0,
    }
    for name, value in {**defaults, **tags}.items():
        setattr(dataset, name, value)
    dataset.PixelData = encapsulate([pixels]) if encoded else pixels.tobytes()
    dataset["PixelData"].VR = "OB" if encoded else "OW"
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
