import importlib.metadata
import os

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.diagnosis import graph_cache
from isic_tf.models import ModelConfig

ARRAYS = {"layers/dense/vars/0": np.zeros((2, 1), np.float32)}


def find(embed=False, arrays=ARRAYS, **options):
    return graph_cache.find_path(ModelConfig(**options), embed, arrays)


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models" / "isic_tf_graphs"


def test_graphs_of_the_users_networks_and_of_patient_context_are_not_kept():
    assert graph_cache.is_kept(ModelConfig(target="diagnosis", metadata="age"))
    assert not graph_cache.is_kept(ModelConfig(backbone="networks:build"))
    assert not graph_cache.is_kept(ModelConfig(context="set"))


def test_the_name_stands_for_the_network(folder):
    assert os.path.dirname(find()) == str(folder)
    # Where the first weights came from does not matter.
    assert find() == find(weights="none")
    wider = {name: array.T for name, array in ARRAYS.items()}
    changes = [
        {"image_size": 256},
        {"backbone": "efficientnet-b0"},
        {"pooling": "gem"},
        {"metadata": "age"},
        {"target": "diagnosis"},
        {"embed": True},
        {"arrays": wider},
    ]
    assert len({find(), *(find(**change) for change in changes)}) == 1 + len(changes)


@pytest.mark.parametrize("change", ["TensorFlow", "tf_keras", "efficientnet", "code", "floatx", "precision"])
def test_the_name_stands_for_what_makes_the_graph(monkeypatch, change):
    before = find()
    version = importlib.metadata.version
    if change == "TensorFlow":
        monkeypatch.setattr(tf.version, "VERSION", "2.99.0")
    elif change == "code":
        monkeypatch.setattr(graph_cache, "_compute_digest_of_sources", lambda: "0")
    elif change == "precision":
        policy = tf.keras.mixed_precision.Policy("mixed_bfloat16")
        monkeypatch.setattr(tf.keras.mixed_precision, "global_policy", lambda: policy)
    elif change == "floatx":
        monkeypatch.setattr(tf.keras.backend, "floatx", lambda: "float16")
    else:
        monkeypatch.setattr(importlib.metadata, "version", lambda name: "0" if name == change else version(name))
    assert find() != before


def test_the_digest_of_the_code_is_that_of_all_modules(monkeypatch, tmp_path):
    def compute():
        graph_cache._compute_digest_of_sources.cache_clear()
        return graph_cache._compute_digest_of_sources()

    original = compute()
    monkeypatch.setattr(graph_cache.isic_tf, "__file__", str(tmp_path / "__init__.py"))
    (tmp_path / "models").mkdir()
    module = tmp_path / "models" / "one.py"
    module.write_text("1")
    found = [original, compute()]
    module.write_text("2")
    (tmp_path / ".#one.py").symlink_to("nowhere")
    found.append(compute())
    monkeypatch.undo()
    graph_cache._compute_digest_of_sources.cache_clear()
    assert len(set(found)) == 3


def test_what_was_written_is_read():
    assert graph_cache.read(find()) is None
    graph_cache.write(find(), b"nodes")
    assert graph_cache.read(find()) == b"nodes"
    assert os.listdir(os.path.dirname(find())) == [os.path.basename(find())]


@pytest.mark.parametrize("damage", ["no byte", "cut", "a bit", "longer", "digest only"])
def test_a_damaged_file_is_not_read(damage):
    graph_cache.write(find(), b"nodes")
    with open(find(), "rb") as file:
        content = file.read()
    damaged = {
        "no byte": b"",
        "cut": content[:-1],
        "a bit": content[:-1] + bytes([content[-1] ^ 1]),
        "longer": content + b"s",
        "digest only": content[:32],
    }
    with open(find(), "wb") as file:
        file.write(damaged[damage])
    assert graph_cache.read(find()) is None


@pytest.mark.parametrize("mode", [0o602, 0o620])
def test_a_file_that_others_may_have_written_is_not_read(mode):
    graph_cache.write(find(), b"nodes")
    os.chmod(find(), mode)
    assert graph_cache.read(find()) is None


def test_a_file_in_a_folder_that_others_may_write_to_is_not_read(folder):
    graph_cache.write(find(), b"nodes")
    os.chmod(folder, 0o770)
    assert graph_cache.read(find()) is None


def test_a_file_of_another_user_is_not_read(monkeypatch):
    graph_cache.write(find(), b"nodes")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert graph_cache.read(find()) is None


def test_where_nothing_can_be_written_nothing_is_kept(tmp_path):
    (tmp_path / "keras").write_text("a file where the folder would be")
    graph_cache.write(find(), b"nodes")
    assert graph_cache.read(find()) is None


def test_the_oldest_of_many_are_removed(monkeypatch, folder):
    monkeypatch.setattr(graph_cache, "_MOST_FILES", 2)
    for number in range(4):
        graph_cache.write(str(folder / f"{number}.graph"), b"nodes")
        os.utime(folder / f"{number}.graph", (number, number))
    assert sorted(os.listdir(folder)) == ["2.graph", "3.graph"]
