import collections
import hashlib
import importlib
import pathlib
import re

import pytest
from efficientnet import weights

from isic_tf.models.pretrained import weights_table
from tfrecord_tools import errors


def read_module(name):
    return importlib.import_module(f"tf_keras.src.applications.{name}")


def of_package(folder, hashes, pattern):
    """Names, addresses and digests of files with and without top, as a package states them."""
    for name, digests in hashes.items():
        for top, digest in zip(("", "_notop"), digests, strict=True):
            file = pattern.format(name=name.strip("-"), top=top)
            yield file, f"{folder}{file}", digest


def find_densenet():
    module = read_module("densenet")
    # The digests stand in a function, each after the constant of its address.
    calls = r'"(\S+?\.h5)",\s+(DENSENET\w+),\s+cache_subdir="models",\s+file_hash="(\w+)"'
    for file, address, digest in re.findall(calls, pathlib.Path(module.__file__).read_text()):
        yield file, getattr(module, address), digest


def find_mobilenet():
    module = read_module("mobilenet_v3")
    for name in ("small_224_1.0_float", "large_224_1.0_float"):
        for suffix, digest in zip(("", "_no_top_v2"), module.WEIGHTS_HASHES[name], strict=True):
            file = f"weights_mobilenet_v3_{name}{suffix}.h5"
            yield file, f"{module.BASE_WEIGHT_PATH}{file}", digest


def state_files():
    """All files that the installed packages state: name, address, digest."""
    pattern = "{name}_weights_tf_dim_ordering_tf_kernels_autoaugment{top}.h5"
    yield from of_package(weights.IMAGENET_WEIGHTS_PATH, weights.IMAGENET_WEIGHTS_HASHES, pattern)
    yield from of_package(weights.NS_WEIGHTS_PATH, weights.NS_WEIGHTS_HASHES, "{name}_noisy-student{top}.h5")
    for name, pattern in (
        ("efficientnet", "efficientnet{name}{top}.h5"),
        ("efficientnet_v2", "efficientnetv2-{name}{top}.h5"),
        ("convnext", "{name}{top}.h5"),
        ("regnet", "regnet{name}{top}.h5"),
    ):
        module = read_module(name)
        yield from of_package(module.BASE_WEIGHTS_PATH, module.WEIGHTS_HASHES, pattern)
    module = read_module("resnet_rs")
    yield from ((file, f"{module.BASE_WEIGHTS_URL}{file}", digest) for file, digest in module.WEIGHT_HASHES.items())
    yield from find_densenet()
    yield from find_mobilenet()


def test_the_table_holds_what_the_installed_packages_state_and_nothing_else():
    table = {(file.name, file.url, file.digest) for file in weights_table.read_table() if file.url}
    assert table == set(state_files())
    assert len(table) == 152


@pytest.mark.parametrize(
    ("name", "backbone", "kind", "has_top", "label"),
    [
        ("efficientnet-b3_noisy-student_notop.h5", "efficientnet-b3", "noisy-student", False, "MD5"),
        (
            "efficientnet-b3_weights_tf_dim_ordering_tf_kernels_autoaugment.h5",
            "efficientnet-b3",
            "imagenet",
            True,
            "SHA-256",
        ),
        ("efficientnetb3_notop.h5", "efficientnet-b3", "imagenet-keras", False, "MD5"),
        ("efficientnetv2-s.h5", "efficientnetv2-s", "imagenet", True, "MD5"),
        ("convnext_xlarge_notop.h5", "convnext-xlarge", "imagenet", False, "SHA-256"),
        ("resnet-rs-350-i320.h5", "resnet-rs-350", "imagenet", True, "MD5"),
        ("regnety320_notop.h5", "regnety-320", "imagenet", False, "SHA-256"),
        ("densenet201_weights_tf_dim_ordering_tf_kernels_notop.h5", "densenet-201", "imagenet", False, "MD5"),
        ("weights_mobilenet_v3_large_224_1.0_float.h5", "mobilenetv3-large", "imagenet", True, "MD5"),
        ("efficientnet-lite0-57934424.pth", "efficientnet-lite0", "imagenet", True, "SHA-256"),
    ],
)
def test_each_file_belongs_to_its_backbone(name, backbone, kind, has_top, label):
    (file,) = [file for file in weights_table.read_table() if file.name == name]
    assert (file.backbone, file.kind, file.has_top, file.digest_label) == (backbone, kind, has_top, label)


def test_names_are_unique_and_digests_of_their_length():
    table = weights_table.read_table()
    assert max(collections.Counter(file.name for file in table).values()) == 1
    assert max(collections.Counter(file.digest for file in table).values()) == 1
    for file in table:
        assert re.fullmatch("[0-9a-f]{64}" if file.algorithm == "sha256" else "[0-9a-f]{32}", file.digest), file
        assert bool(file.url) != bool(file.package)


def test_the_largest_images_and_no_top_come_first_as_in_the_library():
    names = [file.name for file in weights_table.find_files("resnet-rs-152", "imagenet")]
    assert names[0] == "resnet-rs-152-i256_notop.h5"
    assert [name.endswith("_notop.h5") for name in names] == [True] * 3 + [False] * 3


def make_file(content, **changes):
    fields = {
        "backbone": "efficientnet-b0",
        "kind": "imagenet",
        "has_top": False,
        "name": "b0.h5",
        "algorithm": "md5",
        "digest": hashlib.md5(content).hexdigest(),
        "source": "made up",
    }
    return weights_table.PublishedFile(**{**fields, **changes})


def test_files_are_known_by_their_content(monkeypatch, tmp_path):
    file = make_file(b"abc")
    # Of RFC 1321.
    assert file.digest == "900150983cd24fb0d6963f7d28e17f72"
    monkeypatch.setattr(weights_table, "read_table", lambda: (file,))
    path = tmp_path / "mine.h5"
    path.write_bytes(b"abc")
    assert weights_table.identify(str(path)) is file
    weights_table.verify(str(path), file)
    path.write_bytes(b"abd")
    assert weights_table.identify(str(path)) is None
    with pytest.raises(
        errors.CorruptRecordError, match=r"expected the published b0.h5 at .*mine.h5, with the MD5 9001"
    ):
        weights_table.identify(str(path), "b0.h5")
    with pytest.raises(errors.CorruptRecordError, match=f"got {hashlib.md5(b'abd').hexdigest()}; remove it"):
        weights_table.verify(str(path), file)


def test_a_file_of_another_size_is_refused(tmp_path):
    path = tmp_path / "b0.h5"
    path.write_bytes(b"abc")
    with pytest.raises(
        errors.CorruptRecordError, match=r"expected b0.h5 of 4 bytes at .*b0.h5, got 3 bytes; remove it"
    ):
        weights_table.verify(str(path), make_file(b"abc", num_bytes=4))
