"""Run directories with small networks, as far as is needed to apply them."""

import tensorflow as tf
from harness import tiny

from isic_tf.artifacts import fold_results, run_directory, seen_images


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
