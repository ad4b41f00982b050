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


def test_outputs_are_named():
    assert list(graph_networks.name_outputs(tf.zeros([2]))) == ["prediction"]
    found = graph_networks.name_outputs(tf.constant([[0.5, 0.25, 0.75]]))
    assert found["prediction"].numpy().tolist() == [0.5]
    assert found["probabilities"].numpy().tolist() == [[0.25, 0.75]]
