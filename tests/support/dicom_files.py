"""DICOM files made for tests."""

import io

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

PICTURE = np.stack(np.broadcast_arrays(np.arange(48)[:, None] * 5, np.arange(64) * 4, 90), -1).astype(np.uint8)


def made(pixels=PICTURE, syntax=pydicom.uid.ExplicitVRLittleEndian, **tags):
    """A DICOM file's bytes; `pixels` is RGB, or a frame already encoded."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = syntax, pydicom.uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    height, width = (48, 64) if isinstance(pixels, bytes) else pixels.shape[:2]
    tags = {"Rows": height, "Columns": width, "SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"} | tags
    tags = {
        "BitsAllocated": 8,
        "BitsStored": 8,
        "HighBit": 7,
        "PixelRepresentation": 0,
        "PlanarConfiguration": 0,
    } | tags
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = encapsulate([pixels]) if isinstance(pixels, bytes) else pixels.tobytes()
    dataset["PixelData"].VR = "OB" if isinstance(pixels, bytes) else "OW"
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
