import numpy as np
import pytest
from tiff_bytes import make_tiff

from tfrecord_tools.imaging.rasters import tiff_directory

RGB = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_size_and_layout_are_read_in_both_orders_of_bytes(order):
    found = tiff_directory.read(make_tiff(RGB, order, t274=6))
    assert found == tiff_directory.TiffImage(
        width=4,
        height=6,
        bits=8,
        samples=3,
        photometric=2,
        orientation=6,
        is_compressed=False,
        num_images=1,
        problem="",
    )
    deep = tiff_directory.read(make_tiff(RGB[..., 0].astype(np.uint16), order, t259=5))
    assert (deep.bits, deep.samples, deep.photometric, deep.is_compressed) == (16, 1, 1, True)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"pages": 2}, "holds 2 images, expected one; save the image to use as a file of its own"),
        ({"t254": 1}, "opens with a preview, expected the image itself"),
        ({"t339": 3}, "holds signed or floating-point samples, expected whole numbers"),
        ({"t262": 8}, r"holds CIE L\*a\*b\* samples of 8 bits, expected gray or RGB of 8 or 16 bits"),
        ({"t262": 5, "t332": 2}, "holds inks samples of 8 bits"),
        ({"t262": 99}, "holds photometric interpretation 99 samples"),
    ],
)
def test_what_would_not_be_read_right_is_a_problem(options, problem):
    image = np.dstack([RGB, RGB[..., :1]]) if options.get("t262") == 5 else RGB
    found = tiff_directory.read(make_tiff(image, **options)).problem
    assert found.startswith(problem.replace("\\", ""))
    assert "; " in found


def test_a_preview_beside_the_image_is_not_counted():
    data = bytearray(make_tiff(RGB, pages=2, t254=0))
    second = data.rindex(b"\xfe\x00\x04\x00")
    data[second + 8] = 1
    found = tiff_directory.read(bytes(data))
    assert (found.num_images, found.problem) == (1, "")


@pytest.mark.parametrize("data", [b"II*\0", make_tiff(RGB)[:20], b"MM\0*\xff\xff\xff\xff" + bytes(100)])
def test_a_damaged_directory_is_none(data):
    assert tiff_directory.read(data) is None


def test_directories_in_a_circle_are_read_once():
    data = bytearray(make_tiff(RGB))
    count = data[8]
    data[10 + 12 * count : 14 + 12 * count] = (8).to_bytes(4, "little")
    assert tiff_directory.read(bytes(data)).num_images == 1


def test_orientation_and_opacity_are_taken_out_and_nothing_else():
    plain = make_tiff(RGB, t274=1, t338=0)
    assert tiff_directory.neutralize(make_tiff(RGB, t274=6, t338=2)) == plain
    assert tiff_directory.neutralize(plain) == plain
    associated = make_tiff(RGB, t338=1)
    assert tiff_directory.neutralize(associated) == associated
