import inspect
import itertools

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.families import convnext, names

# Parameters of the authors' networks in PyTorch; of these (f + 1) * 1000 are the 1000 classes'. Features f, and the
# largest rate of stochastic depth.
PUBLISHED = {
    "convnext-tiny": (28_589_128, 768, 0.1),
    "convnext-small": (50_223_688, 768, 0.4),
    "convnext-base": (88_591_464, 1024, 0.5),
    "convnext-large": (197_767_336, 1536, 0.5),
    "convnext-xlarge": (350_196_968, 2048, 0.4),
}
IMAGES = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize("backbone", names.FAMILIES["convnext"])
def test_depths_and_widths_have_the_published_parameters(backbone):
    count, features, last_rate = PUBLISHED[backbone]
    depths, widths, rate = convnext._VARIANTS[backbone]
    # Kernels and biases of the stem and of the three downsamplings, with gain and offset of their normalizations;
    # blocks of 7 x 7 + 1, 2, 4 (f + 1), 4 f + 1 and 1 for each of f features; the last normalization.
    found = 4 * 4 * 3 * widths[0] + 3 * widths[0] + 2 * widths[-1]
    found += sum(4 * before * after + after + 2 * before for before, after in itertools.pairwise(widths))
    found += sum(depth * (8 * width**2 + 58 * width) for depth, width in zip(depths, widths, strict=True))
    assert found == count - (features + 1) * 1000
    assert (widths[-1], rate) == (features, last_rate)


def test_a_network_has_the_published_parameters_and_stochastic_depth():
    count, features, last_rate = PUBLISHED["convnext-tiny"]
    with tf.Graph().as_default():
        tf.keras.backend.set_learning_phase(0)
        network = backbones.build_backbone("convnext-tiny", 32)
        assert network.count_params() == count - (features + 1) * 1000
    assert network.output_shape == (None, 1, 1, features)
    assert network.name == "convnext-tiny"
    rates = [layer.rate for layer in network.layers if isinstance(layer, tf.keras.layers.Dropout)]
    # They rise linearly from 0 at the first of 18 blocks, which needs no layer.
    assert rates == pytest.approx([last_rate * block / 17 for block in range(1, 18)])


@pytest.fixture(scope="module")
def pair():
    """A small ConvNeXt of the library with random weights, and one of this module with the same."""
    depths, widths = (1, 1, 2, 1), (4, 8, 12, 16)
    library = inspect.getmodule(tf.keras.applications.ConvNeXtTiny).ConvNeXt(
        depths, widths, model_name="convnext_tiny", include_top=False, input_shape=(64, 64, 3)
    )
    generator = np.random.default_rng(2)
    weights = [generator.normal(0, 0.5, weight.shape) for weight in library.weights]
    library.set_weights(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(convnext._VARIANTS, "convnext-tiny", (depths, widths, 0.1))
        network = convnext.build("convnext-tiny", 64)
    network.set_weights(weights)
    return library, network


def test_it_computes_what_the_librarys_network_does(pair):
    library, network = pair
    golden = library(255 * IMAGES).numpy()
    found = network(convnext.make_normalization("convnext-tiny")(IMAGES)).numpy()
    assert np.abs(golden).max() > 0.1
    assert found == pytest.approx(golden, abs=1e-4 * float(np.abs(golden).max()))


def test_layers_have_the_librarys_names_and_none_is_nested(pair):
    library, network = pair
    parts = [part for layer in library.layers for part in getattr(layer, "layers", [layer])]
    # Without the last layer, whose name the library counts.
    of_library = [part.name for part in parts if part.weights][:-1]
    assert [layer.name for layer in network.layers if layer.weights] == [*of_library, "convnext_tiny_head_layernorm"]
    assert not any(isinstance(layer, tf.keras.Model) for layer in network.layers)


def test_the_normalization_is_the_librarys(pair):
    library, _ = pair
    golden = library.get_layer("convnext_tiny_prestem_normalization")(255 * IMAGES).numpy()
    found = convnext.make_normalization("convnext-tiny")(IMAGES).numpy()
    assert found == pytest.approx(golden, abs=1e-5)


def test_a_depthwise_convolution_is_a_grouped_one():
    layer = convnext.DepthwiseConvolution()
    features = np.random.default_rng(3).normal(size=(1, 9, 9, 4)).astype(np.float32)
    layer(features)
    kernel, bias = layer.get_weights()
    layer.set_weights([kernel + 0.1, bias + np.arange(4)])
    golden = tf.nn.conv2d(features, kernel + 0.1, 1, "SAME").numpy() + np.arange(4)
    assert layer(features).numpy() == pytest.approx(golden, abs=1e-5)


def test_training_drops_whole_branches_of_single_images():
    tf.keras.backend.experimental.enable_tf_random_generator()
    inputs = tf.keras.Input((8, 8, 4))
    network = tf.keras.Model(inputs, convnext._add_block(inputs, 0.5, "block"))
    # So that the branch counts for as much as the image.
    network.get_layer("block_layer_scale").set_weights([np.full(4, 1e3, np.float32)])
    images = tf.constant(np.random.default_rng(4).random((32, 8, 8, 4)), tf.float32)
    branch = network(images, training=False) - images
    kept = ((network(images, training=True) - images) / branch).numpy().reshape(32, -1)
    # Kept branches count twice; a difference of float32 values is rounded.
    assert set(np.round(kept[:, 0])) == {0.0, 2.0}
    assert np.abs(kept - np.round(kept[:, :1])).max() < 1e-2


def test_stochastic_depth_draws_from_a_state_that_checkpoints_hold():
    tf.keras.backend.experimental.enable_tf_random_generator()
    inputs = tf.keras.Input((4, 4, 4))
    network = tf.keras.Model(inputs, convnext._add_block(inputs, 0.5, "block"))
    network.get_layer("block_layer_scale").set_weights([np.full(4, 1e3, np.float32)])
    images = tf.ones([32, 4, 4, 4])
    generator = network.get_layer("block_stochastic_depth")._random_generator._generator
    before = generator.state.numpy()
    first, second = network(images, training=True), network(images, training=True)
    assert (first.numpy() != second.numpy()).any()
    generator.state.assign(before)
    assert (network(images, training=True).numpy() == first.numpy()).all()
