import math

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.data import targets

SOFTMAX = targets.ClassSet(("NV", "MEL", "BKL", "BCC"), ("MEL", "BCC"))
LABELS = targets.ClassSet(("A", "B", "C"), ("A", "C"), multi_label=True)


def test_the_score_of_a_softmax_is_the_sum_of_the_positive_classes():
    # Two networks: 0.1 0.2 0.3 0.4, and 0.7 0.1 0.1 0.1.
    logits = [tf.math.log([[0.1, 0.2, 0.3, 0.4]]), 5.0 + tf.math.log([[0.7, 0.1, 0.1, 0.1]])]
    found = targets.mean_scores(logits, SOFTMAX).numpy()
    assert found == pytest.approx(np.array([[0.4, 0.4, 0.15, 0.2, 0.25]]), abs=1e-6)
    assert targets.positive_logit(logits[0], SOFTMAX).numpy() == pytest.approx([math.log(0.6 / 0.4)], abs=1e-6)
    assert targets.positive_probability(tf.constant([[0.1, 0.2, 0.3, 0.4]]), SOFTMAX).numpy() == pytest.approx([0.6])


def test_the_score_of_several_labels_is_the_largest_positive_mean():
    odds = [[[0.8, 0.9, 0.1]], [[0.2, 0.9, 0.7]]]
    logits = [tf.math.log(tf.constant(one) / (1 - tf.constant(one))) for one in odds]
    found = targets.mean_scores(logits, LABELS).numpy()
    # The mean of the largest would be 0.75.
    assert found == pytest.approx(np.array([[0.5, 0.5, 0.9, 0.4]]), abs=1e-6)
    assert targets.positive_logit(logits[1], LABELS).numpy() == pytest.approx([math.log(0.7 / 0.3)], abs=1e-5)
    assert targets.settle(np.array([[0.75, 0.5, 0.9, 0.4]]), LABELS).tolist() == [[0.5, 0.5, 0.9, 0.4]]
    assert targets.settle(np.array([0.3]), targets.BINARY).tolist() == [0.3]


def test_the_malignant_logit_is_that_of_the_softmax():
    logits = np.random.default_rng(0).normal(0, 3, (5, 9)).astype(np.float32)
    classes = targets.make_class_set("diagnosis")
    exponentials = np.exp(logits)
    expected = exponentials[:, 1] / exponentials.sum(axis=1)
    assert tf.sigmoid(targets.positive_logit(tf.constant(logits), classes)).numpy() == pytest.approx(expected, abs=1e-6)
    # To the last digit as in release 0.1.
    others = tf.concat([logits[:, :1], logits[:, 2:]], axis=1)
    old = logits[:, 1] - tf.reduce_logsumexp(others, axis=1)
    assert np.array_equal(targets.positive_logit(tf.constant(logits), classes), old)
    assert targets.positive_logit(tf.constant([[0.3]])).numpy() == pytest.approx([0.3])


def test_probabilities_follow_a_corrected_score():
    probabilities = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.0, 0.5, 0.0]])
    found = targets.rescale(probabilities, np.array([0.3, 0.2]), SOFTMAX)
    # Of 0.6 half is left; 0.4 grows to 0.7. Where the positive classes had nothing, they share alike.
    assert found == pytest.approx(np.array([[0.175, 0.1, 0.525, 0.2], [0.4, 0.1, 0.4, 0.1]]))
    found = targets.rescale(np.array([[0.5, 0.9, 0.2]]), np.array([0.8]), LABELS)
    # Odds of 1 became 4, and so do those of 1/4 become 1.
    assert found == pytest.approx(np.array([[0.8, 0.9, 0.5]]))
    same = targets.rescale(np.array([[0.1, 0.9, 0.2]]), np.array([0.2]), LABELS)
    assert same.tolist() == [[0.1, 0.9, 0.2]]
