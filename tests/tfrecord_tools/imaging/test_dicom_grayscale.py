import numpy as np
import pydicom
import pytest
from dicom_files import made
from pydicom.sequence import Sequence

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, dicom_grayscale, limits

RAMP = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
ACCEPT = limits.ImageFileLimits(monochrome="accept")
DEEP = {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}


def gray(samples, **tags):
    tags = {"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1, **tags}
    image, size = dicom.decode(dicom.read(made(samples, **tags), "x.dcm"), "x.dcm", limits=ACCEPT)
    assert size == samples.shape[::-1]
    assert (image == image[..., :1]).all()
    return image[..., 0]


def test_a_monochrome_file_is_refused_with_the_option_that_accepts_it():
    data = made(RAMP, PhotometricInterpretation="MONOCHROME2", SamplesPerPixel=1, **DEEP)
    with pytest.raises(errors.CorruptRecordError, match="x.dcm is MONOCHROME2, .* as gray with --monochrome=accept$"):
        dicom.decode(dicom.read(data, "x.dcm"), "x.dcm")


def test_without_a_window_all_stored_bits_become_8():
    assert np.array_equal(gray(RAMP, **DEEP), np.rint(RAMP * (255 / 4095)))
    inverted = gray(RAMP, PhotometricInterpretation="MONOCHROME1", **DEEP)
    assert np.array_equal(inverted, 255 - gray(RAMP, **DEEP))


def test_signed_samples_and_negative_slopes_stay_bright_where_they_are_high():
    signed = (RAMP.astype(int) - 2048).astype(np.int16)
    assert np.array_equal(gray(signed, PixelRepresentation=1, **DEEP), gray(RAMP, **DEEP))
    falling = {"RescaleSlope": -1, "RescaleIntercept": 4095}
    assert np.array_equal(gray(RAMP, **DEEP, **falling), gray(4095 - RAMP, **DEEP))
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    assert np.array_equal(gray(RAMP, **DEEP, **falling, **window), gray(4095 - RAMP, **DEEP, **window))


def test_the_first_window_applies_to_rescaled_samples_as_pydicoms_does():
    # Samples of 0 to 3071 become 1000 to 4071; the window of DICOM PS3.3 C.11.2.1.2.1 is 2000 wide around 2000.
    tags = {**DEEP, "RescaleSlope": 1, "RescaleIntercept": 1000, "WindowCenter": [2000, 1], "WindowWidth": [2000, 2]}
    found = gray(RAMP, **tags)
    values = RAMP.astype(float) + 1000
    expected = np.clip((values - 1999.5) / 1999 + 0.5, 0, 1) * 255
    assert np.abs(found - expected).max() <= 0.5
    assert (found[values <= 1000] == 0).all()
    assert (found[values >= 3000] == 255).all()


def test_tables_of_values_are_applied():
    table = pydicom.Dataset()
    table.LUTDescriptor = [4, 0, 8]
    table.LUTData = np.array([0, 10, 200, 255], np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    samples = np.array([[0, 1], [2, 3]], np.uint8)
    for name in ("VOILUTSequence", "ModalityLUTSequence"):
        assert gray(samples, **{name: Sequence([table])}).tolist() == [[0, 10], [200, 255]]


def test_a_jpeg_frame_is_windowed_too():
    frame = codec.encode(np.full((48, 64, 3), 100, np.uint8), 95)
    jpeg = np.asarray(codec.decode(frame, "x")[0])
    tags = {"PhotometricInterpretation": "MONOCHROME1", "SamplesPerPixel": 1}
    data = made(frame, pydicom.uid.JPEGBaseline8Bit, **tags)
    image, _ = dicom.decode(dicom.read(data, "x.dcm"), "x.dcm", at_least=8, limits=ACCEPT)
    assert np.array_equal(image, 255 - jpeg)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (
            {"RescaleSlope": 0, "RescaleIntercept": 0},
            "x.dcm cannot be decoded: the tags of its window or table of values are damaged: RescaleSlope is 0; ",
        ),
        ({"WindowCenter": 5, "WindowWidth": 0}, "its window or table of values are damaged: .*Width"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, r"one whole number per pixel, got uint16 \[16, 64, 3\]"),
    ],
)
def test_damaged_windows_and_several_samples_are_refused(tags, message):
    tags = {"Rows": 16, **tags} if "SamplesPerPixel" in tags else tags
    with pytest.raises(errors.CorruptRecordError, match=message):
        gray(RAMP, **DEEP, **tags)


@pytest.mark.realdata
def test_a_real_overlay_file_is_what_pydicom_shows(real_data):
    dataset = dicom.read((real_data / "dicom_variants" / "examples_overlay.dcm").read_bytes(), "overlay")
    shown = pydicom.pixels.apply_voi_lut(pydicom.pixels.pixel_array(dataset), dataset).astype(float)
    image, _ = dicom.decode(dataset, "overlay", limits=ACCEPT)
    assert dicom_grayscale.is_monochrome(dataset.PhotometricInterpretation)
    order = np.argsort(shown, axis=None)
    assert (np.diff(image[..., 0].ravel()[order].astype(int)) >= 0).all()
    assert image.max() > 100
