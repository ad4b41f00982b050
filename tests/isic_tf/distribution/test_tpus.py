import importlib.machinery
import importlib.metadata

import pytest
import tensorflow as tf

from isic_tf.distribution import strategies, tpus

PLACES = {
    "colab, v5e": ({}, "/dev/vfio/0", "", "local"),
    "colab, v2 with a name": ({"TPU_NAME": "local"}, "/dev/accel0", "", "local"),
    "colab, node": ({"COLAB_TPU_ADDR": "10.0.0.2:8470"}, None, "", "grpc://10.0.0.2:8470"),
    "colab, node with a name": ({"COLAB_TPU_ADDR": "10.0.0.2:8470", "TPU_NAME": "node"}, None, "", "node"),
    "kaggle": ({"TPU_NAME": ""}, "/dev/accel0", "", "local"),
    "kaggle, asked for": ({}, "/dev/accel0", "local", "local"),
    "cloud": ({}, None, "my-tpu", "my-tpu"),
    "cloud, beside its own": ({"TPU_NAME": "local"}, "/dev/accel0", "my-tpu", "my-tpu"),
    "cloud, by the environment": ({"TPU_NAME": "my-tpu"}, None, "", "my-tpu"),
    # There it is the name of the machine itself.
    "cloud, vm": ({"TPU_NAME": "my-tpu"}, "/dev/accel0", "", "local"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["auto", "tpu"])
def test_a_tpu_is_resolved_connected_and_initialized_by_its_address(machine, monkeypatch, capsys, place, name):
    environment, file, flag, address = PLACES[place]
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    if file:
        machine.files.append(file)
        machine.install()
    assert strategies.choose_strategy(name, flag) == "strategy"
    steps = [("connect", "resolver"), ("initialize", "resolver"), ("strategy", "resolver")]
    assert machine.calls == [("resolve", address), *steps]
    # Once, however often it is asked for: to initialize a TPU again would lose what is on it.
    assert strategies.choose_strategy(name, flag) == "strategy"
    assert len(machine.calls) == 4
    assert capsys.readouterr().out == ""


def test_a_tpu_elsewhere_that_does_not_answer_is_an_error(machine, monkeypatch):
    monkeypatch.setenv("TPU_NAME", "far")
    error = tf.errors.UnavailableError(None, None, "failed to connect")
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", machine.answer("connect", error))
    for name in ("auto", "tpu"):
        with pytest.raises(ValueError, match="expected the TPU far to answer, got: failed to connect; check its name"):
            strategies.choose_strategy(name)
    with pytest.raises(ValueError, match="expected --strategy=tpu or auto with --tpu=far, got mirrored"):
        strategies.choose_strategy("mirrored", "far")


def test_libtpu_is_found_as_a_package(machine, monkeypatch, tmp_path):
    (tmp_path / "libtpu.so").write_bytes(b"")
    package = importlib.machinery.ModuleSpec("libtpu", None, is_package=True)
    package.submodule_search_locations.append(str(tmp_path))
    monkeypatch.setattr(tpus.importlib.util, "find_spec", {"libtpu": package}.get)
    assert tpus._find_library() == str(tmp_path / "libtpu.so")


def test_the_build_for_tpus_compiles_for_no_other_device(monkeypatch):
    examine = tpus.compiles_for_host.__wrapped__
    monkeypatch.setattr(tpus.importlib.metadata, "version", {"tensorflow-tpu": "2.20.0"}.get)
    assert not examine()

    def find_none(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(tpus.importlib.metadata, "version", find_none)
    assert examine()
