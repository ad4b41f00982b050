import os
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.imaging.sources import addresses

JPEG = b"\xff\xd8 made up \xff\xd9"


def write_zip(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"train/{name}.jpg", content)
    return str(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("d/a.ZIP::train/b.jpg", ("d/a.ZIP", "train/b.jpg")),
        ("a.hdf5::ISIC_1", ("a.hdf5", "ISIC_1")),
        ("gs://bucket/a.h5::x", ("gs://bucket/a.h5", "x")),
        ("a.zip::b.zip::c.jpg", ("a.zip", "b.zip::c.jpg")),
        ("a::b.jpg", ("a::b.jpg", "")),
        ("a.zip", ("a.zip", "")),
        ("a.zip::", ("a.zip::", "")),
    ],
)
def test_an_address_is_split_after_its_container(path, expected):
    assert addresses.split(path) == expected
    if expected[1]:
        assert addresses.join(*expected) == path


def test_images_are_read_and_measured_in_place_and_a_changed_container_is_opened_again(tmp_path):
    path = write_zip(tmp_path / "a.zip", b=JPEG)
    assert addresses.list_members(path) == ["train/b.jpg"]
    assert addresses.read(path, "train/b.jpg") == JPEG
    assert addresses.read_start(path, "train/b.jpg", 2) == JPEG[:2]
    assert addresses.measure(f"{path}::train/b.jpg") == len(JPEG)
    assert sorted(os.listdir(tmp_path)) == ["a.zip"]
    os.utime(write_zip(tmp_path / "a.zip", c=JPEG * 2), ns=(1, 1))
    assert addresses.list_members(path) == ["train/c.jpg"]
    assert addresses.measure(path) == os.path.getsize(path)
    assert addresses.measure("none.zip::c.jpg") == addresses.measure("none.jpg") == -1
    large = write_zip(tmp_path / "b.zip", b=bytes((1 << 20) + 1))
    with pytest.raises(errors.CorruptRecordError, match="b.zip::train/b.jpg needs 1 MB to be decoded"):
        addresses.read(large, "train/b.jpg", limits.ImageLimits(max_image_megabytes=1))


def test_directories_of_an_image_and_of_its_container_are_hidden():
    text = "/d/e/a.zip::x/b.jpg is damaged, and /d/e/a.zip is not intact"
    assert addresses.hide_directories(text, "/d/e/a.zip::x/b.jpg") == "b.jpg is damaged, and a.zip is not intact"
    assert addresses.hide_directories("d/b.jpg is damaged", "d/b.jpg") == "b.jpg is damaged"
    assert addresses.hide_directories("b.jpg is damaged", "b.jpg") == "b.jpg is damaged"


def test_containers_in_a_bucket_are_read(tmp_path):
    write_zip(tmp_path / "a.zip", b=JPEG)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["ISIC_1"] = np.bytes_(JPEG)
    for name, member in (("a.zip", "train/b.jpg"), ("a.h5", "ISIC_1")):
        path = f"ram://addresses/{name}"
        tf.io.gfile.makedirs("ram://addresses")
        tf.io.gfile.GFile(path, "wb").write((tmp_path / name).read_bytes())
        assert addresses.list_members(path) == [member]
        assert addresses.read(path, member) == JPEG
        assert addresses.measure(addresses.join(path, member)) == -1
