import json

import pytest
import tensorflow as tf

from isic_tf import devices


def test_the_default_strategy_has_one_replica():
    strategy = devices.choose("default")
    assert strategy.num_replicas_in_sync == devices.local_replicas(strategy) == 1
    assert devices.is_chief(strategy)


def test_mirrored_takes_every_device():
    strategy = devices.choose("mirrored")
    count = len(tf.config.list_logical_devices("GPU")) or 2
    assert strategy.num_replicas_in_sync == devices.local_replicas(strategy) == count
    assert f"MirroredStrategy: {count} replica(s) on" in devices.describe(strategy)


def test_auto_takes_what_the_machine_has(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: [])
    assert devices.detect() == ("mirrored" if len(tf.config.list_logical_devices("GPU")) > 1 else "default")
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}}))
    assert devices.detect() == "multiworker"
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: ["/dev/accel0"] if "accel" in pattern else [])
    for library, found in ((None, "multiworker"), ("libtpu", "tpu")):
        monkeypatch.setattr(devices.importlib.util, "find_spec", lambda name, library=library: library)
        assert devices.detect() == found
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: [])
    monkeypatch.setenv("TPU_NAME", "local")
    assert devices.detect() == "tpu"


def test_a_strategy_without_its_devices_is_refused(monkeypatch):
    for name in ("TF_CONFIG", "TPU_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: [])
    with pytest.raises(ValueError, match="expected a TPU .* for --strategy=tpu, found none"):
        devices.choose("tpu")
    # A machine's own TPU, whoever names it: looking for one that is not there would abort the process.
    with pytest.raises(ValueError, match="expected a TPU .* for --strategy=tpu, found none"):
        devices.choose("auto", "local")
    monkeypatch.setenv("TPU_NAME", "local")
    with pytest.raises(ValueError, match="expected a TPU .* for --strategy=tpu, found none"):
        devices.choose("auto")
    with pytest.raises(ValueError, match="expected the addresses of two workers or more in TF_CONFIG"):
        devices.choose("multiworker")


def test_a_broken_cluster_description_is_named(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{cluster")
    with pytest.raises(ValueError, match="expected JSON in the environment variable TF_CONFIG"):
        devices.count_workers()


def test_a_tpu_is_named_by_the_flag_or_by_what_the_environment_says(monkeypatch):
    for name in ("TPU_NAME", "COLAB_TPU_ADDR"):
        monkeypatch.delenv(name, raising=False)
    assert devices.tpu_address() == ""
    monkeypatch.setenv("COLAB_TPU_ADDR", "10.0.0.2:8470")
    assert devices.tpu_address() == "grpc://10.0.0.2:8470"
    monkeypatch.setenv("COLAB_TPU_ADDR", "grpc://10.0.0.2:8470")
    assert devices.tpu_address() == "grpc://10.0.0.2:8470"
    monkeypatch.setenv("TPU_NAME", "local")
    assert devices.tpu_address() == "local"
    assert devices.tpu_address("my-tpu") == "my-tpu"
    monkeypatch.setattr(devices.glob, "glob", lambda pattern: [])
    assert devices.detect() == "tpu"
