import functools

import cv2
import numpy as np
import PIL.Image
import pytest

from tfrecord_tools.imaging import codec, dicom, preprocessing

GRADIENT = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), -1).astype(np.uint8)


def png(image):
    return cv2.imencode(".png", image)[1].tobytes()


def test_decode_gives_png_back_exactly():
    image, size = codec.decode(png(GRADIENT), "x.png", at_least=8)
    assert np.array_equal(image, GRADIENT)
    assert size == (48, 64)


def test_decode_takes_grey_and_transparent_files_as_colour():
    assert codec.decode(png(GRADIENT[..., 0]), "x.png")[0].shape == (64, 48, 3)
    assert codec.decode(png(np.dstack([GRADIENT, GRADIENT[..., 0]])), "x.png")[0].shape == (64, 48, 3)


def test_encode_keeps_a_smooth_image_within_two_levels():
    decoded = codec.decode(codec.encode(GRADIENT, 95), "x.jpg")[0].astype(int)
    assert np.abs(decoded - GRADIENT).mean() < 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (codec.encode(GRADIENT, 95)[:-200], "x.jpg is truncated"),
        (b"", "no whole JPEG or PNG file"),
        (b"GIF89a" + bytes(100), "no whole JPEG or PNG file"),
        (png(GRADIENT)[:60], "no whole JPEG or PNG file"),
    ],
)
def test_decode_names_a_damaged_file(data, message):
    with pytest.raises(ValueError, match=message):
        codec.decode(data, "x.jpg")


def test_data_after_the_end_of_an_image_are_ignored():
    data = codec.encode(GRADIENT, 95)
    assert np.array_equal(codec.decode(data + bytes(5000), "x.jpg")[0], codec.decode(data, "x.jpg")[0])


def test_decode_refuses_more_pixels_than_its_limit(monkeypatch):
    monkeypatch.setattr(codec, "MAX_PIXELS", 1000)
    with pytest.raises(ValueError, match="x.png has 48x64 pixels, more than 1000"):
        codec.decode(png(GRADIENT), "x.png")


def test_decode_refuses_a_size_that_a_header_claims_before_any_memory_is_taken():
    data = bytearray(codec.encode(GRADIENT, 95))
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    with pytest.raises(ValueError, match="x.jpg has 65535x65535 pixels, more than 268435456; shrink it"):
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


def turned(data, orientation):
    """Adds an EXIF block with nothing but an orientation to a JPEG."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    return data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:]


@pytest.mark.parametrize("at_least", [None, 100])
def test_decode_turns_upright_and_gives_the_upright_size(at_least):
    data = turned(codec.encode(cv2.resize(GRADIENT, (400, 200)), 95), 6)
    image, size = codec.decode(data, "x.jpg", at_least)
    assert image.shape[0] == 2 * image.shape[1]
    assert size == (200, 400)
    assert codec.decode(data, "x.jpg", at_least, upright=False)[1] == (400, 200)


def test_a_header_says_size_and_whether_colours_are_known():
    jpeg = codec.encode(GRADIENT, 95)
    assert codec.jpeg_header(jpeg) == (48, 64, True)
    # Without its JFIF marker, and with component identifiers 0, 1, 2, nothing tells YCbCr from RGB.
    bare = bytearray(jpeg[:2] + jpeg[2 + 2 + int.from_bytes(jpeg[4:6], "big") :])
    start = bare.index(b"\xff\xc0")
    assert codec.jpeg_header(bytes(bare)) == (48, 64, True)
    bare[start + 10 : start + 19 : 3] = b"\0\1\2"
    assert codec.jpeg_header(bytes(bare)) == (48, 64, False)
    assert codec.jpeg_header(png(GRADIENT)) is None
    assert codec.jpeg_header(jpeg[:20]) is None


def square(image, size, **options):
    return preprocessing.resize_to_square(lambda **_: (image, image.shape[1::-1]), size, **options)[0]


def test_stretch_averages_areas_where_it_shrinks():
    image = 4 * np.arange(16, dtype=np.uint8).reshape(4, 4, 1).repeat(3, 2)
    # Means of the four 2x2 blocks; the first is (0 + 4 + 16 + 20) / 4.
    assert square(image, 2)[..., 0].tolist() == [[10, 18], [42, 50]]


def test_crop_takes_the_centre_and_pad_leaves_black():
    image = np.zeros((2, 6, 3), np.uint8)
    image[:, 2:4] = 100
    assert square(image, 2, resize="crop")[..., 0].tolist() == [[100, 100], [100, 100]]
    # 6x2 becomes 3x1 in a 3x3 square, its row in the middle.
    assert square(image, 3, resize="pad")[..., 0].tolist() == [[0, 0, 0], [0, 100, 0], [0, 0, 0]]


@pytest.mark.parametrize("resize", preprocessing.RESIZE_MODES)
@pytest.mark.parametrize("shape", [(10, 30), (30, 10), (7, 7), (16, 16), (1, 400)])
def test_every_mode_gives_a_square_whatever_comes(shape, resize):
    result = square(np.full((*shape, 3), 77, np.uint8), 16, resize=resize)
    assert result.shape == (16, 16, 3)
    assert set(np.unique(result)) <= ({0, 77} if resize == "pad" else {77})


def framed(shape):
    """A grey picture inside a black circle or frame, with a black lesion in its middle."""
    image = np.full((200, 300, 3), 150, np.uint8)
    y, x = np.mgrid[:200, :300]
    if shape == "circle":
        image[np.hypot(x - 150, y - 100) > 98] = 5
    else:
        image[:, :30] = image[:, 260:] = image[:20] = 5
    image[90:110, 140:160] = 0
    return image


@pytest.mark.parametrize("size", [64, 300])
@pytest.mark.parametrize("shape", ["circle", "frame"])
def test_trim_border_leaves_the_picture_and_its_black_lesion(shape, size):
    data = codec.encode(cv2.resize(framed(shape), (1500, 1000), interpolation=cv2.INTER_NEAREST), 95)

    def decode(**scale):
        return codec.decode(data, "x.jpg", **scale)

    result, original = preprocessing.resize_to_square(decode, size, trim_border=True)
    assert original == (1500, 1000)
    assert (result[[0, -1]].max(axis=2) < 60).mean() < 0.08
    assert (result[:, [0, -1]].max(axis=2) < 60).mean() < 0.08
    assert (result.max(axis=2) < 60).any()


def test_find_content_is_exact_for_a_frame_and_leaves_the_square_of_a_circle():
    assert preprocessing.find_content(np.full((50, 80, 3), 150, np.uint8)) == (0, 1, 0, 1)
    found = preprocessing.find_content(framed("frame"))
    assert np.allclose(found, (20 / 200, 1, 30 / 300, 260 / 300), atol=0.016)
    top, bottom, left, right = preprocessing.find_content(framed("circle"))
    # The square in a circle of radius 98 has a side of 139; an edge may be black by a twentieth.
    assert 139 <= (bottom - top) * 200 < 160
    assert 139 <= (right - left) * 300 < 160


def test_two_fifths_of_a_side_always_stay():
    top, bottom, left, right = preprocessing.find_content(np.zeros((40, 60, 3), np.uint8))
    assert 0.4 <= bottom - top < 0.5
    assert 0.4 <= right - left < 0.5


def test_shades_of_gray_takes_the_light_out_and_keeps_its_brightness():
    image = np.tile(np.array([50, 100, 200], np.uint8), (4, 4, 1))
    # One colour is all light: every channel becomes the root mean square, sqrt((2500 + 10000 + 40000) / 3) = 132.3.
    assert np.unique(preprocessing.shades_of_gray(image)).tolist() == [132]
    grey = GRADIENT[..., :1].repeat(3, 2)
    assert np.array_equal(preprocessing.shades_of_gray(grey), grey)
    assert not preprocessing.shades_of_gray(np.zeros((2, 2, 3), np.uint8)).any()


def test_the_light_of_two_levels_is_worked_by_hand():
    # Means of order 6: of (0, 128) 128 / 2^(1/6) = 114.0, of (128, 128) 128; their root mean square is 123.5.
    image = np.array([[[0, 128, 128], [128, 128, 128]]], np.uint8)
    assert preprocessing.shades_of_gray(image).tolist() == [[[0, 124, 124], [139, 124, 124]]]


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.realdata
@pytest.mark.parametrize("resize", preprocessing.RESIZE_MODES)
def test_scaled_decodes_of_real_images_are_within_40_db_of_a_lanczos_resize(real_data, resize):
    for path in sorted((real_data / "isic2020" / "dicom").glob("*/*.dcm")):
        dataset = dicom.read(path.read_bytes(), path.name)
        decode = functools.partial(dicom.decode, dataset, path.name)
        ours = codec.decode(codec.encode(preprocessing.resize_to_square(decode, 1024, resize)[0], 95), path.name)[0]
        full = decode()[0]
        height, width = full.shape[:2]
        if resize == "crop":
            side = min(height, width)
            full = full[(height - side) // 2 :, (width - side) // 2 :][:side, :side]
        shape = (1024, 1024)
        if resize == "pad":
            shape = tuple(round(side * 1024 / max(height, width)) for side in (width, height))
        expected = np.asarray(PIL.Image.fromarray(full).resize(shape, PIL.Image.Resampling.LANCZOS))
        assert psnr(ours, preprocessing.pad(expected, 1024)) > 40, path.name
