"""Run directories with small networks, as far as is needed to apply them."""

import time

import tensorflow as tf
from harness import RECIPE, tiny, tiny_trunk

from isic_tf.artifacts import fold_results, run_directory, seen_images
from isic_tf.postprocessing import calibrate_run
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig


def make_run(folder, index):
    """Writes a run of two folds with small networks, each trained on the other's images, as far as is written."""
    run_directory.claim(str(folder), {"image_size": 32, "backbone": "efficientnet-b0"}, (), index)
    for fold in (0, 1):
        tf.keras.utils.set_random_seed(fold)
        own = run_directory.fold_dir(str(folder), fold)
        fold_results.keep_weights(own, tiny("", 32, ""), wanted=True)
        seen_images.write_seen_images(own, index.loc[index["fold"] != fold, ["image_name", "patient_id"]])


def build_tiny(backbone, image_size, weights, **_):
    classifier = tiny(backbone, image_size, weights)
    classifier.load_weights(weights)
    return classifier


def build_trunk(image_size):
    """The backbone `tiny_runs:build_trunk`, which processes of their own find too."""
    return tiny_trunk(None, image_size)


def train_calibrated(record_set, folder, **changes):
    """Trains and calibrates a run of two folds."""
    options = {**RECIPE, "epochs": 2, "data_dir": str(record_set), "workdir": str(folder), "fold": "all", **changes}
    loop.train(TrainConfig(strategy="default", **options))
    calibrate_run.calibrate(calibrate_run.CalibrateConfig(workdir=str(folder), method="platt"))
    return folder


def build_hanging_trunk(image_size):
    """That of `build_trunk`, with the same weights, which hangs on white images."""
    layers = tf.keras.layers
    images = tf.keras.Input((image_size, image_size, 3))

    def wait(given):
        waited = tf.numpy_function(_hang_if_white, [given], tf.float32)
        return given + 0 * tf.stop_gradient(tf.ensure_shape(waited, given.shape))

    features = layers.Conv2D(8, 5, strides=4, activation="relu", name="convolution")(layers.Lambda(wait)(images))
    return tf.keras.Model(images, features)


def _hang_if_white(images):
    if images.min() > 0.9:
        time.sleep(600)
    return images
