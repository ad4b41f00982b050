import re

import numpy as np
import pytest
import torch_bytes

from isic_tf.models.families import efficientnet_lite
from isic_tf.models.pretrained import lite_weights, naming_schemes
from tfrecord_tools import errors


@pytest.fixture(scope="module")
def network():
    return efficientnet_lite.build("efficientnet-lite0", 32)


@pytest.fixture
def state_dict(network):
    """The network's weights under the names of the reference, without those that a test changes."""
    generator = np.random.default_rng(0)
    names = naming_schemes.name_sources(network, "efficientnet_pytorch")
    arrays = {}
    for layer in network.layers:
        for name, weight in zip(names.get(layer.name, []), layer.weights, strict=True):
            array = generator.random(weight.shape, np.float32)
            depthwise = layer.name.endswith("dwconv")
            arrays[name] = array.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)) if array.ndim == 4 else array
    arrays["_fc.weight"], arrays["_fc.bias"] = np.zeros((1000, 1280), np.float32), np.zeros(1000, np.float32)
    return arrays


def write(tmp_path, arrays):
    path = tmp_path / "lite.pth"
    path.write_bytes(torch_bytes.state_dict_file(arrays))
    return str(path)


def test_names_of_a_network_that_was_trained_in_parallel_are_taken(network, state_dict, tmp_path):
    lite_weights.load_lite(network, write(tmp_path, {f"module.{name}": state_dict[name] for name in state_dict}))
    np.testing.assert_array_equal(network.get_layer("stem_bn").gamma.numpy(), state_dict["_bn0.weight"])


def test_names_are_those_of_the_published_files(network):
    names = naming_schemes.name_sources(network, "efficientnet_pytorch")
    assert names["stem_bn"] == [f"_bn0.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    # The first block has no expansion; the second stage begins with block 1.
    assert names["block1a_dwconv"] == ["_blocks.0._depthwise_conv.weight"]
    assert names["block2a_expand_conv"] == ["_blocks.1._expand_conv.weight"]
    assert names["block2a_project_bn"][0] == "_blocks.1._bn2.weight"
    assert names["block7a_project_conv"] == ["_blocks.15._project_conv.weight"]
    assert names["top_conv"] == ["_conv_head.weight"]


def test_every_weight_is_loaded_in_keras_order(network, state_dict, tmp_path):
    lite_weights.load_lite(network, write(tmp_path, state_dict))
    stem = network.get_layer("stem_conv").get_weights()[0]
    assert stem[0, 1, 2, 3] == state_dict["_conv_stem.weight"][3, 2, 0, 1]
    depthwise = network.get_layer("block1a_dwconv").get_weights()[0]
    assert depthwise[2, 1, 5, 0] == state_dict["_blocks.0._depthwise_conv.weight"][5, 0, 2, 1]
    np.testing.assert_array_equal(network.get_layer("top_bn").moving_variance.numpy(), state_dict["_bn1.running_var"])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda arrays: arrays.pop("_bn1.bias"), "_bn1.bias is missing (1 missing, 0 left over)"),
        (
            lambda arrays: arrays.update({"_blocks.0._se_reduce.weight": np.zeros((8, 32, 1, 1))}),
            "_blocks.0._se_reduce.weight belongs to no layer (0 missing, 1 left over)",
        ),
        (
            lambda arrays: arrays.update({"_conv_stem.weight": np.zeros((40, 3, 3, 3))}),
            "_conv_stem.weight has the shape (40, 3, 3, 3), which is (3, 3, 3, 40) in Keras's order, instead of",
        ),
    ],
)
def test_weights_of_another_network_change_nothing(network, state_dict, tmp_path, change, expected):
    before = network.get_weights()
    change(state_dict)
    with pytest.raises(errors.CorruptRecordError, match=re.escape(expected)):
        lite_weights.load_lite(network, write(tmp_path, state_dict))
    assert all(np.array_equal(old, new) for old, new in zip(before, network.get_weights(), strict=True))
