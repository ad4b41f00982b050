import json
import struct
import zipfile

import h5py
import numpy as np
import pytest
import tensorflow as tf
import torch_bytes

from isic_tf.artifacts import fold_results
from isic_tf.models import backbones, classifiers
from isic_tf.models.pretrained import lite_weights, weights_files, weights_table
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem


def make_network(units=1, name="efficientnet-b0"):
    inputs = tf.keras.Input((1,))
    features = tf.keras.layers.Dense(2, kernel_initializer="ones", name="first")(inputs)
    return tf.keras.Model(
        inputs, tf.keras.layers.Dense(units, kernel_initializer="ones", name="last")(features), name=name
    )


def check_unchanged(network, path, message, error=errors.CorruptRecordError):
    before = network.get_weights()
    with pytest.raises(error, match=message):
        weights_files.load_weights(network, str(path))
    for old, new in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_that_a_run_kept_are_loaded_only_if_no_bit_changed(tmp_path):
    network = make_network()
    fold_results.keep_weights(str(tmp_path), network, wanted=True, epoch=1)
    path = tmp_path / "best.weights.h5"
    weights_files.load_weights(network, str(path))
    content = path.read_bytes()
    # The exponent of the weight of 1: read without the check, it would be another number.
    place = content.rindex(np.float32(1).tobytes())
    path.write_bytes(content[: place + 3] + bytes([content[place + 3] ^ 4]) + content[place + 4 :])
    check_unchanged(network, path, r"best.weights.h5 is damaged: expected the SHA-256 .*; restore")
    # Weights of release 0.1 have no record.
    (tmp_path / "best.weights.h5.json").unlink()
    weights_files.load_weights(network, str(path))
    assert not all((weight == np.round(weight)).all() and weight.max() <= 1 for weight in network.get_weights())


def test_arrays_that_a_run_kept_are_read_only_if_no_bit_changed(tmp_path):
    network = make_network()
    fold_results.keep_weights(str(tmp_path), network, wanted=True, epoch=1)
    path = tmp_path / "best.weights.h5"
    arrays = weights_files.read_kept(str(path))
    assert {name: array.shape for name, array in arrays.items()} == {
        "layers/dense/vars/0": (1, 2),
        "layers/dense/vars/1": (2,),
        "layers/dense_1/vars/0": (2, 1),
        "layers/dense_1/vars/1": (1,),
    }
    np.testing.assert_array_equal(arrays["layers/dense_1/vars/0"], np.ones((2, 1)))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert weights_files.read_kept(str(path)) is None
    assert weights_files.read_kept(str(tmp_path / "none.weights.h5")) is None
    assert weights_files.read_kept("gs://bucket/best.weights.h5") is None


def test_of_a_run_with_another_network_nothing_is_loaded(tmp_path):
    path = tmp_path / "best.weights.h5"
    other = make_network(units=3)
    other.set_weights([weight + 5 for weight in other.get_weights()])
    other.save_weights(str(path))
    # Keras had assigned the first layer, which fits, before it found that the last does not.
    check_unchanged(make_network(), path, r"best.weights.h5 does not hold weights of this network: ")


def test_weights_in_another_file_and_weights_that_are_no_numbers_are_refused(tmp_path):
    network = make_network()
    path, elsewhere = tmp_path / "best.weights.h5", tmp_path / "elsewhere.h5"
    network.save_weights(str(path))
    with h5py.File(path, "a") as file, h5py.File(elsewhere, "w") as other:
        place = "layers/dense/vars/0"
        other["0"] = file[place][()] * np.nan
        file[place][...] = other["0"][()]
    check_unchanged(network, path, "best.weights.h5 holds weights that are not finite numbers")
    with h5py.File(path, "a") as file:
        del file[place]
        file[place] = h5py.ExternalLink(str(elsewhere), "0")
    check_unchanged(network, path, "in .*best.weights.h5, got a damaged or foreign file .*0 lies in another file")


def test_the_content_decides_rather_than_the_name(tmp_path, capsys):
    source = make_network()
    source.set_weights([weight + 5 for weight in source.get_weights()])
    source.save_weights(str(tmp_path / "layout.h5"))
    # Keras would ignore the layout, and `by_name=True` too, because of the name.
    (tmp_path / "layout.h5").rename(tmp_path / "layout.weights.h5")
    source.save_weights(str(tmp_path / "kept.weights.h5"))
    (tmp_path / "kept.weights.h5").rename(tmp_path / "kept.h5")
    for name in ("layout.weights.h5", "kept.h5"):
        network = make_network()
        weights_files.load_weights(network, str(tmp_path / name))
        np.testing.assert_array_equal(network.get_weights()[0], source.get_weights()[0])
    assert "layout.weights.h5 is not in the table of published weights" in capsys.readouterr().out


def publish(monkeypatch, path, backbone):
    file = weights_table.PublishedFile(
        backbone=backbone,
        kind="noisy-student",
        has_top=False,
        name="published.h5",
        algorithm="md5",
        digest=filesystem.compute_digests(str(path), ["md5"])["md5"],
        source="made up",
    )
    monkeypatch.setattr(weights_table, "read_table", lambda: (file,))


def test_a_published_file_is_recognized_by_its_content(monkeypatch, tmp_path, capsys):
    path = tmp_path / "mine.h5"
    make_network().save_weights(str(path))
    publish(monkeypatch, path, "efficientnet-b0")
    weights_files.load_weights(make_network(), str(path))
    assert f"efficientnet-b0 noisy-student: {path}, MD5 verified" in capsys.readouterr().out
    message = (
        "expected weights of efficientnet-b1 in .*mine.h5, got the published published.h5 of efficientnet-b0; use "
    )
    check_unchanged(make_network(name="efficientnet-b1"), path, f"{message}--backbone=efficientnet-b0")


def test_a_published_name_with_other_content_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "published.h5"
    make_network().save_weights(str(path))
    publish(monkeypatch, path, "efficientnet-b0")
    make_network(units=2).save_weights(str(path))
    check_unchanged(
        make_network(), path, r"expected the published published.h5 at .*/published.h5, with the MD5 .* got"
    )


def test_truncated_files_are_named_by_their_own_path(tmp_path):
    path = tmp_path / "b0.h5"
    make_network().save_weights(str(path))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    check_unchanged(
        make_network(), path, f"expected weights that Keras saved as HDF5 in {path}, got a damaged .*truncated"
    )


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 truncated", b"\xff" * 100])
def test_files_that_are_no_weights_are_refused(tmp_path, content):
    path = tmp_path / "b0.h5"
    path.write_bytes(content)
    check_unchanged(make_network(), path, "b0.h5, got a file that does not begin as HDF5; name another file, or copy")


def write_foreign(folder):
    """Files of other formats, by their kind."""
    header = json.dumps({}).encode()
    (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    np.savez(folder / "a.npz", kernel=np.ones(2))
    array = np.ones(2, np.float32)
    (folder / "a.pth").write_bytes(torch_bytes.old_file([torch_bytes.tensor("kernel", array, "0")], {"0": array}))
    for name, entry in (("a.keras", "model.weights.h5"), ("zip.pth", "archive/data.pkl")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(entry, b"")
    return {"safetensors": "a.safetensors", "npz": "a.npz", "pytorch": "a.pth", "keras": "a.keras"}


def test_other_formats_are_known_by_their_content_and_have_to_be_converted(tmp_path):
    files = write_foreign(tmp_path)
    for kind, name in files.items():
        path = (tmp_path / name).rename(tmp_path / f"{kind}.h5")
        assert weights_files.find_format(str(path)) == kind
        message = (
            f"expected an .h5 file of weights at .*{kind}.h5, got a file of the kind {kind}; convert it by python -m"
        )
        check_unchanged(make_network(), path, message, errors.ConfigError)
    assert weights_files.find_format(str(tmp_path / "zip.pth")) == "pytorch"
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme", b"")
    assert weights_files.find_format(str(tmp_path / "other.zip")) == ""


def test_a_state_dict_of_efficientnet_lite_is_loaded_by_its_path(monkeypatch, tmp_path):
    write_foreign(tmp_path)
    loaded = []
    monkeypatch.setattr(lite_weights, "load_lite", lambda network, path: loaded.append((network.name, path)))
    weights_files.load_weights(make_network(name="efficientnet-lite1"), str(tmp_path / "a.pth"))
    assert loaded == [("efficientnet-lite1", str(tmp_path / "a.pth"))]


def test_a_file_of_the_backbone_is_loaded_into_the_backbone_of_a_classifier(monkeypatch, tmp_path):
    def build_small(backbone, image_size, weights):
        inputs = tf.keras.Input((image_size, image_size, 3))
        return tf.keras.Model(inputs, tf.keras.layers.Conv2D(2, 1, name="conv")(inputs), name=backbone)

    monkeypatch.setattr(backbones, "build_backbone", build_small)
    path = str(tmp_path / "b0.h5")
    source = build_small("efficientnet-b0", 32, "none")
    source.save_weights(path)
    classifier = classifiers.build_classifier("efficientnet-b0", 32, path)
    np.testing.assert_array_equal(classifiers.backbone_of(classifier).get_weights()[0], source.get_weights()[0])
    assert not (classifier.get_layer("logits").get_weights()[0] == 0).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.h5", r"at .*absent.h5, which does not exist; --weights is none, imagenet, noisy-student or the path"),
        ("", "which is a directory; --weights is none"),
    ],
)
def test_paths_without_a_file_are_refused(tmp_path, name, message):
    with pytest.raises(errors.ConfigError, match=message):
        weights_table.check_file(str(tmp_path / name))


def test_a_kind_that_is_misspelled_is_answered_with_the_right_one():
    with pytest.raises(errors.ConfigError, match="did you mean noisy-student"):
        weights_table.check_file("noisy-studnet")
