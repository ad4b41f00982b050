import dataclasses
import shutil

import h5py
import numpy as np
import pytest
import tensorflow as tf
from source_weights import make_state_dict
from torch_bytes import state_dict_file

from isic_tf.artifacts import kept_weights
from isic_tf.models.conversion import check_weights
from isic_tf.models.pretrained import weights_table
from tfrecord_tools import errors


def test_a_state_dict_is_described(lite0, built_once, tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, **make_state_dict(lite0, "timm"))
    lines = check_weights.describe_file(str(path))
    numbers = sum(array.size for array in lite0.get_weights()) + 3 * 1280 + 3
    assert lines == [
        f"{path}: NumPy, 247 arrays, {numbers} numbers",
        "published: not in the table of published weights",
        f"efficientnet-lite0 of timm, complete; convert it: --convert={path} --output=PATH.h5",
        "classification layer: yes",
    ]


def test_files_that_load_as_they_are_say_so(lite0, built_once, tmp_path):
    own, torch = tmp_path / "own.h5", tmp_path / "own.pth"
    lite0.save_weights(own)
    lines = check_weights.describe_file(str(own))
    assert lines[0] == f"{own}: Keras 2, 245 arrays, {sum(array.size for array in lite0.get_weights())} numbers"
    assert lines[2:] == [f"efficientnet-lite0, complete; --weights={own}", "classification layer: no"]
    torch.write_bytes(state_dict_file(make_state_dict(lite0, "efficientnet_pytorch")))
    lines = check_weights.describe_file(str(torch))
    assert lines[2] == f"efficientnet-lite0 of efficientnet_pytorch, complete; --weights={torch}"


def copy_of(path, copy):
    shutil.copy(path, copy)
    return copy


def test_weights_that_a_run_kept_are_checked_by_their_digest(tmp_path, tiny_model):
    path = tmp_path / "best.weights.h5"
    # The backbone is a network within the classifier.
    tf.keras.Sequential([tf.keras.Input((4, 4, 3)), tiny_model, tf.keras.layers.Dense(1)]).save_weights(path)
    copy = path.rename(tmp_path / "copy.weights.h5").rename(tmp_path / "renamed.h5")
    assert "(no SHA-256 beside it)" in check_weights.describe_file(str(copy))[2]
    copy.rename(path)
    assert "(no SHA-256 beside it)" in check_weights.describe_file(str(path))[2]
    kept_weights.replace_weights(str(path), str(path), 7)
    assert "(epoch 7, SHA-256 verified)" in check_weights.describe_file(str(path))[2]
    with h5py.File(copy_of(path, tmp_path / "infinite.h5"), "a") as file:
        file["layers/dense/vars/0"][...] = np.inf
    with pytest.raises(errors.CorruptRecordError, match="infinite.h5 holds weights that are not finite numbers"):
        check_weights.describe_file(str(tmp_path / "infinite.h5"))
    with h5py.File(copy_of(path, tmp_path / "linked.h5"), "a") as file:
        file["more"] = h5py.ExternalLink("elsewhere.h5", "0")
    with pytest.raises(errors.CorruptRecordError, match="in .*linked.h5, got a damaged .*more lies in another file"):
        check_weights.describe_file(str(tmp_path / "linked.h5"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 255
    path.write_bytes(content)
    with pytest.raises(errors.CorruptRecordError, match="best.weights.h5 is damaged"):
        check_weights.describe_file(str(path))


def test_arrays_of_no_classifier_are_an_error_whatever_their_file_is_called(tmp_path, tiny_model):
    path = str(tmp_path / "bare.weights.h5")
    tiny_model.save_weights(path)
    with pytest.raises(errors.CorruptRecordError, match=r"expected one of .*bare.weights.h5, found 1 conv"):
        check_weights.describe_file(path)


def test_a_backbone_of_another_family_is_an_error_that_names_the_right_one(lite0, tmp_path):
    path = tmp_path / "own.pth"
    path.write_bytes(state_dict_file(make_state_dict(lite0, "efficientnet_pytorch")))
    for backbone in ("densenet-121", "my_networks:build"):
        message = rf"expected weights of {backbone} in .*own.pth, found an .*; give --backbone=efficientnet-lite0, or"
        with pytest.raises(errors.CorruptRecordError, match=message):
            check_weights.describe_file(str(path), backbone)


def test_another_network_of_keras_is_not_recognized(tmp_path, tiny_model):
    tiny_model.save_weights(tmp_path / "tiny.h5")
    assert "another network than the EfficientNets" in check_weights.describe_file(str(tmp_path / "tiny.h5"))[2]


def test_a_network_of_another_family_is_checked_by_its_name(monkeypatch, tmp_path, tiny_model):
    path = str(tmp_path / "own.h5")
    tiny_model.save_weights(path)

    def build(name, size):
        return tf.keras.Sequential(tf.keras.models.clone_model(tiny_model).layers, name=name)

    monkeypatch.setattr(check_weights.backbones, "build_backbone", build)
    assert check_weights.describe_file(path, "densenet-121")[2] == f"densenet-121, complete; --weights={path}"
    published = dataclasses.replace(weights_table.read_table()[0], backbone="regnetx-002")
    monkeypatch.setattr(weights_table, "identify", lambda *_: published)
    assert check_weights.describe_file(path)[2] == f"regnetx-002, complete; --weights={path}"


def test_a_published_name_with_other_content_is_an_error(tmp_path):
    path = tmp_path / "efficientnet-lite0-57934424.pth"
    path.write_bytes(state_dict_file({"a": np.zeros([2], np.float32)}))
    with pytest.raises(errors.CorruptRecordError, match="expected the published efficientnet-lite0-57934424.pth"):
        check_weights.describe_file(str(path))


def test_a_file_of_another_backbone_is_an_error(lite0, built_once, tmp_path):
    path = tmp_path / "own.npz"
    np.savez(path, **make_state_dict(lite0, "timm"))
    with pytest.raises(errors.CorruptRecordError, match=r"expected weights of efficientnet-b0 in .*own.npz, but"):
        check_weights.describe_file(str(path), "efficientnet-b0")
