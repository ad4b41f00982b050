"""Shared fixtures: two logical CPU devices, and one made-up data set and record set for the whole session."""

import inspect
import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf import boost, devices, epochs
from tfrecord_tools import build, images, schema, shards, synth

REAL_DATA = pathlib.Path(
    os.environ.get("ISIC_REAL_DATA", pathlib.Path(__file__).parents[2] / "shared" / "realdata")
).absolute()

# For commands in processes of their own: the checkout is tested, installed or not.
ROOT = pathlib.Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

# Before TensorFlow touches its devices, so that replica bugs show on any machine, with GPUs or without.
tf.config.set_visible_devices([], "GPU")
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_collection_modifyitems(items):
    if not REAL_DATA.is_dir():
        skip = pytest.mark.skip(reason=f"no real images at {REAL_DATA}; set ISIC_REAL_DATA to their folder")
        for item in items:
            if "realdata" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def real_data():
    return REAL_DATA


@pytest.fixture(scope="session")
def made_up(tmp_path_factory):
    """Folder with the CSVs and JPEGs of 5 patients."""
    folder = tmp_path_factory.mktemp("made_up")
    synth.make(str(folder), num_patients=5, malignant_rate=0.4, seed=3)
    return folder


BUILD = {
    "records": None,
    "image_size": 64,
    "resize": "stretch",
    "trim_border": False,
    "color_constancy": "none",
    "quality": 95,
    "num_shards": 6,
    "num_folds": 2,
    "folds": None,
    "on_error": "stop",
    "workers": 1,
    "runner": "local",
    "beam_options": "",
    "csv_from_dicom": None,
}


def build_set(csv, images, output, split="train", **options):
    """Builds a record set with `BUILD` but for some options; paths may be `pathlib.Path`."""
    paths = {"csv": csv, "images": images, "output": output}
    build.build(**{name: path and str(path) for name, path in paths.items()}, split=split, **(BUILD | options))


@pytest.fixture(scope="session")
def record_set(made_up, tmp_path_factory):
    """Folder with train and test records of `made_up` at 64 px in 2 folds."""
    folder = tmp_path_factory.mktemp("records")
    for split in ("train", "test"):
        build_set(made_up / f"{split}.csv", made_up / "jpeg", folder, split)
    return folder


@pytest.fixture(scope="session")
def index(record_set):
    return schema.read_index(str(record_set), "train")


@pytest.fixture
def mirrored():
    return devices.choose("mirrored")


RECIPE = {
    "image_size": 32,
    "backbone": "efficientnet-b0",
    "weights": "none",
    "epochs": 3,
    "global_batch_size": 8,
    "optimizer": "adamw",
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_epochs": 1.0,
    "hold_epochs": 0.0,
    "weight_decay": 0.01,
    "clip_norm": 0.0,
    "accumulate": 1,
    "ema": 0.0,
    "backbone_rate": 1.0,
    "freeze_epochs": 0,
    "precision": "float32",
    "sync_batch_norm": False,
    "keep": "best",
    "early_stop_patience": 0,
    "target": "binary",
    "metadata": "",
    "pooling": "gap",
    "hidden_units": 0,
    "dropout": 0.2,
    "dropout_samples": 1,
    "context": "none",
    "bag_size": 8,
    "loss": "cross_entropy",
    "label_smoothing": 0.1,
    "focal_gamma": 2.0,
    "malignant_weight": 1.0,
    "init_from": "",
    "augment_policy": "light",
    "augment_strength": 1.0,
    "mix": "",
    "duplicates": None,
    "pseudo_csv": None,
    "malignant_repeats": 1,
    "balance": 0.0,
    "cache": "none",
    "on_corrupt": "stop",
    "threads": 2,
    "shuffle_buffer": 16,
    "save_steps": 1000,
    "steps_per_execution": 1,
    "tensorboard": False,
    "profile": "",
    "deterministic": False,
    "seed": 1,
}


# All flags of `isic_tf.predict` but where the run is and what to write.
PREDICT = {
    "records": None,
    "images": None,
    "csv": None,
    "sample_submission": None,
    "out_of_fold": False,
    "tta": 1,
    "tta_policy": "dihedral",
    "embeddings": None,
    "calibrated": False,
    "prevalence": None,
    "context": None,
    "seed": 0,
    "batch_size": 8,
    "threads": 2,
    "strategy": "default",
    "tpu": "",
}


# All flags of `isic_tf.context` but what to fit on or to apply to.
CONTEXT = {
    "oof": None,
    "predictions": None,
    "embeddings": None,
    "method": "boost",
    "no_patient_context": False,
    "join": "equal",
    "permutations": 0,
    "seed": 0,
    "model_dir": None,
    "sample_submission": None,
    "strategy": "default",
    "tpu": "",
}


@pytest.fixture(scope="module")
def few_trees():
    """Boosting of a third of the trees."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(boost._BOOSTING, "max_iter", 50)
        yield


@pytest.fixture
def interrupt(monkeypatch):
    """A function that lets the second epoch from then on be interrupted, and gives the list of epochs from then on."""
    original, calls = epochs.run, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    def start():
        monkeypatch.setattr(epochs, "run", interrupted)
        return calls

    return start


def tiny(backbone, image_size, weights, **_):
    """Stands in for the classifier: the same input and output, no dropout and no batch norm, trained in a second."""
    images = tf.keras.Input((image_size, image_size, 3))
    convolution = tf.keras.layers.Conv2D(8, 5, strides=4, activation="relu", name="convolution")
    trunk = tf.keras.Model(images, convolution(images))
    pooled = tf.keras.layers.GlobalAveragePooling2D()(trunk(images))
    return tf.keras.Model(images, tf.keras.layers.Dense(1, dtype="float32", name="logits")(pooled))


def tiny_trunk(backbone, image_size, weights="none"):
    """Stands in for the backbone alone, under its name."""
    images = tf.keras.Input((image_size, image_size, 3))
    features = tf.keras.layers.Conv2D(8, 5, strides=4, activation="relu", name="convolution")(images)
    return tf.keras.Model(images, features, name=backbone)


def tiny_with_norm(backbone, image_size, weights, **_):
    """Stands in for the classifier where batch norm, dropout and a depthwise convolution matter."""
    tf.keras.backend.experimental.enable_tf_random_generator()
    layers = tf.keras.layers
    images = tf.keras.Input((image_size, image_size, 3))
    features = layers.Conv2D(8, 5, strides=4, name="stem")(images)
    features = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(features)
    trunk = tf.keras.Model(images, layers.Activation("swish")(layers.BatchNormalization(name="norm")(features)))
    pooled = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(trunk(images)))
    return tf.keras.Model(images, layers.Dense(1, dtype="float32", name="logits")(pooled))


# Trains with a network of a second, with dropout and batch norm, and sends itself a signal after a number of steps.
_SCRIPT = (
    """
import json, os, sys
import isic_tf
import tensorflow as tf
from isic_tf import model, optimize, train

"""
    + inspect.getsource(tiny_with_norm)
    + """
flags, stop, number = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
make, calls = optimize.make_train_step, []

def make_train_step(*arguments, **options):
    step = make(*arguments, **options)

    def stopping(batches, count):
        waited = step(batches, count)
        calls.append(1)
        if len(calls) == stop:
            os.kill(os.getpid(), number)
        return waited

    return stopping

model.build, optimize.make_train_step = tiny_with_norm, make_train_step
train.train(**flags)
"""
)


def train_apart(record_set, workdir, stop=0, number=0, environment=None, **changes):
    """Trains fold 0 in a process of its own, which sends itself the signal `number` after `stop` steps."""
    flags = {"data_dir": str(record_set), "extra_data_dir": "", "workdir": str(workdir), "fold": "0"}
    flags |= {"strategy": "default", "tpu": "", "dry_run": False, **RECIPE, **changes}
    command = [sys.executable, "-c", _SCRIPT, json.dumps(flags), str(stop), str(int(number))]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**ENVIRONMENT, **(environment or {})}, **options)


def free_ports(count):
    """Finds ports of this machine that nothing uses, different ones."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


CONVERT = {"image_size": 32, "resize": "stretch", "trim_border": False, "color_constancy": "none", "quality": 90}


@pytest.fixture
def rows(tmp_path):
    """Five images in two shards."""
    (tmp_path / "jpeg").mkdir()
    table = []
    for number in range(5):
        path = tmp_path / "jpeg" / f"i{number}.jpg"
        path.write_bytes(images.encode(np.full((40, 60, 3), 40 * number, "uint8"), 90))
        integers = {"target": number % 2}
        table.append((f"i{number}", str(path), 0, 0, integers, number // 3, "p", str(number % 2), 0))
    columns = ["image_name", "path", "offset", "length", "integers", "shard", "patient_id", "target", "fold"]
    return pd.DataFrame(table, columns=columns)


def make_jobs(rows, output, on_error="stop", **options):
    return shards.make_jobs(rows, str(output), "train", CONVERT | options, on_error)
