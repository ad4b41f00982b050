#!/bin/sh
# SimpleITK 2.5.7 returns the luminance and chrominance of a JPEG DICOM frame as red, green and blue where the header
# says RGB and the JPEG (a JFIF file, so YCbCr by its own standard) is compressed as usual. pydicom 3.0.2 with
# pylibjpeg converts it. The colors are wrong without a warning.
#
# Seen: (200, 60, 40) is read as (100, 94, 200) by SimpleITK and as (201, 60, 40) by pydicom; with YBR_FULL_422 in the
# header both read (201, 60, 40).
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet SimpleITK==2.5.7 pydicom==3.0.2 pylibjpeg==2.1.0 pylibjpeg-libjpeg==2.5.0 \
    pillow==12.0.0
cat > check.py <<'PYTHON'
import io

import numpy as np
import pydicom
import SimpleITK
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, VLPhotographicImageStorage, generate_uid

buffer = io.BytesIO()
Image.fromarray(np.full((32, 32, 3), (200, 60, 40), np.uint8)).save(buffer, "JPEG", quality=95)
jpeg = buffer.getvalue()


def read_both(photometric_interpretation):
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = VLPhotographicImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = 32, 32, 3, 0
    data.PhotometricInterpretation = photometric_interpretation
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.LossyImageCompression = "01"
    data.PixelData = encapsulate([jpeg + b"\0" * (len(jpeg) % 2)])
    data["PixelData"].is_undefined_length = True
    data.save_as("lesion.dcm", enforce_file_format=True)
    by_pydicom = pydicom.dcmread("lesion.dcm").pixel_array[16, 16].tolist()
    by_simpleitk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage("lesion.dcm")).squeeze()[16, 16].tolist()
    print(f"{photometric_interpretation}: pydicom {by_pydicom}, SimpleITK {by_simpleitk}")
    return by_pydicom, by_simpleitk


assert read_both("YBR_FULL_422") == ([201, 60, 40], [201, 60, 40])
assert read_both("RGB") == ([201, 60, 40], [100, 94, 200]), "the behavior has changed"
PYTHON
environment/bin/python -W ignore check.py 2> /dev/null
