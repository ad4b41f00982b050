import functools
import logging

import cv2
import numpy as np
import pydicom
import pytest
from dicom_files import PICTURE, made

from tfrecord_tools.imaging import codec, dicom, preprocessing


def decode(data, **scale):
    return dicom.decode(dicom.read(data, "x.dcm"), "x.dcm", **scale)


def test_raw_pixels_are_returned_as_bgr():
    image, size = decode(made())
    assert np.array_equal(image, PICTURE[..., ::-1])
    assert size == (64, 48)


def test_a_jpeg_frame_determines_its_colors_and_is_scaled():
    jpeg = codec.encode(cv2.resize(PICTURE[..., ::-1], (640, 480)), 95)
    for header in ("RGB", "YBR_FULL_422", "YBR_FULL"):
        data = made(jpeg, pydicom.uid.JPEGBaseline8Bit, PhotometricInterpretation=header, Rows=480, Columns=640)
        image, size = decode(data, at_least=48)
        assert size == (640, 480)
        assert image.shape == (60, 80, 3)
        assert (
            np.abs(cv2.resize(image, (64, 48), interpolation=cv2.INTER_AREA) - PICTURE[..., ::-1].astype(int)).max() < 9
        )


def test_samples_of_more_than_8_bits_keep_their_upper_bits():
    deep = (PICTURE.astype(np.uint16) << 4) + 15
    image, _ = decode(made(deep, BitsAllocated=16, BitsStored=12, HighBit=11))
    assert np.array_equal(image, PICTURE[..., ::-1])


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"NumberOfFrames": 2}, "x.dcm has 2 frames, expected one; export the frame to use"),
        (
            {"PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1},
            "x.dcm is MONOCHROME2, expected a color image",
        ),
        ({"PhotometricInterpretation": "CMYK"}, "interpretation 'CMYK', expected RGB, YBR or PALETTE COLOR"),
        ({"Rows": 65535, "Columns": 65535}, "x.dcm has 65535x65535 pixels, expected sides of at most 32768"),
        ({"Rows": 0}, "x.dcm has 64x0 pixels"),
        ({"Rows": 480}, "x.dcm cannot be decoded: .*; convert it, or replace the file"),
        ({"PixelRepresentation": 1}, r"cannot be decoded: expected unsigned \[height, width, 3\], got int8"),
    ],
)
def test_anything_but_a_single_color_frame_is_refused(tags, message):
    with pytest.raises(ValueError, match=message):
        decode(made(**tags))


def test_files_without_pixels_or_without_an_end_are_named():
    dataset = dicom.read(made(), "x.dcm")
    del dataset.PixelData
    with pytest.raises(ValueError, match="x.dcm has no complete pixel data; replace the file"):
        dicom.decode(dataset, "x.dcm")
    with pytest.raises(ValueError, match=r"x.dcm is not an intact DICOM file \(4 bytes\): it lacks the prefix DICM; "):
        dicom.read(b"DICM", "x.dcm")
    jpeg = codec.encode(cv2.resize(PICTURE, (640, 480)), 95)
    complete = made(jpeg, pydicom.uid.JPEGBaseline8Bit)
    with pytest.raises(ValueError, match="x.dcm has no complete pixel data"):
        decode(complete[: len(complete) // 2])
    with pytest.raises(ValueError, match="x.dcm is truncated"):
        decode(made(jpeg[:3000], pydicom.uid.JPEGBaseline8Bit))
    dataset = dicom.read(made(jpeg, pydicom.uid.JPEGBaseline8Bit), "x.dcm")
    dataset.PixelData = b"no items of encapsulated pixel data"
    with pytest.raises(ValueError, match="x.dcm is truncated or damaged: .*; replace the file"):
        dicom.decode(dataset, "x.dcm")


REFUSED = {
    "SC_rgb_rle_16bit_2frame.dcm": "has 2 frames",
    "SC_rgb_rle_2frame.dcm": "has 2 frames",
    "SC_rgb_rle_32bit_2frame.dcm": "has 2 frames",
    "examples_overlay.dcm": "is MONOCHROME2",
    "examples_ybr_color.dcm": "has 30 frames",
}


def reference(dataset):
    """pydicom's own RGB, scaled to 0..255."""
    if dataset.file_meta.TransferSyntaxUID == pydicom.uid.JPEGLosslessSV1:
        # No plugin here decodes it; it holds the picture of this file, uncompressed (checked with gdcm: no difference).
        return None
    found = pydicom.pixels.pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return pydicom.pixels.apply_color_lut(found, dataset) / 65535 * 255
    return found / (2**dataset.BitsStored - 1) * 255


@pytest.mark.realdata
def test_every_real_variant_has_the_right_colors_or_is_refused(real_data):
    logging.getLogger("pydicom").setLevel(logging.ERROR)
    files = sorted((real_data / "dicom_variants").glob("*.dcm"))
    assert len(files) == 30
    for path in files:
        dataset = dicom.read(path.read_bytes(), path.name)
        square = functools.partial(
            preprocessing.resize_to_square, functools.partial(dicom.decode, dataset, path.name), 64
        )
        if path.name in REFUSED:
            with pytest.raises(ValueError, match=f"{path.name} {REFUSED[path.name]}"):
                square()
            continue
        image, size = square()
        expected = reference(dataset)
        if expected is None:
            expected = reference(dicom.read((real_data / "dicom_variants" / "SC_rgb_rle.dcm").read_bytes(), ""))
        assert size == expected.shape[1::-1]
        shrinks = cv2.INTER_AREA if min(size) >= 64 else cv2.INTER_CUBIC
        expected = cv2.resize(expected[..., ::-1].astype(np.float32), (64, 64), interpolation=shrinks)
        assert np.abs(image - expected).mean() <= 2, path.name


@pytest.mark.realdata
def test_real_frames_are_sampled_in_three_ways_under_one_header(real_data):
    kinds = set()
    for path in sorted((real_data / "isic2020" / "dicom").glob("*/*.dcm")):
        dataset = dicom.read(path.read_bytes(), path.name)
        assert dataset.PhotometricInterpretation == "YBR_FULL_422"
        frame = pydicom.encaps.get_frame(dataset.PixelData, 0, number_of_frames=1)
        start = max(frame.find(b"\xff\xc0"), frame.find(b"\xff\xc2"))
        kinds.add(frame[start + 11])
        image, _ = dicom.decode(dataset, path.name, at_least=64)
        expected = cv2.resize(pydicom.pixels.pixel_array(dataset)[..., ::-1], image.shape[1::-1], interpolation=3)
        assert np.abs(image.astype(int) - expected).mean() <= 2
    # Luminance sampled 1x1, 2x1 or 2x2 to each colour sample: 4:4:4, 4:2:2 and 4:2:0.
    assert kinds == {0x11, 0x21, 0x22}
