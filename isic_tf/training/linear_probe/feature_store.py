"""Pooled features of the images of a run, computed once and kept in memory."""

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.data import decoding, image_cache, input_pipeline, record_loading
from isic_tf.inference import test_time_augmentation
from isic_tf.training.linear_probe import heads, replica_runs
from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.data import mixture
    from isic_tf.training.config import TrainConfig

# Fraction of the free memory that the features may take.
_MAX_FRACTION = 0.8

# From records by their numbers, int64 `[n]`, and the version of each, int64 `[n]`, to features, float32 `[n, f]`.
FeatureReader = Callable[[np.ndarray, np.ndarray], np.ndarray]
# From images of one replica, uint8 `[b, S, S, 3]`, and the version, int32 `[]`, to features, float32 `[b, f]`.
Extract = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def _go_on() -> None:
    pass


def make_extract(classifier: tf.keras.Model) -> Extract:
    """Creates what one replica does with a batch: a rotation or flip, and the backbone in evaluation mode.

    Args:
        classifier: See `classifiers.build_classifier`.

    Returns:
        Function from uint8 images `[b, S, S, 3]` and the number of the version, int32 `[]`, see
        `test_time_augmentation.dihedral`, to features, float32 `[b, f]`.
    """
    extractor = heads.build_extractor(classifier)

    def extract(images: tf.Tensor, version: tf.Tensor) -> tf.Tensor:
        turned = decoding.to_float(test_time_augmentation.dihedral(images, version))
        return tf.cast(extractor(turned, training=False), tf.float32)

    return extract


class FeatureStore:
    """Pooled features of the records of a run, in eight rotations and flips; folds of one backbone share them.

    Args:
        num_records: Records of the run: the largest `number` of `mixture.read_sets` and 1.
    """

    def __init__(self, num_records: int) -> None:
        self._num_records = num_records
        # Digest of the weights that the features were computed with.
        self._backbone = ""
        self._features = np.empty([0, heads.VERSIONS, 0], np.float32)
        self._is_known = np.zeros([0, heads.VERSIONS], bool)

    @property
    def width(self) -> int:
        """The number of features f of an image; 0 before any were computed."""
        return self._features.shape[2]

    def read(self, numbers: np.ndarray, versions: np.ndarray | int) -> np.ndarray:
        """Returns features that were computed.

        Args:
            numbers: int64 `[n]`, records by their `number`.
            versions: int64 `[n]`, the version of each, or one for all.

        Returns:
            float32 `[n, f]`.
        """
        return self._features[numbers, versions]

    def compute(
        self,
        classifier: tf.keras.Model,
        plan: "mixture.Plan",
        strategy: tf.distribute.Strategy,
        config: "TrainConfig",
        images: record_loading.ImageReader | None = None,
        pause: Callable[[], None] = _go_on,
    ) -> int:
        """Computes the features of a fold that are not there yet.

        Args:
            classifier: See `classifiers.build_classifier`; created in the scope of the strategy.
            plan: Plan of the fold: each record to train on in eight versions, each held-out one as it is.
            strategy: See `strategies.choose_strategy`.
            config: The configuration of the run.
            images: Reader of decoded images, see `image_cache.open_images`; None to decode the records.
            pause: Called after each batch.

        Returns:
            Number of features that were computed: images times versions.

        Raises:
            ConfigError: The features of all records would not fit into memory.
        """
        self._forget_others(classifier)
        extract = replica_runs.make_runner(strategy, make_extract(classifier))
        parts = [self._find_missing(plan.rows, heads.VERSIONS), self._find_missing(plan.held_out, 1)]
        total = sum(len(rows) * len(versions) for rows, versions in parts)
        with tqdm(desc="features", total=total, leave=False, unit="image", disable=None) as progress:
            for rows, versions in parts:
                if len(rows):
                    self._add(rows, versions, extract, config, images, progress, pause)
        return total

    def _forget_others(self, classifier: tf.keras.Model) -> None:
        """Makes room, and drops features of another backbone."""
        extractor = heads.build_extractor(classifier)
        digest = hashlib.sha256()
        for weights in extractor.get_weights():
            digest.update(weights.tobytes())
        if digest.hexdigest() == self._backbone:
            return
        width = extractor.output_shape[-1]
        check_room(self._num_records, width)
        self._backbone = digest.hexdigest()
        # Memory that is not written to is not taken.
        self._features = np.empty([self._num_records, heads.VERSIONS, width], np.float32)
        self._is_known = np.zeros([self._num_records, heads.VERSIONS], bool)

    def _find_missing(self, rows: pd.DataFrame, count: int) -> tuple[pd.DataFrame, list[int]]:
        """Returns the rows that lack some of the first `count` versions, and which versions these are."""
        is_known = self._is_known[rows["number"], :count]
        lacking = ~is_known.all(axis=1)
        versions = np.flatnonzero(~is_known[lacking].all(axis=0))
        return rows[lacking], versions.tolist()

    def _add(
        self,
        rows: pd.DataFrame,
        versions: list[int],
        extract: replica_runs.Runner,
        config: "TrainConfig",
        images: record_loading.ImageReader | None,
        progress: tqdm,
        pause: Callable[[], None],
    ) -> None:
        """Computes and keeps versions of the features of some rows."""
        numbers = input_pipeline.in_file_order(rows)["number"].to_numpy()
        dataset = input_pipeline.make_eval_dataset(
            rows,
            image_size=config.image_size,
            batch_size=config.global_batch_size,
            threads=config.threads,
            images=images,
        )
        first = 0
        for batch, _ in dataset:
            # The last batch is filled up.
            own = numbers[first : first + config.global_batch_size]
            for version in versions:
                features = extract((batch,), tf.constant(version))
                self._features[own, version] = features[: len(own)]
                self._is_known[own, version] = True
                progress.update(len(own))
                pause()
            first += len(own)


def count_bytes(num_records: int, width: int) -> int:
    """Counts the bytes of the features of all versions.

    Args:
        num_records: Records.
        width: Features f of each version.

    Returns:
        Bytes.

    Examples:
        >>> count_bytes(384, 1280)
        15728640
    """
    return num_records * heads.VERSIONS * width * np.dtype(np.float32).itemsize


def check_room(num_records: int, width: int) -> None:
    """Checks that the features of all records fit into memory.

    Args:
        num_records: Records of the run.
        width: Features of each version.

    Raises:
        ConfigError: They do not.
    """
    needed = count_bytes(num_records, width)
    free = image_cache.free_memory()
    if needed > _MAX_FRACTION * free:
        raise errors.ConfigError(
            f"--freeze_epochs=all needs {needed / 1e9:.2f} GB for {width} features of {num_records} images in "
            f"{heads.VERSIONS} versions, more than {_MAX_FRACTION:.0%} of the {free / 1e9:.2f} GB of memory that are "
            "free; give --freeze_epochs a number of epochs, or use fewer records or a smaller --backbone"
        )
