import pydicom
import pytest
from dicom_files import made
from image_bytes import SMOOTH

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, dicom_pixels, limits


def read(pixels=None, syntax=pydicom.uid.ExplicitVRLittleEndian, **tags):
    return dicom.read(made(syntax=syntax, **tags) if pixels is None else made(pixels, syntax, **tags), "x.dcm")


@pytest.mark.parametrize("tag", ["Rows", "Columns", "NumberOfFrames", "BitsAllocated", "SamplesPerPixel"])
@pytest.mark.parametrize("value", [[48, 64], "words"])
def test_numbers_that_are_lists_or_words_are_named_with_the_file(tag, value):
    dataset = read()
    dataset.add(pydicom.DataElement(tag, "LO", value))
    with pytest.raises(errors.CorruptRecordError, match=f"x.dcm has {tag} .*, expected one whole number; replace"):
        dicom.decode(dataset, "x.dcm")


def test_an_absent_number_has_its_default():
    assert dicom_pixels.read_number(pydicom.Dataset(), "NumberOfFrames", "x.dcm", 1) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_image_side": 60}, "x.dcm has 64x48 pixels, expected sides of at most 60"),
        ({"max_image_megapixels": 0.003}, "x.dcm has 64x48 pixels, expected at most 0.003 million"),
    ],
)
@pytest.mark.parametrize("kind", ["raw", "jpeg"])
def test_frames_beyond_the_limits_are_refused(change, message, kind):
    frame = codec.encode(SMOOTH, 90) if kind == "jpeg" else None
    syntax = pydicom.uid.JPEGBaseline8Bit if kind == "jpeg" else pydicom.uid.ExplicitVRLittleEndian
    with pytest.raises(errors.CorruptRecordError, match=message):
        dicom.decode(read(frame, syntax), "x.dcm", limits=limits.ImageLimits(**change))


def test_a_frame_that_needs_more_memory_than_allowed_is_refused():
    dataset = read(Rows=1000, Columns=1000)
    with pytest.raises(errors.CorruptRecordError, match="x.dcm needs 2 MB to be decoded, expected at most 1"):
        dicom.decode(dataset, "x.dcm", limits=limits.ImageLimits(max_image_megabytes=1))


def test_a_stream_of_another_size_than_its_header_is_refused():
    # The header of a JPEG 2000 stream: its length, capabilities, and the size of the reference grid.
    start = b"\xff\x4f\xff\x51\x00\x2f\0\0" + b"".join(number.to_bytes(4, "big") for number in (9000, 8000, 0, 0))
    with pytest.raises(
        errors.CorruptRecordError, match="x.dcm holds an image of 9000x8000 pixels, but its header stat"
    ):
        dicom.decode(read(start + bytes(40), pydicom.uid.JPEG2000Lossless), "x.dcm")


def test_a_deflated_file_may_not_inflate_beyond_the_limit():
    data = made(syntax=pydicom.uid.DeflatedExplicitVRLittleEndian, Rows=900, Columns=900, pixels=bytes_of(900))
    assert len(data) < 10_000
    assert dicom.read(data, "x.dcm").Rows == 900
    with pytest.raises(errors.CorruptRecordError, match="x.dcm needs [12] MB to be decoded, expected at most 1"):
        dicom.read(data, "x.dcm", limits.ImageLimits(max_image_megabytes=1))


def bytes_of(side):
    return __import__("numpy").zeros((side, side, 3), "uint8")
