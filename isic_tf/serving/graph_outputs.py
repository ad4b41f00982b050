"""What follows the networks, in a TensorFlow graph: the calibration, and the detectors of unlike images."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.metrics import logit
from isic_tf.novelty import detector
from tfrecord_tools import errors


def calibrate(calibration: Mapping[str, Any], scores: tf.Tensor, prevalence: tf.Tensor | None = None) -> tf.Tensor:
    """Computes what `calibration.apply_calibration` does.

    Args:
        calibration: See `calibration_file.read_calibration`.
        scores: float32 `[n]`, 0 to 1.
        prevalence: Prevalence of malignant images, float32 `[n]`, between 0 and 1; None for the calibration's
            `used_at`, or for no correction where that is absent.

    Returns:
        Probabilities, float32 `[n]`.

    Raises:
        IsicError: The method of the calibration is unknown.

    Examples:
        >>> fitted = {"method": "temperature", "temperature": 2.0, "prevalence": 0.5}
        >>> calibrate(fitted, tf.constant([0.9, 0.5]), tf.constant([0.1, 0.1])).numpy().round(3).tolist()
        [0.25, 0.10000000149011612]
    """
    method = calibration["method"]
    # As precise as the function: a float32 next to 1 has a coarse logit.
    values = tf.cast(scores, tf.float64)
    clipped = tf.clip_by_value(values, logit.LEAST, logit.MOST)
    logits = tf.math.log(clipped) - tf.math.log1p(-clipped)
    if method == "platt":
        values = tf.sigmoid(calibration["slope"] * logits + calibration["intercept"])
    elif method == "temperature":
        values = tf.sigmoid(logits / calibration["temperature"])
    elif method == "isotonic":
        values = _interpolate(values, calibration["scores"], calibration["probabilities"])
    elif method != "none":
        raise errors.IsicError(f"expected a calibration that can be exported, got the method {method!r}")
    if prevalence is None and calibration.get("used_at") is None:
        return tf.cast(values, tf.float32)
    new = tf.cast(calibration["used_at"] if prevalence is None else prevalence, tf.float64)
    old = calibration["prevalence"]
    malignant = values * (new / old)
    benign = (1 - values) * ((1 - new) / (1 - old))
    return tf.cast(malignant / (malignant + benign), tf.float32)


def _interpolate(values: tf.Tensor, places: Sequence[float], heights: Sequence[float]) -> tf.Tensor:
    """Interpolates linearly between points, as `np.interp`: places in ascending order, float64 `[n]`."""
    if len(places) == 1:
        return tf.fill(tf.shape(values), tf.constant(heights[0], tf.float64))
    x, y = (tf.constant(points, tf.float64) for points in (places, heights))
    right = tf.clip_by_value(tf.searchsorted(x, values, side="right"), 1, len(places) - 1)
    x_left, x_right = tf.gather(x, right - 1), tf.gather(x, right)
    share = tf.math.divide_no_nan(tf.clip_by_value(values, x[0], x[-1]) - x_left, x_right - x_left)
    return tf.gather(y, right - 1) + share * (tf.gather(y, right) - tf.gather(y, right - 1))


def measure_unlike(detectors: Sequence[detector.Detector | None], features: tf.Tensor) -> tf.Tensor:
    """Computes what `detector.measure` and `detector.join` do.

    Args:
        detectors: The detector of each network, or None, `[networks]`; not all are None.
        features: float32 `[n, networks, f]`, features of the images at every resolution by each network.

    Returns:
        float32 `[n]`: above 1 for 5 % of images like the training images.
    """
    logs = [
        tf.math.log(tf.maximum(_measure(one, features[:, place]), tf.constant(detector.LEAST, tf.float64)))
        for place, one in enumerate(detectors)
        if one
    ]
    return tf.cast(tf.exp(tf.add_n(logs) / len(logs)), tf.float32)


def _measure(fitted: detector.Detector, features: tf.Tensor) -> tf.Tensor:
    """Returns the larger of both distances in units of their limits, float64 `[n]`."""
    early = tf.cast(features[:, : len(fitted.mean)], tf.float64)
    standardized = (early - fitted.mean.astype(np.float64)) / fitted.scale.astype(np.float64)
    projected = tf.matmul(standardized, fitted.components.T.astype(np.float64)) ** 2
    rest = tf.maximum(tf.reduce_sum(standardized**2, axis=1) - tf.reduce_sum(projected, axis=1), 0)
    gaussian = tf.reduce_sum(projected / fitted.variances.astype(np.float64), axis=1) + rest / fitted.residual[0]
    # Kept as float16, a third of the size of a network.
    references = tf.cast(tf.constant(fitted.references), tf.float32)
    late = features[:, -fitted.references.shape[1] :]
    own = late / tf.maximum(tf.norm(late, axis=1, keepdims=True), detector.LEAST)
    squared = tf.maximum(2 - 2 * tf.matmul(own, references, transpose_b=True), 0)
    count = min(detector.NEIGHBOR, len(fitted.references))
    nearest = tf.sqrt(tf.cast(-tf.math.top_k(-squared, count).values[:, -1], tf.float64))
    limits = fitted.limits.astype(np.float64)
    return tf.maximum(gaussian / limits[0], nearest / limits[1]) / limits[2]
