import cv2
import image_bytes
import numpy as np
import pytest

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, limits

GRADIENT = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), -1).astype(np.uint8)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_decode_returns_a_png_exactly():
    image, size = codec.decode(png(GRADIENT), "x.png", at_least=8)
    assert np.array_equal(image, GRADIENT)
    assert size == (48, 64)


def test_decode_converts_gray_and_transparent_files_to_color():
    assert codec.decode(png(GRADIENT[..., 0]), "x.png")[0].shape == (64, 48, 3)
    assert codec.decode(png(np.dstack([GRADIENT, GRADIENT[..., 0]])), "x.png")[0].shape == (64, 48, 3)


def test_encode_keeps_a_smooth_image_within_two_levels():
    decoded = codec.decode(codec.encode(GRADIENT, 95), "x.jpg")[0].astype(int)
    assert np.abs(decoded - GRADIENT).mean() < 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (codec.encode(GRADIENT, 95)[:-200], "x.jpg is truncated"),
        (b"", "not an intact JPEG or PNG file"),
        (b"GIF89a" + bytes(100), "not an intact JPEG or PNG file"),
        (png(GRADIENT)[:60], "not an intact JPEG or PNG file"),
    ],
)
def test_decode_names_a_damaged_file(data, message):
    with pytest.raises(ValueError, match=message):
        codec.decode(data, "x.jpg")


def test_data_after_the_end_of_an_image_are_ignored():
    data = codec.encode(GRADIENT, 95)
    assert np.array_equal(codec.decode(data + bytes(5000), "x.jpg")[0], codec.decode(data, "x.jpg")[0])


@pytest.mark.parametrize("data", [png(GRADIENT), codec.encode(GRADIENT, 95)])
def test_decode_refuses_more_pixels_than_its_limit(data):
    few = limits.ImageLimits(max_image_megapixels=0.001)
    with pytest.raises(ValueError, match="x.png has 48x64 pixels, expected at most 0.001 million; shrink it"):
        codec.decode(data, "x.png", limits=few)
    narrow = limits.ImageLimits(max_image_side=60)
    with pytest.raises(ValueError, match="x.png has 48x64 pixels, expected sides of at most 60; shrink it"):
        codec.decode(data, "x.png", limits=narrow)


@pytest.mark.parametrize(
    "data",
    [
        cv2.imencode(".png", np.zeros((700, 700, 4), np.uint16))[1].tobytes(),
        cv2.imencode(".jpg", np.zeros((400, 400, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    ],
    ids=["png of 8 bytes a pixel", "progressive jpeg of 9 bytes a pixel"],
)
def test_decode_refuses_what_needs_more_memory_than_its_limit(data):
    with pytest.raises(ValueError, match="x needs [13] MB to be decoded, expected at most 1; shrink it, or raise"):
        codec.decode(data, "x", limits=limits.ImageLimits(max_image_megabytes=1))
    assert codec.decode(data, "x")[0].shape[2] == 3


@pytest.mark.parametrize("at_least", [None, 8])
@pytest.mark.parametrize("convert", [lambda data: data, lambda data: data + b"appended"])
def test_what_libjpeg_would_only_warn_of_is_damage(at_least, convert, capfd):
    data = codec.encode(GRADIENT, 95)
    middle = len(data) - 300
    hole = convert(data[:middle] + bytes(100) + data[middle + 100 :])
    with pytest.raises(
        errors.CorruptRecordError, match="x.jpg is not an intact JPEG .*: Corrupt JPEG data: .*; replace"
    ):
        codec.decode(hole, "x.jpg", at_least)
    assert capfd.readouterr().err == ""


def test_damage_of_a_png_is_named_and_not_printed(capfd):
    data = png(GRADIENT)
    with pytest.raises(
        errors.CorruptRecordError, match="x.png is not .*: it is damaged in its chunk IDAT: its checksum"
    ):
        codec.decode(data[:100] + bytes(8) + data[108:], "x.png")
    assert capfd.readouterr().err == ""


def test_the_size_is_read_of_both_formats_and_before_any_rotation():
    assert codec.image_size(png(GRADIENT)) == codec.image_size(codec.encode(GRADIENT, 95)) == (48, 64)
    assert codec.image_size(image_bytes.rotated_jpeg(6)) == (64, 48)


@pytest.mark.parametrize("make", [image_bytes.rotated_jpeg, image_bytes.rotated_png])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_turns_jpeg_and_png_files_as_opencv_does(make, orientation):
    data = make(orientation)
    image, size = codec.decode(data, "x")
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(image, expected)
    assert size == image.shape[1::-1]


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_is_read_as_adobe_writes_it_with_and_without_its_marker(marked):
    # Without black ink (255): red is what cyan leaves, 200; green and blue are full.
    image, _ = codec.decode(image_bytes.cmyk_jpeg(marked), "x.jpg")
    assert image[8, 8].tolist() == [255, 255, 200]


def test_unusual_subsampling_is_decoded_by_opencv_and_its_damage_found():
    data = image_bytes.unusual_jpeg(level=120)
    with pytest.raises(codec.UnusualJpegError):
        codec.decode_here(data, "x.jpg")
    image, size = codec.decode(data, "x.jpg")
    assert (image == 120).all()
    assert size == (48, 24)
    scan = data.index(b"\xff\xda") + 10
    with pytest.raises(errors.CorruptRecordError, match="x.jpg is damaged: Corrupt JPEG data: .*; replace the file"):
        codec.decode(data[: scan + 2] + b"\xff\xd0" + data[scan + 2 :], "x.jpg")


def test_a_file_of_another_kind_is_named():
    with pytest.raises(errors.CorruptRecordError, match=r"x.jpg is not .* \(104 bytes\): it is a GIF file; replace"):
        codec.decode(b"GIF8" + bytes(100), "x.jpg")


def test_decode_refuses_the_size_in_a_header_before_it_allocates_memory():
    data = bytearray(codec.encode(GRADIENT, 95))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="x.jpg has 65535x65535 pixels, expected sides of at most 32768; shrink it"):
        codec.decode(bytes(data), "x.jpg")


@pytest.mark.parametrize(
    ("at_least", "longest", "shape"),
    [
        (None, False, (600, 1001)),
        (301, False, (600, 1001)),
        (300, False, (300, 501)),
        (150, False, (150, 251)),
        (10, False, (75, 126)),
        (2000, False, (600, 1001)),
        (251, True, (150, 251)),
    ],
)
def test_decode_picks_the_smallest_scale_that_is_large_enough(at_least, longest, shape):
    data = codec.encode(cv2.resize(GRADIENT, (1001, 600)), 95)
    image, size = codec.decode(data, "x.jpg", at_least, longest)
    assert image.shape == (*shape, 3)
    assert size == (1001, 600)


def rotated_by_exif(data, orientation):
    """Adds an EXIF block with nothing but an orientation to a JPEG."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


@pytest.mark.parametrize("at_least", [None, 100])
def test_decode_rotates_upright_and_returns_the_upright_size(at_least):
    data = rotated_by_exif(codec.encode(cv2.resize(GRADIENT, (400, 200)), 95), 6)
    image, size = codec.decode(data, "x.jpg", at_least)
    assert image.shape[0] == 2 * image.shape[1]
    assert size == (200, 400)
    assert codec.decode(data, "x.jpg", at_least, upright=False)[1] == (400, 200)


def test_a_header_declares_its_size_and_color_space():
    jpeg = codec.encode(GRADIENT, 95)
    assert codec.jpeg_header(jpeg) == (48, 64, True)
    # Without its JFIF marker, and with component identifiers 0, 1, 2, nothing distinguishes YCbCr from RGB.
    bare = bytearray(jpeg[:2] + jpeg[2 + 2 + int.from_bytes(jpeg[4:6], "big") :])
    start = bare.index(b"\xff\xc0")
    assert codec.jpeg_header(bytes(bare)) == (48, 64, True)
    bare[start + 10 : start + 19 : 3] = b"\0\1\2"
    assert codec.jpeg_header(bytes(bare)) == (48, 64, False)
    assert codec.jpeg_header(png(GRADIENT)) is None
    assert codec.jpeg_header(jpeg[:20]) is None
