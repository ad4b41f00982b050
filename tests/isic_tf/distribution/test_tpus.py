import functools
import importlib.machinery
import importlib.metadata
import json
import re

import pytest
import tensorflow as tf

from isic_tf.distribution import strategies, tpus, workers


def test_the_default_strategy_has_one_replica():
    strategy = strategies.choose_strategy("default")
    assert strategy.num_replicas_in_sync == workers.count_local_replicas(strategy) == 1
    assert workers.is_chief(strategy)


def test_mirrored_takes_every_device():
    strategy = strategies.choose_strategy("mirrored")
    count = len(tf.config.list_logical_devices("GPU")) or 2
    assert strategy.num_replicas_in_sync == workers.count_local_replicas(strategy) == count
    assert f"MirroredStrategy: {count} replica(s) on" in strategies.describe_strategy(strategy)


class Machine:
    """What a machine has: environment variables, device files and a libtpu; and what TensorFlow's resolver is asked."""

    def __init__(self, monkeypatch, folder):
        self.environment, self.folder, self.files, self.calls = monkeypatch, folder, [], []

    def install(self, entry=b"ConfigureDistributedTpuOp_DoWork"):
        path = self.folder / "libtpu.so"
        path.write_bytes(b"ELF" + entry)
        self.environment.setenv("TPU_LIBRARY_PATH", str(path))

    def answer(self, name, result):
        def called(*arguments, tpu=None):
            self.calls.append((name, *arguments, *([tpu] if tpu else [])))
            if isinstance(result, Exception):
                raise result
            return result

        return called


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine without a TPU, whose resolver would accept any."""
    found = Machine(monkeypatch, tmp_path)
    for name in ("TF_CONFIG", "TPU_NAME", "COLAB_TPU_ADDR", "TPU_LIBRARY_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tpus.glob, "glob", lambda pattern: [f for f in found.files if f.startswith(pattern[:8])])
    monkeypatch.setattr(tpus.importlib.util, "find_spec", lambda name: None)
    # The strategies of other tests stay the only ones of their kind.
    monkeypatch.setattr(strategies, "_create", functools.cache(strategies._create.__wrapped__))
    monkeypatch.setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", found.answer("resolve", "resolver"))
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", found.answer("connect", None))
    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", found.answer("initialize", None))
    monkeypatch.setattr(tf.distribute, "TPUStrategy", found.answer("strategy", "strategy"))
    return found


def test_auto_takes_what_the_machine_has(machine, monkeypatch):
    assert strategies.detect_strategy() == ("mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "default")
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}))
    assert strategies.detect_strategy() == "multiworker"
    machine.files.append("/dev/accel0")
    assert strategies.detect_strategy() == "multiworker"
    machine.install()
    assert strategies.detect_strategy() == "tpu"
    machine.files.clear()
    assert strategies.detect_strategy() == "multiworker"
    monkeypatch.setenv("TPU_NAME", "local")
    assert strategies.detect_strategy() == "tpu"


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


def lose_the_library(machine):
    machine.files.append("/dev/vfio/0")


def lose_the_device(machine):
    machine.install()


def name_a_tpu_that_is_not_there(machine):
    machine.environment.setenv("TPU_NAME", "local")


def update_the_library(machine):
    machine.files.append("/dev/vfio/0")
    machine.install(b"GetPjrtApi")


def install_a_build_without_tpus(machine):
    machine.files.append("/dev/accel0")
    machine.install()
    error = tf.errors.NotFoundError(None, None, "TPUs not found in the cluster.\nMore.")
    machine.environment.setattr(tf.tpu.experimental, "initialize_tpu_system", machine.answer("initialize", error))


@pytest.mark.parametrize(
    ("break_something", "reason"),
    [
        (lambda machine: None, "there is no /dev/accel"),
        (lose_the_library, "/dev/vfio/0 may be a TPU, but libtpu is not installed"),
        (lose_the_device, "there is no /dev/accel"),
        (name_a_tpu_that_is_not_there, "there is no /dev/accel"),
        (update_the_library, "libtpu.so is too new for TensorFlow; run pip install"),
        (install_a_build_without_tpus, "TPUs not found in the cluster.; check .* tensorflow-tpu is"),
    ],
)
def test_without_a_tpu_to_use_auto_falls_back_and_says_why(machine, capsys, break_something, reason):
    break_something(machine)
    assert strategies.choose_strategy("auto") is tf.distribute.get_strategy()
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert re.match(f"running on the CPU, without a GPU or TPU: .*{reason}", line)
    # What was asked for is not replaced by something slower.
    with pytest.raises(ValueError, match=reason):
        strategies.choose_strategy("tpu")
    with pytest.raises(ValueError, match=reason):
        strategies.choose_strategy("auto", "local")


def test_gpus_are_taken_without_a_word_but_where_a_tpu_seems_to_be_there(machine, monkeypatch, capsys):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["one"] if kind == "GPU" else [])
    strategies.choose_strategy("auto")
    assert capsys.readouterr().out == ""
    machine.files.append("/dev/vfio/0")
    strategies.choose_strategy("auto")
    assert capsys.readouterr().out == "running without a TPU: /dev/vfio/0 may be a TPU, but libtpu is not installed\n"


def test_a_tpu_elsewhere_that_does_not_answer_is_an_error(machine, monkeypatch):
    monkeypatch.setenv("TPU_NAME", "far")
    error = tf.errors.UnavailableError(None, None, "failed to connect")
    monkeypatch.setattr(tf.config, "experimental_connect_to_cluster", machine.answer("connect", error))
    for name in ("auto", "tpu"):
        with pytest.raises(ValueError, match="expected the TPU far to answer, got: failed to connect; check its name"):
            strategies.choose_strategy(name)
    with pytest.raises(ValueError, match="expected --strategy=tpu or auto with --tpu=far, got mirrored"):
        strategies.choose_strategy("mirrored", "far")


FAR = {
    "reads": {"data_dir": "gs://bucket/a,gs://bucket/b", "extra_data_dir": ""},
    "hosted": {"cache": "", "images": None},
}


def test_a_tpu_of_another_machine_reads_from_buckets_alone(machine):
    assert strategies.choose_strategy("tpu", "far", **FAR) == "strategy"
    own = {"reads": {"data_dir": "gs://bucket/a,records"}}
    with pytest.raises(ValueError, match=r"the TPU far is on another machine .* --data_dir=gs://..., got records; on"):
        strategies.choose_strategy("auto", "far", **own)
    with pytest.raises(ValueError, match="another machine, which --cache=memory cannot reach; leave it out"):
        strategies.choose_strategy("tpu", "far", hosted={"cache": "memory"})
    machine.files.append("/dev/accel0")
    machine.install()
    assert strategies.choose_strategy("tpu", "local", **own) == strategies.choose_strategy("auto", **own) == "strategy"


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


def test_several_workers_have_their_addresses(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="expected the addresses of two or more workers in TF_CONFIG"):
        strategies.choose_strategy("multiworker")


def test_a_broken_cluster_description_is_named(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{cluster")
    with pytest.raises(ValueError, match="expected JSON in the environment variable TF_CONFIG"):
        workers.count_workers()
