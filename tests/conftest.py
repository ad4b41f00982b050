"""Shared fixtures: two logical CPU devices, and one made-up data set and record set for the whole session."""

import os
import pathlib

import pytest
import tensorflow as tf

from isic_tf import devices
from tfrecord_tools import build, schema, synth

REAL_DATA = pathlib.Path(
    os.environ.get("ISIC_REAL_DATA", pathlib.Path(__file__).parents[2] / "shared" / "realdata")
).absolute()

# For commands in processes of their own: the checkout is tested, installed or not.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[1])}

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


BUILD = {"image_size": 64, "num_shards": 6, "num_folds": 2, "folds": None, "quality": 95, "workers": 2}


@pytest.fixture(scope="session")
def record_set(made_up, tmp_path_factory):
    """Folder with train and test records of `made_up` at 64 px in 2 folds."""
    folder = tmp_path_factory.mktemp("records")
    for split in ("train", "test"):
        build.build(str(made_up / f"{split}.csv"), str(made_up / "jpeg"), str(folder), split, **BUILD)
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
    "learning_rate": 1e-2,
    "weight_decay": 0.01,
    "warmup_epochs": 1.0,
    "label_smoothing": 0.1,
    "augment_strength": 1.0,
    "shuffle_buffer": 16,
    "seed": 1,
}


def tiny(backbone, image_size, weights):
    """Stands in for the classifier: the same input and output, no dropout and no batch norm, trained in a second."""
    images = tf.keras.Input((image_size, image_size, 3))
    features = tf.keras.layers.Conv2D(8, 5, strides=4, activation="relu")(images)
    pooled = tf.keras.layers.GlobalAveragePooling2D()(features)
    return tf.keras.Model(images, tf.keras.layers.Dense(1, name="logits")(pooled))
