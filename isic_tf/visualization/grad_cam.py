"""Grad-CAM: which image regions increase the melanoma logit."""

import typing
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, decoding, record_metadata, targets
from isic_tf.inference import fold_selection
from isic_tf.models import classifiers, patient_context_head
from isic_tf.models.config import read_model_config
from isic_tf.visualization import record_images
from tfrecord_tools.io import record_index

_BATCH_SIZE = 8


class Explanation(typing.NamedTuple):
    """Images with their maps and probabilities, in the order of the rows."""

    images: np.ndarray  # uint8 [n, S, S, 3], as the networks see them
    maps: np.ndarray  # float32 [n, S, S] in [0, 1]
    probabilities: np.ndarray  # float32 [n], of the positive classes or of the class that is explained
    seen: np.ndarray  # bool [n], whether the image was, or may have been, a training image of every network


def compute_grad_cam(
    classifier: tf.keras.Model,
    images: np.ndarray,
    known: np.ndarray | None = None,
    classes: targets.ClassSet = targets.BINARY,
) -> tuple[np.ndarray, np.ndarray]:
    """Computes Grad-CAM maps (Selvaraju et al., ICCV 2017) of the malignant logit at the backbone's last convolution.

    The weight of a channel is the mean gradient of the logit over all positions; negative sums are clipped to 0.

    Args:
        classifier: Keras model with any backbone and head, see `classifiers.build_classifier`.
        images: uint8 `[n, S, S, 3]`.
        known: float32 `[n, m]`, see `clinical_metadata.encode`; None where the classifier uses no metadata.
        classes: The classes of the classifier, of which the positive ones are explained; see `ClassSet.choose`.

    Returns:
        float32 `[n, h, w]`, 0 or more, in units of the logit, at the resolution of the features (see `enlarge`); and
        logits of being malignant or of the positive classes, float32 `[n]`.

    Examples:
        >>> from isic_tf.models import build_classifier
        >>> classifier = build_classifier("efficientnet-b0", 64)  # doctest: +SKIP
        >>> maps, logits = compute_grad_cam(classifier, np.zeros((1, 64, 64, 3), np.uint8))  # doctest: +SKIP
        >>> maps.shape  # doctest: +SKIP
        (1, 2, 2)
    """
    body, head = split(classifier)
    parts = []
    for start in range(0, len(images), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        features = body(decoding.to_float(tf.constant(images[batch])), training=False)
        own = None if known is None else tf.constant(known[batch])
        of_batch, logits, _ = explain_features(head, features, own, classes)
        parts.append((of_batch.numpy(), targets.positive_logit(logits, classes).numpy()))
    maps = np.concatenate([of_batch for of_batch, _ in parts])
    logits = np.concatenate([of_batch for _, of_batch in parts])
    return maps, logits


def explain_features(
    head: tf.keras.Model, features: tf.Tensor, known: tf.Tensor | None, classes: targets.ClassSet
) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
    """Computes what `compute_grad_cam` does from the features of one batch, in a graph or not.

    Args:
        head: Keras model from features, and metadata where it uses them, to logits and further outputs.
        features: Output of the backbone, `[b, h, w, f]`.
        known: float32 `[b, m]`; None where the head uses no metadata.
        classes: The classes of the head, of which the positive ones are explained.

    Returns:
        Maps, float32 `[b, h, w]`, 0 or more; logits, float32 `[b, c]`; and the further outputs.
    """
    # The tape records the head only, so that the backbone's activations are not kept.
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits, *further = tf.nest.flatten(head([features, *([] if known is None else [known])], training=False))
        explained = targets.positive_logit(logits, classes)
    weights = tf.reduce_mean(tape.gradient(explained, features), axis=[1, 2], keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)), logits, further


def split(classifier: tf.keras.Model) -> tuple[tf.keras.Model, tf.keras.Model]:
    """Splits a classifier after its backbone.

    Args:
        classifier: See `compute_grad_cam`.

    Returns:
        Two Keras models: from images to features, and from features and metadata to logits.
    """
    features = classifiers.backbone_of(classifier).get_output_at(-1)
    image, *known = classifier.inputs
    head = tf.keras.Model([features, *known] if known else features, classifier.output)
    return tf.keras.Model(image, features), head


def enlarge(maps: np.ndarray, image_size: int) -> np.ndarray:
    """Resizes maps to the resolution of the images and scales them to [0, 1].

    Args:
        maps: float32 `[n, h, w]`, 0 or more.
        image_size: Side S in pixels.

    Returns:
        float32 `[n, S, S]` in [0, 1], with a maximum of 1; all 0 where nothing increases the logit.
    """
    large = tf.image.resize(maps[..., np.newaxis], [image_size, image_size], "bilinear")[..., 0].numpy()
    greatest = large.max(axis=(1, 2), keepdims=True)
    return np.divide(large, greatest, out=np.zeros_like(large), where=greatest > 0)


def overlay(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Overlays maps on gray versions of the images, the more opaque the greater the value.

    Args:
        images: uint8 `[n, S, S, 3]`.
        maps: float32 `[n, S, S]` in [0, 1].

    Returns:
        uint8 `[n, S, S, 3]`.
    """
    from matplotlib import colormaps

    gray = (images @ np.array([0.299, 0.587, 0.114]))[..., np.newaxis]
    # From violet over orange to yellow: distinct from gray, and readable with any kind of color blindness.
    colors = 255 * colormaps["plasma"](maps)[..., :3]
    opacity = 0.65 * maps[..., np.newaxis] ** 0.7
    return np.rint(gray + opacity * (colors - gray)).astype(np.uint8)


def explain_rows(workdir: str, rows: pd.DataFrame, class_name: str = "") -> Explanation:
    """Explains records by the networks of a run that were not trained on them, or by all where there are none.

    Networks with patient context explain an image by their image-level model.

    The maps of several networks are averaged before they are scaled, so that one counts as much as its logit.

    Args:
        workdir: Run directory with at least one trained fold.
        rows: DataFrame of records with `shard`, `position`, `image_name` and the columns of
            `clinical_metadata.columns`, in order of shard and position, see `record_metadata.list_records`; and with
            the values that `clinical_metadata.add_values` adds.
        class_name: The class to explain; "" for malignant, or the positive classes together.

    Returns:
        `Explanation`.

    Raises:
        ConfigError: The run has no such class.
        IsicError: There is no trained fold, or a shard is corrupt.
    """
    run = run_directory.read_network(workdir)
    config = read_model_config(workdir, run)
    classes = config.class_set.choose(class_name) if class_name else config.class_set
    paths = run_directory.trained_folds(workdir)
    image_size = run["image_size"]
    fields = run.get("metadata", "")
    images = record_images.load_images(rows, image_size)
    known = clinical_metadata.encode(rows, fields) if fields else None
    # Which images each network explains, `[networks, n]`.
    used = np.array([fold_selection.find_unseen(path, rows) for path in paths])
    seen = np.logical_not(used.any(axis=0))
    used |= seen
    total: Any = 0.0
    probabilities = np.zeros(len(rows), np.float32)
    for path, own in zip(paths, used, strict=True):
        if own.any():
            classifier = classifiers.build_from_config(config, path)
            classifier = patient_context_head.image_level_model(classifier)
            maps, logits = compute_grad_cam(classifier, images[own], None if known is None else known[own], classes)
            # The resolution of the maps is known now.
            total = np.zeros((len(rows), *maps.shape[1:]), np.float32) + total
            total[own] += maps
            probabilities[own] += tf.sigmoid(logits).numpy()
    return Explanation(images, enlarge(total, image_size), probabilities / used.sum(axis=0), seen)


def list_records(workdir: str, records: str, table: str | None = None) -> pd.DataFrame:
    """Lists the records of shards with the metadata that a run's networks use.

    Args:
        workdir: Run directory.
        records: Glob pattern of shards, or several separated by commas.
        table: CSV file with the numeric columns that the networks use; None for none.

    Returns:
        DataFrame, see `explain_rows`.

    Raises:
        ConfigError: The networks use numeric columns and there is no table, or the other way round.
        IsicError: There is no run, no shard matches, or a shard is corrupt.
    """
    fields = run_directory.read_flags(workdir).get("metadata", "")
    numeric = clinical_metadata.parse_numeric(fields)
    clinical_metadata.check_table(table, numeric)
    rows = record_metadata.list_records(record_index.match_shards(records), clinical_metadata.columns(fields))
    return clinical_metadata.add_values(rows, table, numeric)
