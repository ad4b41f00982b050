"""Fits and writes the detector of unlike images of a trained fold."""

import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.inference import predictor
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
) -> detector.Detector | None:
    """Fits a detector to a network's features of images that it was trained on, and of images that were held out.

    At most 2,000 of each are used, evenly spaced over the rows.

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
        The detector; None where there are too few images, or features that are not finite, which is logged.
    """
    fewest = min(len(training), len(held_out))
    if fewest < detector.FEWEST_IMAGES:
        if len(held_out):
            _LOG.info(f"  no detector of unlike images: {detector.FEWEST_IMAGES} images needed, {fewest} held out")
        return None
    predict = predictor.make_predictor([classifier], strategy, classes=classes, stages=True)
    features = []
    for rows in (training, held_out):
        chosen = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, _MOST_IMAGES).astype(int))]
        features.append(np.concatenate([found[:, 0] for _, _, found in predict(make_dataset(chosen))]))
    if not all(np.isfinite(found).all() for found in features):
        _LOG.warning("note: no detector of unlike images: features of the network are not finite")
        return None
    fitted = detector.fit_detector(features[0], features[1])
    if weights:
        detector_file.save_detector(weights, fitted)
    return fitted
