"""Image decoding, DICOM, and preprocessing."""
