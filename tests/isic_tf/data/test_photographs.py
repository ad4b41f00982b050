import cv2
import dicom_files
import image_bytes
import numpy as np
import pytest

from isic_tf.data import photographs
from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, image_files, limits

OPTIONS = {"resize": "crop", "trim_border": "False", "color_constancy": "none"}
WIDE = cv2.resize(image_bytes.SMOOTH, (640, 480), interpolation=cv2.INTER_CUBIC)
FILES = {
    "large.jpg": image_bytes.jpeg(WIDE),
    "turned.jpg": image_bytes.rotated_jpeg(6, WIDE),
    "small.jpg": image_bytes.jpeg(),
    "turned.png": image_bytes.rotated_png(8),
    "lesion.dcm": dicom_files.made(),
}


@pytest.mark.parametrize("name", FILES)
def test_both_images_are_those_of_the_reader_of_record_sets(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(FILES[name])
    found = photographs.PhotographReader(32, OPTIONS).read_file(str(path))
    np.testing.assert_array_equal(
        found.square, image_files.prepare_image(str(path), {"image_size": 32, "resize": "crop"})
    )
    np.testing.assert_array_equal(found.whole[..., ::-1], image_files.open_file(str(path))(at_least=32768)[0])
    assert not found.is_color_guessed


@pytest.mark.parametrize(("name", "times"), [("large.jpg", 2), ("small.jpg", 1), ("turned.png", 1)])
def test_an_image_is_decoded_once_unless_the_network_sees_a_smaller_decode(name, times, monkeypatch):
    decode, calls = codec.decode, []
    monkeypatch.setattr(codec, "decode", lambda *given, **options: calls.append(options) or decode(*given, **options))
    found = photographs.PhotographReader(32, OPTIONS).read_bytes(FILES[name], "image 1")
    assert len(calls) == times
    assert found.whole.shape[:2] == {"large.jpg": (480, 640), "small.jpg": (48, 64), "turned.png": (64, 48)}[name]


def test_a_color_that_the_header_leaves_open_is_noted():
    data = dicom_files.made(image_bytes.raw_rgb_jpeg(image_bytes.SMOOTH), "1.2.840.10008.1.2.4.50")
    assert photographs.PhotographReader(32, OPTIONS).read_bytes(data, "image 1").is_color_guessed


def test_limits_hold_and_errors_have_the_name():
    reader = photographs.PhotographReader(32, OPTIONS, limits.ImageFileLimits(max_image_side=639))
    with pytest.raises(errors.CorruptRecordError, match="^image 3 has 640x480 pixels, expected sides of at most 639"):
        reader.read_bytes(FILES["large.jpg"], "image 3")
    with pytest.raises(errors.CorruptRecordError, match="^image 4 is truncated"):
        reader.read_bytes(FILES["small.jpg"][:-100], "image 4")
