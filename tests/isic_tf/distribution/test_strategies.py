import json
import re

import pytest
import tensorflow as tf

from isic_tf.distribution import strategies, workers


def test_the_default_strategy_has_one_replica():
    strategy = strategies.choose_strategy("default")
    assert strategy.num_replicas_in_sync == workers.count_local_replicas(strategy) == 1
    assert workers.is_chief(strategy)


def test_mirrored_takes_every_device():
    strategy = strategies.choose_strategy("mirrored")
    count = len(tf.config.list_logical_devices("GPU")) or 2
    assert strategy.num_replicas_in_sync == workers.count_local_replicas(strategy) == count
    assert f"MirroredStrategy: {count} replica(s) on" in strategies.describe_strategy(strategy)


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


def test_several_workers_have_their_addresses(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(ValueError, match="expected the addresses of two or more workers in TF_CONFIG"):
        strategies.choose_strategy("multiworker")
