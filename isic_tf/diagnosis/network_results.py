"""What the networks of a run say of some images, in one pass: scores, features and Grad-CAM maps of every fold."""

import typing
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.special
import tensorflow as tf

from isic_tf.data import decoding, targets
from isic_tf.diagnosis import kept_networks
from isic_tf.inference import fold_networks, patient_bag_predictor, test_time_augmentation
from isic_tf.models import patient_context_head, stage_features
from isic_tf.novelty import detector
from isic_tf.visualization import grad_cam

_BATCH_SIZE = 8
# In a graph, oneDNN's kernels of TensorFlow 2.21 take more than ten times as long for one image as for two.
_LEAST_BATCH = 2


class NetworkResults(typing.NamedTuple):
    """Results for n images."""

    scores: np.ndarray  # float64 [n, 1 + classes], mean of the folds, see `targets.mean_scores`
    fold_scores: np.ndarray  # float64 [n, folds], the single score of each fold
    embeddings: np.ndarray  # float32 [n, folds, f], pooled features; f = 0 where none are asked for
    unlike: np.ndarray  # float64 [n], see `detector.join`; NaN where no fold has a detector
    maps: np.ndarray  # float32 [n, S, S] in [0, 1], mean of the folds, see `grad_cam.enlarge`


class NetworkRunner:
    """Runs every fold's network on images; its graph is traced once, whatever the number of images."""

    def __init__(
        self,
        networks: fold_networks.FoldNetworks | kept_networks.KeptNetworks,
        detectors: Sequence[detector.Detector | None],
        classes: targets.ClassSet,
        versions: int = 1,
        embed: bool = False,
    ) -> None:
        """Splits the network after its backbone, unless its graph was kept.

        Args:
            networks: Networks of the folds; by a kept graph only of a runner with the same `embed`.
            detectors: Detectors of unlike images of the folds, or None, `[folds]`.
            classes: The classes that the networks predict.
            versions: Symmetries of a square whose scores are averaged, 1 to 8. Maps and features are of the image as
                it is.
            embed: Whether the pooled features are asked for.
        """
        self._networks, self._detectors, self._classes, self._versions = networks, detectors, classes, versions
        self._context = self._correct = None
        if isinstance(networks, kept_networks.KeptNetworks):
            self._run_batch: Callable[..., Sequence[tf.Tensor]] = networks.run_batch
            return
        network = networks.network
        self._context = patient_context_head.find_context_layer(network)
        self._correct = patient_bag_predictor.make_corrector(network) if self._context else None
        layers = [patient_context_head.HEAD_INPUT] if self._context else ["pooled"] * embed
        body, head = stage_features.split(network, [network.get_layer(name).output for name in layers])
        self._run_batch = _make_batch_function(body, head, network.inputs[0].shape, classes)

    def copy_graph(self, arrays: Mapping[str, np.ndarray]) -> bytes | None:
        """Copies the graph, see `kept_networks.copy_graph`; None where it is a kept one."""
        if isinstance(self._networks, kept_networks.KeptNetworks):
            return None
        return kept_networks.copy_graph(self._run_batch, self._networks.network, arrays)

    def prepare(self, images: np.ndarray, known: np.ndarray | None) -> None:
        """Runs the network that was chosen last, so that TensorFlow has optimized the graph; see `run`."""
        self._run_images(images, known)

    def run(self, images: np.ndarray, known: np.ndarray | None, patients: Sequence[str]) -> NetworkResults:
        """Runs every fold's network on images.

        Args:
            images: uint8 `[n, S, S, 3]`.
            known: float32 `[n, m]`, see `clinical_metadata.encode`; None where the networks use no metadata.
            patients: Patient of each image, "" where unknown; used by networks with patient context.

        Returns:
            `NetworkResults`.
        """
        scores, embeddings, maps = [], [], []
        unlike = np.full((len(images), len(self._networks)), np.nan)
        for fold, fitted in enumerate(self._detectors):
            self._networks.choose(fold)
            logits, features, stages, of_images = self._run_images(images, known)
            maps.append(of_images)
            scores.append(self._score(logits, features, images, known, patients))
            embeddings.append(features[:, :-1] if self._context else features)
            if fitted:
                unlike[:, fold] = detector.measure(fitted, stages)
        single = np.stack([of_fold[:, 0] for of_fold in scores], axis=1).astype(np.float64)
        mean = np.stack(scores).mean(axis=0)
        # The heads of patients correct the single score alone.
        mean = mean if self._context else targets.settle(mean, self._classes)
        enlarged = grad_cam.enlarge(np.mean(maps, axis=0), images.shape[1])
        return NetworkResults(mean, single, np.stack(embeddings, axis=1), detector.join(unlike), enlarged)

    def _run_images(
        self, images: np.ndarray, known: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Returns logits `[n, c]`, pooled features `[n, f]`, features of every resolution, and maps, of one fold."""
        parts = []
        inputs = [images, *([] if known is None else [known])]
        for start in range(0, len(images), _BATCH_SIZE):
            batch = [one[start : start + _BATCH_SIZE] for one in inputs]
            count = len(batch[0])
            padded = [np.concatenate([one] + [one[:1]] * max(0, _LEAST_BATCH - count)) for one in batch]
            found = self._run_batch(*map(tf.constant, padded))
            parts.append([np.asarray(part[:count], np.float32) for part in found])
        logits, pooled, stages, maps = (np.concatenate(part) for part in zip(*parts, strict=True))
        return logits, pooled, stages, maps

    def _score(
        self,
        logits: np.ndarray,
        features: np.ndarray,
        images: np.ndarray,
        known: np.ndarray | None,
        patients: Sequence[str],
    ) -> np.ndarray:
        """Returns the scores of one fold, the mean over the versions, float64 `[n, 1 + classes]`."""
        total = _to_scores(logits, self._classes)
        seen = features
        for version in range(1, self._versions):
            turned = test_time_augmentation.dihedral(tf.constant(images), tf.constant(version)).numpy()
            logits, features, *_ = self._run_images(turned, known)
            total = total + _to_scores(logits, self._classes)
            seen = seen + features
        found = targets.settle(total / self._versions, self._classes)
        if self._correct and self._context:
            # As `predict` does, of the mean features.
            seen = seen / self._versions
            found[:, 0] = scipy.special.expit(self._correct(self._context.sets.get_weights(), seen, patients))
            if self._classes.names:
                found[:, 1:] = targets.rescale(found[:, 1:], found[:, 0], self._classes)
        return found


def _make_batch_function(
    body: Callable[..., tuple[tf.Tensor, tf.Tensor]],
    head: tf.keras.Model,
    image_shape: tf.TensorShape,
    classes: targets.ClassSet,
) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Returns the function of one batch, see `NetworkRunner._run_images`: one graph for any number of images."""
    _, *known = head.inputs
    signature = [tf.TensorSpec(image_shape, tf.uint8), *(tf.TensorSpec(one.shape, tf.float32) for one in known)]

    # There is nothing for AutoGraph to convert, which asks that of every layer.
    @tf.function(input_signature=signature, autograph=False)
    def run_batch(images: tf.Tensor, *own: tf.Tensor) -> tuple[tf.Tensor, ...]:
        features, stages = body(decoding.to_float(images))
        maps, logits, pooled = grad_cam.explain_features(head, features, own[0] if own else None, classes)
        found = pooled[0] if pooled else tf.zeros([tf.shape(logits)[0], 0])
        return logits, found, stages, maps

    return run_batch


def _to_scores(logits: np.ndarray, classes: targets.ClassSet) -> np.ndarray:
    scores = targets.mean_scores([tf.constant(logits)], classes).numpy().astype(np.float64)
    return scores.reshape(len(logits), -1)
