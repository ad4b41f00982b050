import pytest
from image_bytes import cmyk_jpeg, exif_block, jpeg, png, rotated_jpeg, segment

from tfrecord_tools.imaging import jpeg_markers


def test_a_header_states_size_components_and_markers():
    header = jpeg_markers.read_header(jpeg())
    assert (header.width, header.height, header.components, header.identifiers) == (64, 48, 3, b"\1\2\3")
    assert (header.has_jfif, header.adobe_transform, header.orientation, header.frame) == (True, None, 1, 0xC0)
    assert header.is_marked
    assert not header.is_progressive
    assert not header.is_lossless
    assert jpeg()[header.scan : header.scan + 2] == b"\xff\xda"
    assert header.count_scans(jpeg()) == 1


def test_a_header_of_cmyk_has_four_components_and_perhaps_adobes_marker():
    header = jpeg_markers.read_header(cmyk_jpeg(marked=True))
    assert (header.components, header.adobe_transform, header.is_marked) == (4, 0, True)
    assert header.count_scans(cmyk_jpeg(marked=True)) == 4
    assert not jpeg_markers.read_header(cmyk_jpeg(marked=False)).is_marked


@pytest.mark.parametrize("before", [b"", segment(0xFE, b"text"), segment(0xE2, bytes(5000)), b"\xff\xff\xff"])
def test_the_first_orientation_counts_wherever_it_is_before_the_image(before):
    exif = [segment(0xE1, b"Exif\0\0" + exif_block(number)) for number in (6, 3)]
    assert jpeg_markers.read_header(jpeg(segments=before + exif[0] + exif[1])).orientation == 6


def test_other_files_and_a_file_that_ends_early_have_no_header():
    assert jpeg_markers.read_header(png()) is None
    assert jpeg_markers.read_header(jpeg()[:20]) is None
    assert jpeg_markers.read_header(rotated_jpeg(6)[:60]) is None
