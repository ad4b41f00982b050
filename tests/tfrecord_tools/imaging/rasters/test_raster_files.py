import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps
from tiff_bytes import make_tiff

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.imaging.rasters import raster_files

PICTURE = np.stack(np.broadcast_arrays(np.arange(40)[:, None] * 5, np.arange(60) * 4, 90), -1).astype(np.uint8)
BGR = PICTURE[..., ::-1]
GRAY = PICTURE[..., 0]
OPACITY = np.full((40, 60), 128, np.uint8)
IMAGE = Image.fromarray(PICTURE)


def encode(form, image=IMAGE, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


PALETTE = IMAGE.quantize(16)
PALETTE_BGR = np.asarray(PALETTE.convert("RGB"))[..., ::-1]
SPREAD = PICTURE.astype(np.uint16) * 257


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (encode("BMP"), BGR),
        (encode("BMP", PALETTE), PALETTE_BGR),
        (encode("BMP", Image.fromarray(GRAY)), GRAY),
        (encode("BMP", Image.fromarray(np.dstack([PICTURE, OPACITY]))), BGR),
        (encode("WEBP", lossless=True), BGR),
        (encode("WEBP", Image.fromarray(np.dstack([PICTURE, OPACITY])), lossless=True, exact=True), BGR),
        (encode("TIFF"), BGR),
        (encode("TIFF", PALETTE), PALETTE_BGR),
        (encode("TIFF", Image.fromarray(GRAY > 90)), (GRAY > 90) * 255),
        (encode("TIFF", IMAGE.convert("CMYK")), BGR),
        (make_tiff(PICTURE, ">"), BGR),
        (make_tiff(SPREAD), BGR),
        (make_tiff(SPREAD, ">"), BGR),
        (make_tiff(SPREAD[..., 0]), GRAY),
        (make_tiff(255 - GRAY, t262=0), GRAY),
        (make_tiff(np.dstack([PICTURE, OPACITY]), t338=1), BGR),
        (make_tiff(np.dstack([PICTURE, OPACITY]), t338=2), BGR),
        (make_tiff(np.dstack([SPREAD, OPACITY]).astype(np.uint16), t338=2), BGR),
    ],
)
def test_each_kind_has_the_right_pixels(data, expected):
    image, size = raster_files.decode(data, "x", at_least=8)
    expected = expected if expected.ndim == 3 else np.repeat(expected[..., None], 3, 2)
    assert size == (60, 40)
    assert np.array_equal(image, expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_turns_tiff_and_webp_files(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encode("PNG", exif=exif)))))[..., ::-1]
    for data in (make_tiff(PICTURE, t274=orientation), encode("WEBP", lossless=True, exif=exif)):
        image, size = raster_files.decode(data, "x")
        assert np.array_equal(image, expected)
        assert size == expected.shape[1::-1]


@pytest.mark.parametrize("data", [encode("BMP"), encode("WEBP", lossless=True), encode("TIFF")])
def test_a_truncated_file_is_named_and_nothing_printed(data, capfd):
    kind = raster_files.image_formats.find_format(data)
    with pytest.raises(errors.CorruptRecordError, match=rf"^x is not an intact {kind} file \(\d+ bytes\); replace the"):
        raster_files.decode(data[: len(data) * 3 // 4], "x")
    assert capfd.readouterr().err == ""


def test_several_images_and_other_samples_are_refused():
    with pytest.raises(
        errors.CorruptRecordError, match="^x.tif is a TIFF file, but holds 2 images, expected one; save"
    ):
        raster_files.decode(make_tiff(PICTURE, pages=2), "x.tif")
    animation = encode("WEBP", save_all=True, append_images=[Image.fromarray(255 - PICTURE)])
    with pytest.raises(errors.CorruptRecordError, match="^x.webp is a WebP file, but is an animation, expected one"):
        raster_files.decode(animation, "x.webp")


@pytest.mark.parametrize("data", [encode("BMP"), encode("WEBP", lossless=True), make_tiff(PICTURE)])
def test_limits_hold_before_anything_is_decoded(data):
    with pytest.raises(errors.CorruptRecordError, match="x has 60x40 pixels, expected sides of at most 50; shrink it"):
        raster_files.decode(data, "x", limits=limits.ImageLimits(max_image_side=50))
    with pytest.raises(errors.CorruptRecordError, match="x has 60x40 pixels, expected at most 0.001 million"):
        raster_files.decode(data, "x", limits=limits.ImageLimits(max_image_megapixels=0.001))


def test_a_bitmap_that_needs_more_memory_than_the_limit_is_refused():
    data = cv2.imencode(".bmp", np.zeros((600, 600, 3), np.uint8))[1].tobytes()
    with pytest.raises(errors.CorruptRecordError, match="x needs 1 MB to be decoded, expected at most 1"):
        raster_files.decode(data, "x", limits=limits.ImageLimits(max_image_megabytes=1))


def test_damage_of_a_compressed_tiff_that_its_decoder_only_prints_is_found():
    data = encode("TIFF", compression="tiff_adobe_deflate")
    image, _ = raster_files.decode(data, "x.tif")
    assert np.array_equal(image, BGR)
    middle = len(data) * 2 // 3
    damaged = data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :]
    with pytest.raises(errors.CorruptRecordError, match="x.tif is damaged: .*TIFF_Error.*; replace the file"):
        raster_files.decode(damaged, "x.tif")
