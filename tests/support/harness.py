"""What tests of several packages share: paths, flags, small networks, runs in processes of their own."""

import dataclasses
import inspect
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time

import pandas as pd
import tensorflow as tf
from absl import flags

from isic_tf.inference import predict_run
from isic_tf.inference.config import PredictFilesConfig
from isic_tf.training import epochs
from isic_tf.training.config import TrainConfig
from tfrecord_tools import cli
from tfrecord_tools.building import build_config, record_conversion, record_set_builder, shard_jobs

REAL_DATA = pathlib.Path(
    os.environ.get("ISIC_REAL_DATA", pathlib.Path(__file__).parents[3] / "shared" / "realdata")
).absolute()

# Nothing that is kept for the user, weights and graphs, decides a test.
_KERAS_HOME = tempfile.TemporaryDirectory(prefix="isic_tf_tests_")
os.environ["KERAS_HOME"] = _KERAS_HOME.name
# For commands in processes of their own: the checkout is tested, installed or not.
ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


# Smaller than the defaults.
BUILD = {"image_size": 64, "num_shards": 6, "num_folds": 2, "workers": 1}


def build_set(csv, images, output, split="train", **options):
    """Builds a record set with `BUILD` but for some options; paths may be `pathlib.Path`."""
    paths = {"csv": csv, "images": images, "output": output}
    return record_set_builder.build_record_set(
        build_config.BuildConfig(
            **{name: path and str(path) for name, path in paths.items()}, split=split, **(BUILD | options)
        )
    )


# A training run of seconds.
RECIPE = {
    "image_size": 32,
    "weights": "none",
    "epochs": 3,
    "global_batch_size": 8,
    "learning_rate": 1e-2,
    "label_smoothing": 0.1,
    "threads": 2,
    "shuffle_buffer": 16,
    "tensorboard": False,
    "seed": 1,
}
PREDICT = {"batch_size": 8, "threads": 2, "strategy": "default"}
CONTEXT = {"permutations": 0, "strategy": "default"}


def make_config(**changes):
    """The configuration of a training run of seconds, of no record set and in no directory unless given."""
    return TrainConfig(**{"data_dir": "", "workdir": "", **RECIPE, **changes})


def parse_train_flags(*arguments):
    """The configuration of a command line of `isic_tf.train`."""
    values = flags.FlagValues()
    cli.define_flags(TrainConfig, values, "train")
    values(["train", *arguments])
    return TrainConfig(**{field.name: values[field.name].value for field in dataclasses.fields(TrainConfig)})


def interrupt_second_epoch(patch):
    """Lets the second epoch from now on be interrupted; returns the list of epochs from now on."""
    original, calls = epochs.run_epoch, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    patch.setattr(epochs, "run_epoch", interrupted)
    return calls


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
from isic_tf.training.config import TrainConfig
from isic_tf.models import classifiers
from isic_tf.training import loop, train_step
from isic_tf.training.config import TrainConfig
from tfrecord_tools import cli

cli.show_log()
"""
    + inspect.getsource(tiny_with_norm)
    + """
flags, stop, number = json.loads(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
make, calls = train_step.make_train_step, []

def make_train_step(*arguments, **options):
    step = make(*arguments, **options)

    def stopping(batches, count):
        waited = step(batches, count)
        calls.append(1)
        if len(calls) == stop:
            os.kill(os.getpid(), number)
        return waited

    return stopping

classifiers.build_classifier, train_step.make_train_step = tiny_with_norm, make_train_step
loop.train(TrainConfig(**flags))
"""
)


def write_brightness_policy(folder):
    """Writes the augmentation policy that compiles fastest and still depends on the seed of each record."""
    path = folder / "brightness.json"
    path.write_text('{"brightness": {"uniform": [-0.1, 0.1]}}')
    return path


def train_apart(record_set, workdir, stop=0, number=0, environment=None, **changes):
    """Trains fold 0 in a process of its own, which sends itself the signal `number` after `stop` steps."""
    flags = {"data_dir": str(record_set), "extra_data_dir": "", "workdir": str(workdir), "fold": "0"}
    flags |= {"strategy": "default", "tpu": "", "dry_run": False, **RECIPE, **changes}
    command = [sys.executable, "-c", _SCRIPT, json.dumps(flags), str(stop), str(int(number))]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**ENVIRONMENT, **(environment or {})}, **options)


def wait_until(is_true):
    """Waits until a function without arguments returns true; fails after a minute."""
    deadline = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < deadline, "waited for a minute"
        time.sleep(0.01)


def free_ports(count):
    """Finds ports of this machine that nothing uses, different ones."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


CONVERT = record_conversion.ConversionOptions(image_size=32, quality=90)


def make_jobs(rows, output, on_error="stop", **options):
    return shard_jobs.make_jobs(rows, str(output), "train", dataclasses.replace(CONVERT, **options), on_error)


def predicted(run, output, **changes):
    predict_run.predict_files(PredictFilesConfig(workdir=str(run), output=str(output), **(PREDICT | changes)))
    return pd.read_csv(output).set_index("image_name")
