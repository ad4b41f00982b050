"""What the networks of a run say of some images, in one pass: scores, features and Grad-CAM maps of every fold."""

import typing
from collections.abc import Sequence

import numpy as np
import scipy.special
import tensorflow as tf

from isic_tf.data import decoding, targets
from isic_tf.inference import fold_networks, patient_bag_predictor, test_time_augmentation
from isic_tf.models import patient_context_head, stage_features
from isic_tf.novelty import detector
from isic_tf.visualization import grad_cam

_BATCH_SIZE = 8


class NetworkResults(typing.NamedTuple):
    """Results for n images."""

    scores: np.ndarray  # float64 [n, 1 + classes], mean of the folds, see `targets.mean_scores`
    fold_scores: np.ndarray  # float64 [n, folds], the single score of each fold
    embeddings: np.ndarray  # float32 [n, folds, f], pooled features; f = 0 where none are asked for
    unlike: np.ndarray  # float64 [n], see `detector.join`; NaN where no fold has a detector
    maps: np.ndarray  # float32 [n, S, S] in [0, 1], mean of the folds, see `grad_cam.enlarge`


def run_networks(
    networks: fold_networks.FoldNetworks,
    detectors: Sequence[detector.Detector | None],
    images: np.ndarray,
    known: np.ndarray | None,
    classes: targets.ClassSet,
    patients: Sequence[str],
    versions: int = 1,
    embed: bool = False,
) -> NetworkResults:
    """Runs every fold's network on images.

    Maps and features are of the image as it is, scores the mean of its versions.

    Args:
        networks: Networks of the folds.
        detectors: Detectors of unlike images of the folds, or None, `[folds]`.
        images: uint8 `[n, S, S, 3]`.
        known: float32 `[n, m]`, see `clinical_metadata.encode`; None where the networks use no metadata.
        classes: The classes that the networks predict.
        patients: Patient of each image, "" where unknown; used by networks with patient context.
        versions: Symmetries of a square whose scores are averaged, 1 to 8.
        embed: Whether the pooled features are asked for.

    Returns:
        `NetworkResults`.
    """
    head_layer = patient_context_head.find_context_layer(networks.network)
    layers = [patient_context_head.HEAD_INPUT] if head_layer else ["pooled"] * embed
    body, head = stage_features.split(networks.network, [networks.network.get_layer(name).output for name in layers])
    correct = patient_bag_predictor.make_corrector(networks.network) if head_layer else None
    scores, single, embeddings, maps = [], [], [], []
    unlike = np.full((len(images), len(networks)), np.nan)
    for fold in range(len(networks)):
        networks.choose(fold)
        logits, features, stages, of_images = _run(body, head, images, known, classes)
        maps.append(of_images)
        found = _mean_over_versions(body, head, logits, images, known, classes, versions)
        if correct and head_layer:
            # As when trained, patient context corrects the image as it is.
            found[:, 0] = scipy.special.expit(correct(head_layer.sets.get_weights(), features, patients))
            if classes.names:
                found[:, 1:] = targets.rescale(found[:, 1:], found[:, 0], classes)
        embeddings.append(features[:, :-1] if head_layer else features)
        scores.append(found)
        single.append(found[:, 0])
        fitted = detectors[fold]
        if fitted:
            unlike[:, fold] = detector.measure(fitted, stages)
    mean = np.stack(scores).mean(axis=0)
    mean = targets.settle(mean, classes) if classes.names else mean
    enlarged = grad_cam.enlarge(np.mean(maps, axis=0), images.shape[1])
    return NetworkResults(
        mean, np.stack(single, axis=1).astype(np.float64), np.stack(embeddings, axis=1), detector.join(unlike), enlarged
    )


def _run(
    body: tf.keras.Model, head: tf.keras.Model, images: np.ndarray, known: np.ndarray | None, classes: targets.ClassSet
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns logits `[n, c]`, pooled features `[n, f]`, features of every resolution and maps, see `grad_cam`."""
    parts = []
    for start in range(0, len(images), _BATCH_SIZE):
        batch = slice(start, start + _BATCH_SIZE)
        features, stages = body(decoding.to_float(tf.constant(images[batch])), training=False)
        with tf.GradientTape() as tape:
            tape.watch(features)
            inputs = [features, *([] if known is None else [tf.constant(known[batch])])]
            logits, *pooled = tf.nest.flatten(head(inputs, training=False))
            explained = targets.positive_logit(logits, classes)
        weights = tf.reduce_mean(tape.gradient(explained, features), axis=[1, 2], keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
        found = pooled[0] if pooled else tf.zeros([len(logits), 0])
        parts.append([np.asarray(part, np.float32) for part in (logits, found, stages, maps)])
    logits, pooled, stages, maps = (np.concatenate(part) for part in zip(*parts, strict=True))
    return logits, pooled, stages, maps


def _mean_over_versions(
    body: tf.keras.Model,
    head: tf.keras.Model,
    logits: np.ndarray,
    images: np.ndarray,
    known: np.ndarray | None,
    classes: targets.ClassSet,
    versions: int,
) -> np.ndarray:
    """Returns the scores of one network, the mean over the versions, float64 `[n, 1 + classes]`."""
    total = _to_scores(logits, classes)
    for version in range(1, versions):
        turned = test_time_augmentation.dihedral(tf.constant(images), tf.constant(version))
        total = total + _to_scores(_run(body, head, turned.numpy(), known, classes)[0], classes)
    return total / versions


def _to_scores(logits: np.ndarray, classes: targets.ClassSet) -> np.ndarray:
    scores = targets.mean_scores([tf.constant(logits)], classes).numpy().astype(np.float64)
    return scores.reshape(len(logits), -1)
