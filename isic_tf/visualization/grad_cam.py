"""Grad-CAM: which image regions increase the melanoma logit."""

import typing

import numpy as np
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, decoding, record_metadata, targets
from isic_tf.inference import fold_selection
from isic_tf.models import classifiers, patient_context_head
from isic_tf.models.config import ModelConfig
from isic_tf.visualization import record_images
from tfrecord_tools.io import record_index

_BATCH_SIZE = 8


class Explanation(typing.NamedTuple):
    """What `explain_rows` finds, in the order of the rows."""

    images: np.ndarray  # uint8 [n, S, S, 3], what the networks saw
    maps: np.ndarray  # float32 [n, S, S] in [0, 1]
    probabilities: np.ndarray  # float32 [n], malignant
    seen: np.ndarray  # bool [n], whether every network has been trained on the image, or may have been


def compute_grad_cam(classifier, images, known=None):
    """Computes Grad-CAM maps (Selvaraju et al., ICCV 2017) of the malignant logit at the backbone's last convolution.

    A channel weighs as much as the logit's gradient, the mean over all places; what is negative is cut off.

    Args:
        classifier: Keras model, see `classifiers.build_classifier`; with any backbone and head.
        images: uint8 `[n, S, S, 3]`.
        known: float32 `[n, m]`, see `clinical_metadata.encode`; None where the classifier sees no metadata.

    Returns:
        float32 `[n, h, w]`, 0 or more, in units of the logit, at the resolution of the features (see `enlarge`); and
        malignant logits, float32 `[n]`.
    """
    body, head = split(classifier)
    found = []
    for start in range(0, len(images), _BATCH_SIZE):
        part = slice(start, start + _BATCH_SIZE)
        features = body(decoding.to_float(tf.constant(images[part])), training=False)
        # Only the head is recorded, so that the backbone's activations need not be kept.
        with tf.GradientTape() as tape:
            tape.watch(features)
            inputs = features if known is None else [features, tf.constant(known[part])]
            logits = targets.malignant_logit(head(inputs, training=False))
        weights = tf.reduce_mean(tape.gradient(logits, features), axis=[1, 2], keepdims=True)
        found.append((tf.nn.relu(tf.reduce_sum(weights * features, axis=-1)).numpy(), logits.numpy()))
    maps, logits = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return maps, logits


def split(classifier):
    """Cuts a classifier behind its backbone into two Keras models: of images, and of features and metadata."""
    features = classifiers.backbone_of(classifier).get_output_at(-1)
    image, *known = classifier.inputs
    head = tf.keras.Model([features, *known] if known else features, classifier.output)
    return tf.keras.Model(image, features), head


def enlarge(maps, image_size):
    """Brings maps to the images' resolution and their range to [0, 1].

    Args:
        maps: float32 `[n, h, w]`, 0 or more.
        image_size: Side S in pixels.

    Returns:
        float32 `[n, S, S]` in [0, 1], the greatest value of each 1; all 0 where nothing speaks for melanoma.
    """
    large = tf.image.resize(maps[..., np.newaxis], [image_size, image_size], "bilinear")[..., 0].numpy()
    greatest = large.max(axis=(1, 2), keepdims=True)
    return np.divide(large, greatest, out=np.zeros_like(large), where=greatest > 0)


def overlay(images, maps):
    """Lays maps over grey versions of the images, the more opaque the more speaks for melanoma.

    Args:
        images: uint8 `[n, S, S, 3]`.
        maps: float32 `[n, S, S]` in [0, 1].

    Returns:
        uint8 `[n, S, S, 3]`.
    """
    from matplotlib import colormaps

    grey = (images @ np.array([0.299, 0.587, 0.114]))[..., np.newaxis]
    # From violet over orange to yellow: no colour of skin comes in grey pictures, and it can be told apart in any kind
    # of colour blindness.
    colours = 255 * colormaps["plasma"](maps)[..., :3]
    opacity = 0.65 * maps[..., np.newaxis] ** 0.7
    return np.rint(grey + opacity * (colours - grey)).astype(np.uint8)


def explain_rows(workdir, rows):
    """Explains records by the networks of a run that have not been trained on them, by all where there are none.

    Of networks with patient context, by the stage that sees single images.

    The maps of several networks are averaged before they are scaled, so that one counts as much as its logit.

    Args:
        workdir: Run folder with at least one trained fold.
        rows: DataFrame of records with `shard`, `position`, `image_name` and what `clinical_metadata.columns` lists, in order of
            shard and position, see `record_metadata.list_records`.

    Returns:
        `Explanation`.

    Raises:
        ValueError: There is no trained fold, or a shard is corrupt.
    """
    run, paths = run_directory.read_network(workdir), run_directory.trained_folds(workdir)
    image_size, fields = run["image_size"], run.get("metadata", "")
    images = record_images.load_images(rows, image_size)
    known = clinical_metadata.encode(rows, fields) if fields else None
    # Which image each network explains, `[networks, n]`.
    used = np.array([fold_selection.find_unseen(path, rows) for path in paths])
    seen = ~used.any(axis=0)
    used |= seen
    total, probabilities = 0.0, np.zeros(len(rows), np.float32)
    for path, own in zip(paths, used, strict=True):
        if own.any():
            classifier = classifiers.build_from_config(ModelConfig.from_text(run), path)
            classifier = patient_context_head.image_level_model(classifier)
            maps, logits = compute_grad_cam(classifier, images[own], None if known is None else known[own])
            total = np.zeros((len(rows), *maps.shape[1:]), np.float32) + total
            total[own] += maps
            probabilities[own] += tf.sigmoid(logits).numpy()
    return Explanation(images, enlarge(total, image_size), probabilities / used.sum(axis=0), seen)


def list_records(workdir, records):
    """Lists the records of some shards with the metadata that a run's networks see; see `explain_rows`.

    Args:
        workdir: Run folder.
        records: Glob pattern of shards, or several separated by commas.

    Raises:
        ValueError: There is no run, no shard matches, or a shard is corrupt.
    """
    columns = clinical_metadata.columns(run_directory.read_flags(workdir).get("metadata", ""))
    return record_metadata.list_records(record_index.match_shards(records), columns)
