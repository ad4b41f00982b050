import cv2
import numpy as np
import pytest
from dicom_files import PICTURE, made

from tfrecord_tools import errors
from tfrecord_tools.imaging import image_files


@pytest.mark.parametrize(
    ("path", "data", "expected"),
    [
        ("a.jpg", bytes(128) + b"DICM", True),
        ("a.DCM", b"", True),
        ("a.dicom", b"\xff\xd8", True),
        ("a.jpg", bytes(127) + b"DICM", False),
        ("dcm", b"\xff\xd8", False),
    ],
)
def test_dicom_is_recognized_by_magic_bytes_or_extension(path, data, expected):
    assert image_files.is_dicom(path, data) is expected


def test_a_dicom_file_of_any_name_is_decoded(tmp_path):
    (tmp_path / "scan.jpg").write_bytes(made())
    image, size = image_files.open_file(str(tmp_path / "scan.jpg"))()
    assert np.array_equal(image, PICTURE[..., ::-1])
    assert size == (64, 48)


def test_a_damaged_dicom_file_is_named_when_it_is_opened(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"text")
    with pytest.raises(errors.CorruptRecordError, match="a.dcm is not an intact DICOM file"):
        image_files.open_file(str(tmp_path / "a.dcm"))


def test_prepare_image_returns_a_square_in_rgb(tmp_path):
    # 2x4 pixels, BGR: blue on the left, red on the right. The center square has one column of each.
    pixels = np.zeros((2, 4, 3), np.uint8)
    pixels[:, :2, 0] = 200
    pixels[:, 2:, 2] = 100
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    square = image_files.prepare_image(str(tmp_path / "a.png"), {"image_size": 2, "resize": "crop"})
    assert square.tolist() == [[[0, 0, 200], [100, 0, 0]]] * 2


def test_find_images_lists_names_in_order_and_ignores_other_files(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "train").mkdir()
    for name in ("b.dicom", "a.JPEG", "notes.txt", "a.png", "test/c.dcm", "train/d.jpg"):
        (tmp_path / name).touch()
    assert image_files.find_images(str(tmp_path), "test") == {
        "a": [f"{tmp_path}/a.JPEG", f"{tmp_path}/a.png"],
        "b": [f"{tmp_path}/b.dicom"],
        "c": [f"{tmp_path}/test/c.dcm"],
    }
