import h5py
import numpy as np
import pytest

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.imaging.sources import hdf5_files

JPEG = b"\xff\xd8 made up \xff\xd9"


def write(path, **values):
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file[name] = value
    return str(path)


@pytest.mark.parametrize(
    "value",
    [np.bytes_(JPEG), np.void(JPEG), np.frombuffer(JPEG, np.uint8), np.array([JPEG])],
    ids=["text", "opaque", "numbers", "list of one text"],
)
def test_the_bytes_of_an_image_are_read_in_each_form(tmp_path, value):
    path = write(tmp_path / "a.h5", ISIC_2=value, ISIC_1=value)
    file = hdf5_files.open_file(path)
    assert hdf5_files.list_members(file) == ["ISIC_1", "ISIC_2"]
    assert hdf5_files.read(file, path, "ISIC_1", limits.DEFAULTS) == JPEG
    assert [hdf5_files.measure(file, name) for name in ("ISIC_1", "none")] == [len(JPEG), -1]


def test_zeros_at_the_end_of_an_image_are_read(tmp_path):
    path = write(tmp_path / "a.h5", a=np.bytes_(b"BM image" + bytes(5)))
    assert hdf5_files.read(hdf5_files.open_file(path), path, "a", limits.DEFAULTS) == b"BM image" + bytes(5)


def test_one_data_set_of_something_else_does_not_hide_the_images(tmp_path):
    path = write(tmp_path / "a.h5", ISIC_1=1.5, ISIC_2=np.void(JPEG), ISIC_3=np.void(JPEG))
    assert hdf5_files.list_members(hdf5_files.open_file(path)) == ["ISIC_1", "ISIC_2", "ISIC_3"]


def test_text_of_variable_length_is_read_and_has_no_known_size(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("a", data=JPEG, dtype=h5py.string_dtype())
    file = hdf5_files.open_file(str(tmp_path / "a.h5"))
    assert hdf5_files.read(file, "a.h5", "a", limits.DEFAULTS) == JPEG
    assert hdf5_files.measure(file, "a") == -1


def test_a_file_of_weights_has_no_images(tmp_path):
    file = hdf5_files.open_file(write(tmp_path / "w.h5", weights=np.zeros((3, 3)), layer=np.zeros(2)))
    assert hdf5_files.list_members(file) == []
    assert hdf5_files.list_members(hdf5_files.open_file(write(tmp_path / "e.h5"))) == []


def test_anything_but_bytes_of_this_file_is_refused(tmp_path):
    path = write(tmp_path / "a.h5", number=1.5, large=np.zeros(2 << 20, np.uint8))
    other = write(tmp_path / "other.h5", a=np.bytes_(JPEG))
    (tmp_path / "raw").write_bytes(JPEG)
    with h5py.File(path, "a") as file:
        file.create_group("group")
        file["link"] = h5py.ExternalLink(other, "a")
        file.create_dataset("outside", (4,), np.uint8, external=[(str(tmp_path / "raw"), 0, 4)])
    file = hdf5_files.open_file(path)
    for name, message in {
        "none": "is not a data set of this file",
        "group": "is not a data set of this file",
        "link": "is not a data set of this file",
        "outside": "lies in another file",
        "number": r"holds float64 \[\], expected the bytes of an image file",
        "large": "needs 2 MB to be decoded, expected at most 1",
    }.items():
        with pytest.raises(errors.CorruptRecordError, match=f"a.h5::{name} {message}"):
            hdf5_files.read(file, "a.h5", name, limits.ImageLimits(max_image_megabytes=1))


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "a.hdf5").write_bytes(b"text")
    with pytest.raises(errors.CorruptRecordError, match=r"a.hdf5 is not an intact HDF5 file: .*; download it again"):
        hdf5_files.open_file(str(tmp_path / "a.hdf5"))
    with pytest.raises(FileNotFoundError):
        hdf5_files.open_file(str(tmp_path / "none.hdf5"))
