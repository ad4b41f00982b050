import numpy as np
import pytest
import tensorflow as tf

from isic_tf.inference import merged_batch_norms
from isic_tf.models import classifiers, stage_features


def make_network(layer, shared=False):
    """A 1x1 convolution of one channel by 2 and 5 and its normalization; with `shared`, both are outputs."""
    image = tf.keras.Input((1, 1, 1))
    convolved = layer(image)
    normalization = tf.keras.layers.BatchNormalization(epsilon=1.0)
    outputs = normalization(convolved)
    # gamma, beta, mean, variance
    normalization.set_weights([np.array(values, np.float32) for values in ([3, 1], [0.5, 0], [4, 1], [3, 0])])
    return tf.keras.Model(image, [outputs, convolved] if shared else outputs)


def make_layer(kind):
    weights = np.array([2, 5], np.float32).reshape(1, 1, 1, 2)
    if kind == "depthwise":
        layer = tf.keras.layers.DepthwiseConv2D(1, depth_multiplier=2, use_bias=False)
    else:
        layer = tf.keras.layers.Conv2D(2, 1, use_bias=False)
    layer.build((None, 1, 1, 1))
    layer.set_weights([weights])
    return layer


def compute(network, *inputs):
    function = tf.function(merged_batch_norms.merge(network))
    graph = function.get_concrete_function(inputs if len(inputs) > 1 else inputs[0]).graph
    return function(inputs if len(inputs) > 1 else inputs[0]), {operation.type for operation in graph.get_operations()}


@pytest.mark.parametrize("kind", ["plain", "depthwise"])
def test_a_normalization_becomes_a_kernel_and_a_bias(kind):
    network = make_network(make_layer(kind))
    found, operations = compute(network, tf.fill([1, 1, 1, 1], 7.0))
    # (14 - 4) * 3 / sqrt(3 + 1) + 0.5 and (35 - 1) * 1 / sqrt(0 + 1)
    np.testing.assert_allclose(np.ravel(found), [15.5, 34], rtol=1e-6)
    assert "BiasAdd" in operations
    assert "FusedBatchNormV3" not in operations


def test_weights_that_are_exchanged_later_count():
    network = make_network(make_layer("plain"))
    function = tf.function(merged_batch_norms.merge(network))
    function(tf.ones([1, 1, 1, 1]))
    network.set_weights([2 * weight for weight in network.get_weights()])
    image = tf.fill([1, 1, 1, 1], 7.0)
    np.testing.assert_allclose(function(image), network(image, training=False), rtol=1e-6)


def test_a_convolution_that_others_use_keeps_its_normalization():
    network = make_network(make_layer("plain"), shared=True)
    (normalized, convolved), operations = compute(network, tf.fill([1, 1, 1, 1], 7.0))
    np.testing.assert_allclose(np.ravel(normalized), [15.5, 34], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(convolved), [14, 35], rtol=1e-6)
    assert "FusedBatchNormV3" in operations


def test_inputs_from_around_a_loop_are_found():
    merged = merged_batch_norms.merge(make_network(make_layer("plain")))

    @tf.function
    def add_up(image):
        total = tf.zeros([1, 1, 1, 2])
        for _ in tf.range(3):
            total += merged(image)
        return total

    np.testing.assert_allclose(np.ravel(add_up(tf.fill([1, 1, 1, 1], 7.0))), [46.5, 102], rtol=1e-6)


def test_a_normalization_by_the_statistics_of_the_batch_stays():
    image = tf.keras.Input((2, 2, 1))
    normalization = tf.keras.layers.BatchNormalization()
    network = tf.keras.Model(image, normalization(make_layer("plain")(image), training=True))
    images = tf.reshape(tf.range(8.0), [2, 2, 2, 1])
    found, operations = compute(network, images)
    np.testing.assert_allclose(found, network(images), atol=1e-6)
    assert "FusedBatchNormV3" in operations


def test_a_network_that_uses_other_things_is_left_as_it_is():
    table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(["a"], [2.0]), 0.0)
    image = tf.keras.Input((1,), dtype=tf.string)
    network = tf.keras.Model(image, tf.keras.layers.Lambda(table.lookup)(image))
    assert merged_batch_norms.merge(network) is network


def test_a_network_with_functions_that_read_variables_is_left_as_it_is():
    layer = make_layer("plain")
    image = tf.keras.Input((1, 1, 1))
    network = tf.keras.Model(image, make_network(layer)(tf.keras.layers.Lambda(lambda one: one)(image)))
    inner = network.layers[-1]
    inner.call = tf.function(inner.call)
    assert merged_batch_norms.merge(network) is network


@pytest.mark.parametrize("backbone", ["efficientnet-b0", "mobilenetv3-small"])
def test_classifiers_give_the_same_logits_and_features(backbone):
    classifier = classifiers.build_classifier(backbone, 32, metadata="age")
    rng = np.random.default_rng(0)
    for weight in classifier.weights:
        if "moving" in weight.name or "gamma" in weight.name:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    network = stage_features.add_stage_features(classifier)
    inputs = [tf.constant(rng.random((2, *one.shape[1:])), tf.float32) for one in network.inputs]
    found, operations = compute(network, *inputs)
    assert "FusedBatchNormV3" not in operations
    for own, expected in zip(found, network(inputs, training=False), strict=True):
        np.testing.assert_allclose(own, expected, rtol=1e-5, atol=1e-5)
