import pytest
from image_bytes import jpeg, png, rotated_png

from tfrecord_tools.imaging import png_chunks


def test_a_header_states_the_size_of_the_image_and_of_its_data():
    header = png_chunks.read_header(png())
    # Three bytes per pixel, and one that states the filter of each of the 48 rows.
    assert (header.width, header.height, header.num_bytes) == (64, 48, 48 * (1 + 3 * 64))
    assert png_chunks.read_header(jpeg()) is None
    assert png_chunks.read_header(png()[:30]) is None


def test_the_orientation_is_that_of_the_exif_chunk():
    assert png_chunks.read_orientation(rotated_png(6)) == 6
    assert png_chunks.read_orientation(png()) == 1


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (png(), ""),
        (png() + b"more", ""),
        (png()[:100], "is truncated in its chunk IDAT"),
        (png()[:-12], "is truncated: it has no last chunk"),
        (png()[:60] + b"?" + png()[61:], "is damaged in its chunk IDAT: its checksum differs"),
        (png()[:20] + b"?" + png()[21:], "is damaged in its chunk IHDR: its checksum differs"),
    ],
)
def test_chunks_are_compared_with_their_checksums(data, problem):
    assert png_chunks.find_damage(data) == problem
