"""Shared fixtures: two logical CPU devices, and one made-up data set and record set for the whole session."""

import contextlib
import ctypes
import functools
import gc

import harness
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.distribution import strategies
from isic_tf.patient_context import gradient_boosting
from tfrecord_tools import cli
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import record_index
from tfrecord_tools.synthetic import dataset

# Before TensorFlow touches its devices, so that replica bugs show on any machine, with GPUs or without.
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items):
    if not harness.REAL_DATA.is_dir():
        skip = pytest.mark.skip(reason=f"no real images at {harness.REAL_DATA}; set ISIC_REAL_DATA to their folder")
        for item in items:
            if "realdata" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def log_lines():
    """Log lines go to standard output, as in the commands."""
    cli.show_log()


@pytest.fixture(autouse=True, scope="module")
def freed_memory():
    """Networks and graphs of a module are gone when the next begins: those of all modules took 13 GB in a process."""
    yield
    tf.keras.backend.clear_session()
    gc.collect()
    # glibc keeps what its threads freed.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


@pytest.fixture(scope="session")
def real_data():
    return harness.REAL_DATA


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """Folder with the CSVs and JPEGs of 5 patients."""
    folder = tmp_path_factory.mktemp("made_up")
    dataset.make_dataset(dataset.SynthConfig(output=str(folder), num_patients=5, malignant_rate=0.4, seed=3))
    return folder


@pytest.fixture(scope="session")
def record_set(made_up, tmp_path_factory):
    """Folder with train and test records of `made_up` at 64 px in 2 folds."""
    folder = tmp_path_factory.mktemp("records")
    for split in ("train", "test"):
        harness.build_set(made_up / f"{split}.csv", made_up / "jpeg", folder, split)
    return folder


@pytest.fixture(scope="session")
def index(record_set):
    return record_index.read_index(str(record_set), "train")


@pytest.fixture
def mirrored():
    return strategies.choose_strategy("mirrored")


@pytest.fixture(scope="module")
def few_trees():
    """Boosting of a third of the trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gradient_boosting._BOOSTING, "max_iter", 25)
        yield


@pytest.fixture
def interrupt(monkeypatch):
    """A function that lets the second epoch from then on be interrupted, and gives the list of epochs from then on."""
    return functools.partial(harness.interrupt_second_epoch, monkeypatch)


@pytest.fixture
def rows(tmp_path):
    """Five images in two shards."""
    (tmp_path / "jpeg").mkdir()
    table = []
    for number in range(5):
        path = tmp_path / "jpeg" / f"i{number}.jpg"
        path.write_bytes(codec.encode(np.full((40, 60, 3), 40 * number, "uint8"), 90))
        integers = {"target": number % 2}
        table.append((f"i{number}", str(path), 0, 0, integers, number // 3, "p", str(number % 2), 0))
    columns = ["image_name", "path", "offset", "length", "integers", "shard", "patient_id", "target", "fold"]
    return pd.DataFrame(table, columns=columns)
