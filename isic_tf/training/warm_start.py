"""Initializes a run from another run's weights, without leaking held-out images."""

import dataclasses
import logging
import os

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.data import fold_split
from isic_tf.models import classifiers
from isic_tf.models.config import ModelConfig
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)


def find_source(init_from, fold):
    """Finds the folder of the weights that a fold starts from.

    Args:
        init_from: Run folder, of which each fold takes its own fold's weights; or the folder of one fold in it, or
            `full`, for all folds.
        fold: The fold to train; None for all images.

    Returns:
        Path of the fold's folder.

    Raises:
        IsicError: There are no trained weights.
    """
    init_from = init_from.rstrip("/")
    own = run_directory.fold_dir(init_from, fold)
    for folder in (own, init_from):
        # A run has figures of its own, of all its folds together.
        if run_directory.is_finished(folder) and filesystem.exists(os.path.join(folder, run_directory.BEST_WEIGHTS)):
            return folder
    there = [os.path.dirname(path) for path in run_directory.fold_files(init_from, run_directory.METRICS_FILE)]
    others = f"; there are {', '.join(there)}, and any of them may be named" if there else ""
    raise errors.IsicError(
        f"expected --init_from to be a run with a finished {os.path.basename(own)}, got {init_from}{others}"
    )


def refuse_leaks(plan, source, pairs=None):
    """Raises an IsicError where the weights of a folder are of images or patients that a plan holds out.

    Args:
        plan: See `mixture.plan_fold`.
        source: See `origin`.
        pairs: See `csv_tables.read_pairs`: images that show the same are as one; or None.
    """
    seen, held_out = seen_images.read_seen_images(source), plan.held_out
    names, patients = fold_split.find_linked(seen["image_name"], pairs), set(seen["patient_id"]) - {""}
    leaked = held_out["image_name"].isin(names) | held_out["patient_id"].isin(patients)
    if leaked.any():
        raise errors.IsicError(
            f"the weights of {source} have seen {leaked.sum()} of the {len(held_out)} held-out images, their "
            f"duplicates or patients, {held_out.loc[leaked, 'image_name'].iloc[0]} first; give weights of a run with "
            "the same folds"
        )


def load_weights(classifier, source, config):
    """Copies weights from another run: the backbone's, and the head's where it is of the same shape.

    Args:
        classifier: Keras model to change, in its strategy's scope.
        source: See `find`.
        config: The configuration.

    Raises:
        IsicError: The other run has another backbone.
    """
    theirs = ModelConfig.from_text(run_directory.read_flags(os.path.dirname(source)))
    if theirs.backbone != config.backbone:
        raise errors.IsicError(f"expected a run of {config.backbone} for --init_from, {source} is of {theirs.backbone}")
    path = os.path.join(source, run_directory.BEST_WEIGHTS)
    # No layer's weights depend on the size of the image.
    other = classifiers.build_from_config(dataclasses.replace(theirs, image_size=config.image_size), path)
    trunk, their_trunk = classifiers.backbone_of(classifier), classifiers.backbone_of(other)
    trunk.set_weights(their_trunk.get_weights())
    their_weights = {layer.name: layer.get_weights() for layer in other.layers if layer is not their_trunk}
    fresh = []
    for layer in classifier.layers:
        weights = layer.get_weights()
        if layer is trunk or not weights:
            continue
        found = their_weights.get(layer.name, [])
        if [part.shape for part in found] == [part.shape for part in weights]:
            layer.set_weights(found)
        else:
            fresh.append(layer.name)
    _LOG.info(f"  starting from {path}" + (f", but for {', '.join(fresh)}" if fresh else ""))
