import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit

from isic_tf.data import targets
from isic_tf.serving import graph_networks, run_parts

SIZE = 8


def mean_network(weight):
    """A network whose pooled features are the means of the colors, and whose logit is their weighted sum."""
    images = tf.keras.Input((SIZE, SIZE, 3))
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="pooled")(images)
    dense = tf.keras.layers.Dense(1, use_bias=False)
    network = tf.keras.Model(images, dense(pooled))
    dense.set_weights([np.full((3, 1), weight)])
    return network


def test_scores_and_embeddings_of_each_network_by_hand():
    networks = [mean_network(1.0), mean_network(-2.0)]
    judge = graph_networks.make_image_judge(networks, "", targets.BINARY, run_parts.NOTHING, embed=True)
    pixels = tf.constant(np.full((1, SIZE, SIZE, 3), 255, np.uint8))
    found, embeddings = judge(pixels, [])
    assert found["prediction"].numpy() == pytest.approx([(expit(3) + expit(-6)) / 2])
    assert embeddings.numpy() == pytest.approx(np.ones((1, 2, 3)))
    plain, nothing = graph_networks.make_image_judge(networks, "", targets.BINARY, run_parts.NOTHING)(pixels, [])
    assert plain["prediction"].numpy() == found["prediction"].numpy()
    assert nothing.shape == (1, 2, 0)


def test_of_several_labels_the_largest_is_taken_after_the_mean_over_versions():
    images = tf.keras.Input((SIZE, SIZE, 3))
    halves = [images[:, :, : SIZE // 2], images[:, :, SIZE // 2 :]]
    logits = [4 * tf.reduce_mean(half, axis=(1, 2, 3)) - 2 for half in halves]
    network = tf.keras.Model(images, tf.stack(logits, axis=1))
    classes = targets.ClassSet(("A", "B"), ("A", "B"), multi_label=True)
    judge = graph_networks.make_image_judge([network], "", classes, run_parts.RunParts(versions=4))
    pixels = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pixels[:, :, : SIZE // 2] = 255
    found, _ = judge(tf.constant(pixels), [])
    # Two of four versions exchange the halves: each label has both probabilities, and the largest is not 0.88.
    mean = (expit(2) + expit(-2)) / 2
    assert found["probabilities"].numpy() == pytest.approx(np.array([[mean, mean]]), abs=1e-6)
    assert found["prediction"].numpy() == pytest.approx([mean], abs=1e-6)


def test_outputs_are_named():
    assert list(graph_networks.name_outputs(tf.zeros([2]))) == ["prediction"]
    found = graph_networks.name_outputs(tf.constant([[0.5, 0.25, 0.75]]))
    assert found["prediction"].numpy().tolist() == [0.5]
    assert found["probabilities"].numpy().tolist() == [[0.25, 0.75]]
