import os
import zipfile

import cv2
import h5py
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


def encode(extension):
    return cv2.imencode(extension, np.zeros((8, 8, 3), np.uint8))[1].tobytes()


def test_files_without_a_known_extension_are_images_if_their_first_bytes_are(tmp_path):
    for name, content in {
        "a": encode(".jpg"),
        "b.IMA": made(),
        "1.2.840.7": made(),
        "c.jfif": encode(".jpg"),
        "d.txt": encode(".jpg"),
        "e.jfif": b"text",
        "DICOMDIR": made(),
    }.items():
        (tmp_path / name).write_bytes(content)
    assert list(image_files.find_images(str(tmp_path), "test")) == ["1.2.840.7", "a", "b", "c"]


def test_what_is_passed_over_is_counted_and_named(tmp_path, capsys):
    for name in ("a.jpg", "._a.jpg", ".DS_Store", "notes.txt", "table.csv"):
        (tmp_path / name).write_bytes(b"text")
    (tmp_path / "b.tif").write_bytes(encode(".tiff"))
    (tmp_path / "c").write_bytes(encode(".bmp"))
    (tmp_path / "copy.bak").write_bytes(encode(".png"))
    for name in ("P1.jpg", "P2", "train", "test"):
        (tmp_path / name).mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "test" / "x.gif").write_bytes(b"GIF89a")
    assert list(image_files.find_images(str(tmp_path), "test")) == ["a", "b"]
    assert capsys.readouterr().out.splitlines() == [
        f"note: passed over in {tmp_path}: 1 BMP files (first: c), 1 GIF files (first: test/x.gif), 1 PNG files with "
        "another extension (first: copy.bak), 2 hidden files (first: .DS_Store), 2 other files (first: notes.txt), 1 "
        "pipes, devices or broken links (first: pipe.jpg)"
    ]


def test_images_of_all_formats_and_places_are_prepared_alike(tmp_path):
    picture = np.full((8, 8, 3), (30, 60, 90), np.uint8)
    (tmp_path / "nested").mkdir()
    with h5py.File(tmp_path / "nested" / "images.hdf5", "w") as file:
        file["h"] = np.bytes_(cv2.imencode(".png", picture)[1].tobytes())
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for extension in ("png", "bmp", "tif"):
            archive.writestr(f"deep/z_{extension}.{extension}", cv2.imencode(f".{extension}", picture)[1].tobytes())
    other = tmp_path / "other, with a comma"
    other.mkdir()
    for extension in ("png", "bmp", "tiff", "webp"):
        lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if extension == "webp" else []
        encoded = cv2.imencode(f".{extension}", picture, lossless)[1].tobytes()
        (other / f"d_{extension}.{extension.upper()}").write_bytes(encoded)
    found = image_files.find_images(f"{other},{tmp_path / 'nested'},{tmp_path / 'images.zip'}", "train")
    assert sorted(found) == ["d_bmp", "d_png", "d_tiff", "d_webp", "h", "z_bmp", "z_png", "z_tif"]
    for (path,) in found.values():
        assert (image_files.prepare_image(path, {"image_size": 8}) == picture[..., ::-1]).all(), path
    assert image_files.find_type(found["h"][0]) == "hdf5"
    assert image_files.find_type(found["z_bmp"][0]) == image_files.find_type(found["d_bmp"][0]) == "bmp"


def test_sources_that_do_not_exist_or_hold_no_images_are_named(tmp_path):
    (tmp_path / "a.csv").touch()
    (tmp_path / "a.zip").touch()
    for text, message in {
        f"{tmp_path},{tmp_path}/none": f"{tmp_path}/none not found; check the path",
        f"{tmp_path}/none.zip": f"{tmp_path}/none.zip not found; check the path",
        f"{tmp_path}/a.csv": "expected image files .*, directories .* or HDF5 files, got .*a.csv; name one",
    }.items():
        with pytest.raises(errors.IsicError, match=message):
            image_files.find_images(text, "train")
        assert not image_files.is_source(text)
    assert image_files.split_sources(f"{tmp_path},{tmp_path}") == [str(tmp_path)]
    assert image_files.is_source(f"{tmp_path},{tmp_path}/a.zip")


def test_a_single_file_is_a_source_of_one_image(tmp_path):
    picture = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    (tmp_path / "train").mkdir()
    for name in ("photo.PNG", "1.2.840.7", "train/other.png"):
        (tmp_path / name).write_bytes(picture)
    for name, image in {"photo.PNG": "photo", "1.2.840.7": "1.2.840.7", "train/other.png": "other"}.items():
        path = str(tmp_path / name)
        assert image_files.is_source(path)
        assert image_files.find_images(path, "test") == {image: [path]}
    both = f"{tmp_path}/photo.PNG,{tmp_path}/train/other.png,{tmp_path}/photo.PNG"
    assert list(image_files.find_images(both, "test")) == ["photo", "other"]
    # A file of another kind is none, whatever its name.
    (tmp_path / "1.2.840.8").write_bytes(b"text")
    assert not image_files.is_source(f"{tmp_path}/1.2.840.8")


def test_nothing_is_said_where_nothing_is_passed_over(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    (tmp_path / "a.jpg").touch()
    image_files.find_images(str(tmp_path), "test")
    assert image_files.list_splits(str(tmp_path)) == ["train"]
    assert capsys.readouterr().out == ""
