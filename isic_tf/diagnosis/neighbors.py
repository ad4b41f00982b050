"""The training images that are most similar to a photograph: images of patients, shown only where asked for."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.diagnosis import diagnosis_page, training_features
from isic_tf.inference import fold_networks
from isic_tf.visualization import image_sheet, record_images
from tfrecord_tools.io import record_index

COUNT = 5
# Side of their pictures, in pixels.
_SIDE = 112


@dataclasses.dataclass(frozen=True)
class Neighbor:
    """A training image that is similar to a photograph.

    Attributes:
        image: Name of the training image.
        label: `malignant` or `benign`, of a run with classes of the user's own `positive` or `negative`; or `no label`.
        similarity: Cosine of the angle between the pooled features of both by the same network, up to 1.
        picture: The image, reduced, as the address of its own bytes (JPEG).

    Examples:
        >>> Neighbor("ISIC_0000001", "benign", 0.81, "data:image/jpeg;base64,...").label
        'benign'
    """

    image: str
    label: str
    similarity: float
    picture: str


def find_neighbors(
    workdir: str,
    paths: Sequence[str],
    run: Mapping[str, Any],
    load_networks: Callable[[], fold_networks.FoldNetworks],
    records: str,
    embeddings: np.ndarray,
) -> list[tuple[Neighbor, ...]]:
    """Finds the training images that are most similar to some images.

    A training image is compared by a network that was not trained on it, so that its features are what a network sees
    in a new image; both images by the same network.

    Args:
        workdir: See `training_features.read_or_compute`.
        paths: See `training_features.read_or_compute`.
        run: See `training_features.read_or_compute`.
        load_networks: See `training_features.read_or_compute`.
        records: See `training_features.read_or_compute`.
        embeddings: float32 `[m, folds, f]`, pooled features of the images by every network.

    Returns:
        For each image the five most similar training images, the most similar first; fewer where there are fewer.

    Raises:
        CorruptRecordError: See `training_features.read_or_compute`.
        IsicError: See `training_features.read_or_compute`.
    """
    known = training_features.read_or_compute(workdir, paths, run, load_networks, records)
    similarity = compare(known, embeddings)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :COUNT]
    chosen = np.unique(order)
    shards = np.array(record_index.match_shards(records))
    rows = pd.DataFrame({"image_name": known.image_name[chosen], "shard": shards[known.shard[chosen]]})
    rows = rows.assign(position=known.position[chosen])
    images = record_images.load_images(rows, run["image_size"])
    small = tf.image.resize(images, (_SIDE, _SIDE), "area").numpy().round().astype(np.uint8)
    pictures = dict(zip(chosen.tolist(), map(diagnosis_page.encode, small), strict=True))

    malignant, benign = targets.name_groups(run.get("target", "binary"))

    def describe(image: int, place: int) -> Neighbor:
        target = int(known.target[place])
        label = image_sheet.LABELS[target] if target < 0 else (benign, malignant)[target]
        return Neighbor(str(known.image_name[place]), label, float(similarity[image, place]), pictures[place])

    return [tuple(describe(image, place) for place in own) for image, own in enumerate(order.tolist())]


def compare(known: training_features.TrainingFeatures, embeddings: np.ndarray) -> np.ndarray:
    """Compares images with training images.

    Args:
        known: Features of n training images.
        embeddings: float32 `[m, folds, f]`, pooled features of m images by every network.

    Returns:
        float32 `[m, n]`, cosines of the angle between the features, by the network of the training image.

    Examples:
        >>> zeros = np.zeros(2, np.int64)
        >>> features = np.array([[1, 0], [0, 1]], np.float16)
        >>> known = training_features.TrainingFeatures(np.array(["a", "b"]), zeros, zeros, zeros, zeros, features)
        >>> compare(known, np.array([[[3.0, 4.0]]], np.float32)).round(2).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    found = np.zeros((len(embeddings), len(known.features)), np.float32)
    for network in np.unique(known.network):
        own = known.network == network
        of_images = training_features.normalize(embeddings[:, network])
        found[:, own] = of_images @ known.features[own].astype(np.float32).T
    return found
