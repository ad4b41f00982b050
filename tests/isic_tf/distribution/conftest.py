"""A machine whose TPU, device files and environment the tests of this package choose."""

import functools

import pytest
import tensorflow as tf

from isic_tf.distribution import strategies, tpus


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
