#!/bin/sh
# dicom2jpg 0.1.10 stretches the values of a color image from its darkest to its brightest, over all three channels
# together, and says nothing. The colors of a dermoscopic DICOM file, which a classifier reads, then depend on the
# brightest and darkest pixel of each image. Convert with pydicom's `pixel_array` (or `tfrecord_tools.build`) instead.
#
# Seen: an image whose pixels are all (200, 60, 40) is returned as (255, 31, 0); pydicom returns (200, 60, 40).
set -eu
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
cd "$directory"
python3 -m venv environment
environment/bin/pip install --quiet dicom2jpg==0.1.10 pydicom==3.0.2
cat > check.py <<'PYTHON'
import dicom2jpg
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, VLPhotographicImageStorage, generate_uid

data = Dataset()
data.file_meta = FileMetaDataset()
data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = VLPhotographicImageStorage
data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
data.Rows, data.Columns, data.SamplesPerPixel, data.PlanarConfiguration = 32, 32, 3, 0
data.PhotometricInterpretation = "RGB"
data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
data.PixelData = np.full((32, 32, 3), (200, 60, 40), np.uint8).tobytes()
data.save_as("lesion.dcm", enforce_file_format=True)

right = pydicom.dcmread("lesion.dcm").pixel_array[0, 0].tolist()
stretched = dicom2jpg.dicom2img("lesion.dcm")[0, 0].tolist()
print("pydicom:  ", right)
print("dicom2jpg:", stretched)
assert right == [200, 60, 40]
assert stretched == [255, 31, 0], "the behavior has changed"
PYTHON
environment/bin/python -W ignore check.py
