"""From the outputs of a network to probabilities: of each class, and the single score of the positive ones.

Scores of several classes are `[n, 1 + classes]`: the single score, then the probability of each class.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from isic_tf.data.targets.class_set import BINARY, ClassSet
from isic_tf.metrics import logit


def positive_probability(labels: tf.Tensor, classes: ClassSet = BINARY) -> tf.Tensor:
    """Computes the probability of the positive classes.

    Args:
        labels: Labels or probabilities, float `[b, outputs]`.
        classes: The classes.

    Returns:
        float `[b]`, 0 to 1: in a softmax the sum of the positive classes, of several labels the largest.

    Examples:
        >>> labels = tf.constant([[0.0, 0.3, 0.7]])
        >>> round(float(positive_probability(labels, ClassSet(("NV", "BCC", "MEL"), ("BCC", "MEL")))[0]), 6)
        1.0
    """
    if len(classes.places) == 1:
        return labels[:, classes.places[0]]
    chosen = _select(labels, classes.places)
    return tf.reduce_max(chosen, axis=1) if classes.multi_label else tf.reduce_sum(chosen, axis=1)


def positive_logit(logits: tf.Tensor, classes: ClassSet = BINARY) -> tf.Tensor:
    """Computes the log odds of the positive classes.

    Args:
        logits: float32 `[b, outputs]`, of sigmoids or of a softmax.
        classes: The classes.

    Returns:
        float32 `[b]`, unbounded; its sigmoid is the single score.

    Examples:
        >>> logits = tf.math.log([[0.2, 0.3, 0.5]])
        >>> round(float(tf.sigmoid(positive_logit(logits, ClassSet(("NV", "BCC", "MEL"), ("BCC", "MEL"))))[0]), 6)
        0.8
    """
    places = classes.places
    own = logits[:, places[0]]
    if not classes.is_softmax:
        return own if len(places) == 1 else tf.reduce_max(_select(logits, places), axis=1)
    rest = [place for place in range(len(classes.names)) if place not in places]
    if len(places) > 1:
        own = tf.reduce_logsumexp(_select(logits, places), axis=1)
    return own - tf.reduce_logsumexp(_select(logits, rest), axis=1)


def _select(values: tf.Tensor, places: Sequence[int]) -> tf.Tensor:
    """Returns columns, by slices: the gradient of `tf.gather` is not deterministic on all devices."""
    ends = [place + 1 for place in places if place + 1 not in places]
    starts = [place for place in places if place - 1 not in places]
    return tf.concat([values[:, start:end] for start, end in zip(starts, ends, strict=True)], axis=1)


def mean_scores(logits: Sequence[tf.Tensor], classes: ClassSet = BINARY) -> tf.Tensor:
    """Averages the probabilities of several networks.

    Args:
        logits: Logits of each network, float32 `[b, outputs]`.
        classes: The classes.

    Returns:
        float32 `[b]`, 0 to 1, where there are no classes; or scores, float32 `[b, 1 + classes]`. Of several labels the
        single score is the largest mean, not the mean of the largest.

    Examples:
        >>> mean_scores([tf.constant([[0.0]])]).numpy().tolist()
        [0.5]
    """
    single = tf.add_n([tf.sigmoid(positive_logit(each, classes)) for each in logits]) / len(logits)
    if not classes.names:
        return single
    activate = tf.nn.softmax if classes.is_softmax else tf.sigmoid
    probabilities = tf.add_n([activate(each) for each in logits]) / len(logits)
    if classes.multi_label:
        single = positive_probability(probabilities, classes)
    return tf.concat([single[:, tf.newaxis], probabilities], axis=1)


def settle(scores: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Makes the single score that of the probabilities again, after scores of several labels were averaged.

    Args:
        scores: float `[n]`, or scores `[n, 1 + classes]`.
        classes: The classes.

    Returns:
        The same scores; of several labels with the largest positive probability as the single one.

    Examples:
        >>> settle(np.array([[0.9, 0.25, 0.5]]), ClassSet(("A", "B"), ("A", "B"), multi_label=True)).tolist()
        [[0.5, 0.25, 0.5]]
    """
    if not classes.multi_label:
        return scores
    probabilities = scores[:, 1:]
    return np.concatenate([classes.join(probabilities)[:, None], probabilities], axis=1)


def rescale(probabilities: np.ndarray, single: np.ndarray, classes: ClassSet) -> np.ndarray:
    """Changes probabilities of classes so that they fit a single score that was corrected, such as by calibration.

    In a softmax, the positive classes share the new score, and the others the rest, as they shared the old ones
    (Jeffrey conditioning). Of several labels, the log odds of the positive ones are moved alike.

    Args:
        probabilities: float `[n, classes]`, 0 to 1.
        single: float `[n]`, 0 to 1, the new single score.
        classes: The classes.

    Returns:
        float64 `[n, classes]`.

    Examples:
        >>> classes = ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL"))
        >>> rescale(np.array([[0.1, 0.3, 0.6]]), np.array([0.8]), classes).round(6).tolist()
        [[0.2, 0.6, 0.2]]
    """
    found = np.array(probabilities, np.float64)
    positive = list(classes.places)
    if classes.multi_label:
        change = logit.logits(single) - logit.logits(classes.join(found))
        # Not where nothing changes: the largest probability stays the single score to the last digit.
        moved = 1 / (1 + np.exp(-(logit.logits(found[:, positive]) + change[:, None])))
        found[:, positive] = np.where(change[:, None] == 0, found[:, positive], moved)
        return found
    rest = [place for place in range(found.shape[1]) if place not in positive]
    for places, total in ((positive, single), (rest, 1 - np.asarray(single, np.float64))):
        old = found[:, places].sum(axis=1, keepdims=True)
        shares = np.divide(
            found[:, places], old, out=np.full((len(found), len(places)), 1 / len(places)), where=old > 0
        )
        found[:, places] = shares * np.asarray(total)[:, None]
    return found
