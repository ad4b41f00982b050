import math

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
import tensorflow as tf
from harness import make_config

from isic_tf.data import mixture, targets
from isic_tf.training import losses


def of(values):
    return tf.constant(np.array(values, np.float32)[:, None])


def share(labels, logits, classes=targets.BINARY, **changes):
    return float(losses.make_loss(make_config(**{"label_smoothing": 0.0, **changes}), classes)(labels, logits))


def test_smoothed_cross_entropy_worked_by_hand():
    # Smoothed by 0.2, a label of 1 is 0.9; at logit 0 every cross-entropy is log 2.
    found = losses.cross_entropy(losses.smooth_labels(of([1, 0, 1]), 0.2), of([0, 0, 2])).numpy()
    probability = 1 / (1 + math.exp(-2))
    third = -0.9 * math.log(probability) - 0.1 * math.log(1 - probability)
    assert found == pytest.approx([math.log(2), math.log(2), third], abs=1e-6)


def test_cross_entropy_of_classes_worked_by_hand():
    labels = tf.constant([[0.0, 1.0, 0.0]])
    logits = tf.math.log(tf.constant([[0.2, 0.5, 0.3]]))
    assert float(losses.cross_entropy(labels, logits)[0]) == pytest.approx(math.log(2), abs=1e-6)
    smoothed = losses.smooth_labels(labels, 0.3).numpy()
    assert smoothed == pytest.approx(np.array([[0.1, 0.8, 0.1]]))


def test_focal_loss_worked_by_hand():
    # At a probability of 0.9, (1 - 0.9)^2 of the cross-entropy is left; of the other class (0.9)^2.
    logit = math.log(9)
    found = losses.cross_entropy(of([1, 0]), of([logit, logit]), gamma=2.0).numpy()
    assert found == pytest.approx([0.01 * -math.log(0.9), 0.81 * -math.log(0.1)], rel=1e-4)
    labels, logits = tf.constant([[0.0, 1.0, 0.0]]), tf.math.log(tf.constant([[0.2, 0.5, 0.3]]))
    assert float(losses.cross_entropy(labels, logits, gamma=2.0)[0]) == pytest.approx(0.25 * math.log(2), abs=1e-6)


@pytest.mark.parametrize("labels", [[[0.975]], [[0.9, 0.06, 0.04]]])
def test_a_focal_loss_is_least_where_probabilities_are_the_smoothed_labels(labels):
    labels = np.array(labels, np.float32)
    logits = tf.Variable(np.log(labels / (1 - labels)) if labels.shape[1] == 1 else np.log(labels))
    with tf.GradientTape() as tape:
        loss = losses.cross_entropy(tf.constant(labels), logits, gamma=2.0)
    assert np.abs(tape.gradient(loss, logits)).max() < 1e-5
    assert float(loss[0]) < 1e-5


def test_a_focal_loss_has_a_gradient_where_label_and_probability_are_equal():
    logits = of([0.0])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.cross_entropy(of([0.5]), logits, gamma=0.5)
    assert np.isfinite(tape.gradient(loss, logits).numpy()).all()


def test_a_malignant_image_counts_as_often_as_asked():
    one, other = share(of([1]), of([0.0])), share(of([0]), of([0.0]))
    assert one == other == pytest.approx(math.log(2) / make_config().global_batch_size)
    assert share(of([1, 0]), of([0, 0]), malignant_weight=5.0) == pytest.approx(5 * one + other)
    assert share(of([0.5]), of([0.0]), malignant_weight=5.0) == pytest.approx(3 * one)
    classes = targets.make_class_set("diagnosis", positive_classes="melanoma,basal cell carcinoma")
    labels = tf.eye(9)
    weights = [2.0 if name in classes.positive else 1.0 for name in classes.names]
    found = share(labels, tf.zeros([9, 9]), classes, malignant_weight=2.0)
    assert found == pytest.approx(sum(weights) * math.log(9) / 8)


def test_the_ranking_loss_worked_by_hand():
    # Pairs of the malignant at 1 with the benign at 0 and at 3.
    expected = (math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2
    assert share(of([1, 0, 0]), of([1, 0, 3]), loss="auc") == pytest.approx(expected, abs=1e-6)
    assert share(of([0, 0]), of([1, 5]), loss="auc") == 0
    # A label of a half is on both sides of its pairs, with itself too: here softplus(0), (1) and (-1), a quarter each.
    soft = (2 * math.log(2) + math.log(1 + math.exp(1)) + math.log(1 + math.exp(-1))) / 4
    assert share(of([0.5, 0.5]), of([1, 0]), loss="auc") == pytest.approx(soft, abs=1e-6)


def test_the_fraction_of_batches_of_one_class_worked_by_hand():
    # An epoch of as many malignant images as benign: of 2 images both are of one class as often as not.
    rows = pd.DataFrame({"group": [0, 0, 0, 1], "label": [0.0, 0.0, 0.0, 1.0]})
    plan = mixture.Plan(rows, np.array([3, 3]), rows, "")
    assert losses.describe_one_class_batches(plan, 2).startswith("  50% of the batches have one class only")


def test_descending_the_ranking_loss_raises_the_auc():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 64)
    features = tf.constant(rng.normal(labels[:, None], 2, (64, 3)), tf.float32)
    weights = tf.Variable([[-1.0], [-1.0], [-1.0]])
    aucs = []
    for _ in range(60):
        with tf.GradientTape() as tape:
            logits = features @ weights
            loss = losses.pairwise_ranking_loss(of(labels), logits)
        aucs.append(sklearn.metrics.roc_auc_score(labels, logits[:, 0]))
        weights.assign_sub(tape.gradient(loss, weights))
    assert aucs[0] < 0.4
    assert aucs[-1] > 0.7
