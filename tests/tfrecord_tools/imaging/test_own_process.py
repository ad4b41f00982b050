import numpy as np
import pydicom
import pytest
from dicom_files import PICTURE, made
from image_bytes import SMOOTH, jpeg, png, rotated_jpeg

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, limits, own_process

# So little time that an image of 48x64 pixels may take longer, and is decoded in a process of its own.
SHORT = limits.ImageLimits(max_image_seconds=0.001)
# Long enough for that process, though not by the estimate of what a large image may take.
LONG = limits.ImageLimits(max_image_seconds=20)


def test_an_image_is_the_same_from_a_process_of_its_own():
    for data in (rotated_jpeg(6), png()):
        found, size = own_process.decode("file", data, "x", LONG, at_least=24, longest=False, upright=True)
        expected, expected_size = codec.decode(data, "x", at_least=24)
        assert np.array_equal(found, expected)
        assert size == expected_size


def test_an_error_arrives_from_the_process():
    with pytest.raises(errors.CorruptRecordError, match="x.jpg is truncated"):
        own_process.decode("file", jpeg()[:-200], "x.jpg", LONG, at_least=None, longest=False, upright=True)


def test_a_process_that_takes_too_long_is_ended_and_the_file_named():
    large = png(np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8))
    with pytest.raises(errors.CorruptRecordError, match="big.png takes more than 0.001 seconds to be decoded; convert"):
        codec.decode(large, "big.png", limits=SHORT)


def test_an_image_that_cannot_take_long_needs_no_process(monkeypatch):
    monkeypatch.setattr(own_process, "decode", None)
    assert np.array_equal(codec.decode(png(), "x.png")[0], SMOOTH)


def test_the_frame_of_a_dicom_file_is_the_same_from_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(limits, "_PIXELS_PER_SECOND", 10)
    dataset = dicom.read(made(PatientName="Doe^Jane"), "x.dcm")
    image, size = dicom.decode(dataset, "x.dcm", limits=LONG)
    assert np.array_equal(image, PICTURE[..., ::-1])
    assert size == (64, 48)


def test_a_process_may_use_no_more_memory_than_the_limit(monkeypatch):
    little = limits.ImageLimits(max_image_megabytes=1, max_image_seconds=20)
    large = made(np.zeros((1200, 1200, 3), np.uint8), pydicom.uid.ExplicitVRLittleEndian)
    with pytest.raises(errors.CorruptRecordError, match="x.dcm (cannot be decoded|ended its decoder)"):
        own_process.decode("frame", large, "x.dcm", little)
