"""Initializes a run from the weights of another run, without leaking held-out images."""

import dataclasses
import logging
import os
from typing import TYPE_CHECKING

import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import person_numbers, run_directory, seen_images
from isic_tf.data import clinical_metadata, mixture, targets
from isic_tf.models import classifiers, patient_context_head, standardization
from isic_tf.models.config import read_model_config
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

_LOG = logging.getLogger(__name__)


def find_source(init_from: str, fold: int | None) -> str:
    """Finds the directory of the weights that a fold starts from.

    Args:
        init_from: Run directory, of which each fold takes the weights of its own fold; or the directory of one fold in
            a run, for all folds.
        fold: The fold to train; None where nothing is held out.

    Returns:
        Path of the directory of a fold.

    Raises:
        IsicError: There are no trained weights.
    """
    directory = init_from.rstrip("/")
    own_fold = run_directory.fold_dir(directory, fold)
    for candidate in (own_fold, directory):
        has_weights = filesystem.exists(os.path.join(candidate, run_directory.BEST_WEIGHTS))
        # A run has metrics of its own, of all its folds together, but no weights.
        if has_weights and run_directory.is_finished(candidate):
            return candidate
    finished = run_directory.fold_files(directory, run_directory.METRICS_FILE)
    names = ", ".join(os.path.dirname(path) for path in finished)
    remedy = f"; to start every fold from one of them, use {names}" if names else "; train it with isic_tf.train"
    raise errors.IsicError(
        f"expected --init_from to be a run with a trained {os.path.basename(own_fold)}, got {directory}{remedy}"
    )


def check_leakage(
    plan: mixture.Plan, origin: str, pairs: pd.DataFrame | None = None, patients_are: str | None = None
) -> None:
    """Checks that weights were not trained on images that a fold holds out, nor on their duplicates or patients.

    Args:
        plan: See `mixture.plan_fold`.
        origin: Directory that records the training images of the weights, see `seen_images.find_origin`.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; None for none.
        patients_are: Whether equal numbers of patients in several sets are the `same` people or `different` ones; None
            where it is not known.

    Raises:
        ConfigError: The held-out patients and those trained on are numbers, and it is not known whether these are the
            same people.
        LeakageError: The weights were trained on such images.
    """
    trained_on = seen_images.read_seen_images(origin)
    # Images that are not held out may tell that two of them are of one patient.
    rows = person_numbers.with_keys(pd.concat([plan.held_out, plan.rows]))
    leaked = seen_images.find_trained_on(rows, trained_on, patients_are, pairs)[: len(plan.held_out)]
    held_out = rows.iloc[: len(plan.held_out)]
    if leaked.any():
        raise errors.LeakageError(
            f"the weights in {origin} were trained on {leaked.sum()} of the {len(held_out)} held-out images, their "
            f"duplicates, their lesions or their patients (first: {held_out.loc[leaked, 'image_name'].iloc[0]}); use "
            "the weights of a run with the same folds"
        )
    if patients_are is None:
        numbers = person_numbers.find_open_numbers(held_out, trained_on)
        person_numbers.refuse_open_numbers(numbers, "the held-out images", f"the training images of {origin}")


def start_weights(classifier: tf.keras.Model, source: str | None, config: "TrainConfig", rows: pd.DataFrame) -> None:
    """Gives a new classifier the weights that a fold starts from.

    Args:
        classifier: Model to change; called in the scope of its strategy.
        source: See `load_weights`; None to keep the weights that it was built with.
        config: The configuration of the run.
        rows: The training images, by which numeric columns are standardized.
    """
    if source:
        load_weights(classifier, source, config)
    for line in standardization.set_standards(classifier, rows, config.metadata):
        _LOG.info(line)


def load_weights(classifier: tf.keras.Model, source: str, config: "TrainConfig") -> list[str]:
    """Copies the weights of another run: those of the backbone, and those of head layers of the same shape.

    The layers that depend on the classes are copied only if both runs have the same classes.

    Args:
        classifier: Model to change; called in the scope of its strategy.
        source: Directory of a trained fold, see `find_source`.
        config: The configuration of the run.

    Returns:
        Names of the head layers that keep their initial weights.

    Raises:
        ConfigError: The other run has another backbone.
    """
    other_config = read_model_config(os.path.dirname(source))
    if other_config.backbone != config.backbone:
        raise errors.ConfigError(
            f"expected a run of {config.backbone} for --init_from, but {source} is a run of {other_config.backbone}; "
            f"use --backbone={other_config.backbone}, or another run"
        )
    path = os.path.join(source, run_directory.BEST_WEIGHTS)
    # No layer's weights depend on the size of the image.
    other = classifiers.build_from_config(dataclasses.replace(other_config, image_size=config.image_size), path)
    backbone = classifiers.backbone_of(classifier)
    other_backbone = classifiers.backbone_of(other)
    backbone.set_weights(other_backbone.get_weights())
    other_head = {layer.name: layer.get_weights() for layer in other.layers if layer is not other_backbone}
    own, others = config.class_set, other_config.class_set
    columns, other_columns = (
        clinical_metadata.parse_numeric(text) for text in (config.metadata, other_config.metadata)
    )
    has_other_outputs = (own.names, own.multi_label) != (others.names, others.multi_label)
    context_layer = patient_context_head.find_context_layer(classifier)
    fresh = []
    for layer in classifier.layers:
        weights = layer.get_weights()
        if layer is backbone or not weights:
            continue
        found = other_head.get(layer.name, [])
        is_of_other_classes = has_other_outputs if layer.name == "logits" else layer is context_layer and own != others
        is_of_other_columns = columns != other_columns and layer.name == "metadata_embedding"
        if is_of_other_classes or is_of_other_columns:
            fresh.append(layer.name)
        elif [part.shape for part in found] == [part.shape for part in weights]:
            layer.set_weights(found)
        else:
            fresh.append(layer.name)
    exception = f", except {', '.join(fresh)}" if fresh else ""
    _LOG.info(f"  starting from {path}{exception}{_describe_other_classes(own, others)}")
    return fresh


def _describe_other_classes(own: targets.ClassSet, other: targets.ClassSet) -> str:
    """Returns a note where two runs have other classes, so that outputs of one mean nothing in the other; or ""."""
    if own == other:
        return ""
    described = ", ".join(other.names) or "malignant or not"
    return f"; note: that run has other classes ({described}), so what was learned of them is not taken over"
