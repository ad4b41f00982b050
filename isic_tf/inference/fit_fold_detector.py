"""Fits and writes the detector of unlike images of a trained fold."""

import itertools
import logging
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.inference import predictor
from isic_tf.models import stage_features
from isic_tf.novelty import detector, detector_file

_LOG = logging.getLogger(__name__)
# Images of either kind: more of them change the quantiles by less than their own uncertainty.
_MOST_IMAGES = 2000


def fit_fold_detector(
    classifier: tf.keras.Model,
    weights: str,
    training: pd.DataFrame,
    held_out: pd.DataFrame,
    make_dataset: Callable[[pd.DataFrame], tf.data.Dataset],
    strategy: tf.distribute.Strategy,
    classes: targets.ClassSet = targets.BINARY,
) -> np.ndarray | None:
    """Fits a detector to a network's features of images that it was trained on, and of images that were held out.

    At most 2,000 of each are used, evenly spaced over the rows. All held-out images are measured. Their distances to
    the training images are out of sample; the limit that the distances are divided by is set on these images.

    Args:
        classifier: The network, with the weights that were kept.
        weights: Path of these weights, beside which the detector is written; "" to write nothing, as in workers that
            are not the chief.
        training: Rows of the training images, for `make_dataset`.
        held_out: Rows of the held-out images.
        make_dataset: Function from rows to their evaluation dataset, see `input_pipeline.make_eval_dataset`.
        strategy: `tf.distribute.Strategy`.
        classes: The classes that the classifier predicts.

    Returns:
        float32 `[n]`, how unlike the training images each held-out image is, see `detector.measure`; None where there
        are too few images for a detector, or features that are not finite, which is logged.
    """
    fewest = min(len(training), len(held_out))
    if fewest < detector.FEWEST_IMAGES:
        if len(held_out):
            _LOG.info(f"  no detector of unlike images: {detector.FEWEST_IMAGES} images needed, {fewest} held out")
        return None
    predict = predictor.make_predictor([classifier], strategy, classes=classes, stages=True)

    def extract(rows: pd.DataFrame) -> Iterator[tuple[list[str], np.ndarray]]:
        for names, _, found in predict(make_dataset(rows)):
            yield names, found[:, 0]

    parts = [list(extract(_space_out(rows))) for rows in (training, held_out)]
    features = [np.concatenate([found for _, found in batches]) for batches in parts]
    if not all(np.isfinite(found).all() for found in features):
        _LOG.warning("note: no detector of unlike images: features of the network are not finite")
        return None
    widths = stage_features.count_features(classifier)
    # A network of one's own may have a single feature before the last ones, which is too few for a Gaussian.
    early = sum(widths[:-1]) if sum(widths[:-1]) > 1 else None
    fitted = detector.fit_detector(features[0], features[1], early, sum(widths[-2:]))
    if weights:
        detector_file.save_detector(weights, fitted)
    others = held_out.drop(_space_out(held_out).index)
    values: dict[str, float] = {}
    for names, found in itertools.chain(parts[1], extract(others) if len(others) else ()):
        values.update(zip(names, detector.measure(fitted, found), strict=True))
    return np.array([values[name] for name in held_out["image_name"]], np.float32)


def count_images(training: int, held_out: int) -> int:
    """Counts the images that `fit_fold_detector` passes through the network.

    Args:
        training: Number of training images.
        held_out: Number of held-out images.

    Returns:
        Their number; 0 where there are too few for a detector.

    Examples:
        >>> count_images(30_000, 3000), count_images(30_000, 5)
        (5000, 0)
    """
    return min(training, _MOST_IMAGES) + held_out if min(training, held_out) >= detector.FEWEST_IMAGES else 0


def _space_out(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns as many rows as are used, evenly spaced."""
    return rows.iloc[np.unique(np.linspace(0, len(rows) - 1, _MOST_IMAGES).astype(int))]
