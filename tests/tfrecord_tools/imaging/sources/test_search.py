import os
import zipfile

import cv2
import h5py
import numpy as np
import tensorflow as tf
from dicom_files import made

from tfrecord_tools.imaging.sources import search

PNG = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


def find(*sources, split="train"):
    found = search.Search(frozenset({"train", "test"}) - {split})
    for source in sources:
        found.search(str(source))
    return found


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_nested_directories_are_searched_for_all_extensions_in_any_case(tmp_path):
    names = ["a/b/c/d.JPG", "a/e.bmp", "f.TIF", "g.tiff", "h.WebP", "i.DCM", "j.jpeg", "train/k.png", "a/test/l.jpg"]
    touch(tmp_path, *names, "test/m.jpg", "n.txt", ".git/o.jpg")
    found = find(tmp_path)
    assert sorted(found.paths) == list("defghijkl")
    assert found.paths["d"] == [f"{tmp_path}/a/b/c/d.JPG"]
    assert found.describe_passed_over() == "1 hidden files (first: .git), 1 other files (first: n.txt)"
    assert list(find(tmp_path, split="test").paths) == ["f", "g", "h", "i", "j", "e", "d", "l", "m"]


def test_a_directory_is_searched_once_whatever_links_lead_to_it(tmp_path):
    touch(tmp_path, "a/b.jpg")
    os.symlink(tmp_path, tmp_path / "a" / "circle")
    os.symlink(tmp_path / "a", tmp_path / "link")
    os.symlink(tmp_path / "none", tmp_path / "broken.jpg")
    found = find(tmp_path, tmp_path / "a")
    assert found.paths == {"b": [f"{tmp_path}/a/b.jpg"]}
    assert "1 pipes, devices or broken links (first: broken.jpg)" in find(tmp_path).describe_passed_over()


def test_files_of_an_export_have_no_extension_and_its_table_of_contents_is_no_image(tmp_path):
    touch(tmp_path, "DICOMDIR", "P1/S1/README")
    (tmp_path / "P1" / "S1" / "IMG1").write_bytes(made())
    (tmp_path / "DICOMDIR").write_bytes(made())
    found = find(tmp_path)
    assert list(found.paths) == ["IMG1"]
    assert found.describe_passed_over() == "1 other files (first: P1/S1/README), 1 tables of contents (first: DICOMDIR)"


def test_archives_are_searched_in_place(tmp_path):
    with zipfile.ZipFile(tmp_path / "isic.ZIP", "w") as archive:
        for name in ("train/ISIC_1.JPG", "test/ISIC_2.jpg", "x\\y\\ISIC_3.png", "__MACOSX/._ISIC_1.jpg", "LICENSE"):
            archive.writestr(name, b"")
        archive.writestr("scan", made())
        archive.writestr("inner.zip", b"")
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("a.py", b"")
    found = find(tmp_path)
    path = f"{tmp_path}/isic.ZIP"
    assert found.paths == {
        "scan": [f"{path}::scan"],
        "ISIC_1": [f"{path}::train/ISIC_1.JPG"],
        "ISIC_3": [f"{path}::x\\y\\ISIC_3.png"],
    }
    assert found.describe_passed_over() == (
        "1 containers within archives (first: isic.ZIP::inner.zip), 1 containers without images (first: code.zip), 1 "
        "hidden files (first: isic.ZIP::__MACOSX/._ISIC_1.jpg), 2 other files (first: code.zip::a.py)"
    )
    assert find(path, path, split="test").paths["ISIC_2"] == [f"{path}::test/ISIC_2.jpg"]


def test_images_of_hdf5_files_are_found_and_weights_are_not(tmp_path):
    with h5py.File(tmp_path / "train-image.hdf5", "w") as file:
        file["ISIC_1"] = np.bytes_(PNG)
    with h5py.File(tmp_path / "best.weights.h5", "w") as file:
        file["layer"] = np.zeros(3)
    found = find(tmp_path)
    assert found.paths == {"ISIC_1": [f"{tmp_path}/train-image.hdf5::ISIC_1"]}
    assert found.describe_passed_over() == "1 containers without images (first: best.weights.h5)"


def test_a_bucket_is_searched(tmp_path):
    for name in ("a/b.jpg", "a/train/c.png", "a/notes.txt", "a/deep/scan"):
        tf.io.gfile.makedirs(os.path.dirname(f"ram://search/{name}"))
        tf.io.gfile.GFile(f"ram://search/{name}", "wb").write(PNG)
    found = find("ram://search/a")
    assert found.paths == {
        "b": ["ram://search/a/b.jpg"],
        "scan": ["ram://search/a/deep/scan"],
        "c": ["ram://search/a/train/c.png"],
    }
    assert found.describe_passed_over() == "1 PNG files with another extension (first: notes.txt)"
