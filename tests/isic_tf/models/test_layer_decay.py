import math

import pytest
import tensorflow as tf

from isic_tf.models import backbones, layer_decay


def count_blocks(network, *names):
    """Returns of each layer how many blocks there are from it to the head."""
    factors = layer_decay.find_factors(network, 0.5)
    return [-round(math.log2(factors[network.get_layer(name).weights[0].ref()])) for name in names]


def chain(*names, unit=None):
    """A network of layers with one weight each, one after the other."""
    inputs = tf.keras.Input((2,))
    outputs = inputs
    for name in names:
        outputs = tf.keras.layers.Dense(2, use_bias=False, name=name)(outputs)
    return tf.keras.Model(inputs, outputs, name=unit)


# Of the smallest network of each family: its blocks, as its paper counts them, and some of its layers with the number
# of blocks from them to the head.
FAMILIES = {
    "efficientnet-lite0": (16, {"stem_bn": 17, "block1a_dwconv": 16, "block2b_bn": 14, "block7a_bn": 1, "top_bn": 0}),
    "efficientnet-b0": (16, {"stem_conv": 17, "block3a_se_reduce": 13, "block7a_project_bn": 1, "top_conv": 0}),
    "efficientnetv2-b0": (21, {"stem_conv": 22, "block4a_dwconv2": 16, "block6h_se_expand": 1, "top_conv": 0}),
    "convnext-tiny": (
        18,
        {
            "convnext_tiny_stem_conv": 19,
            "convnext_tiny_stage_0_block_2_layer_scale": 16,
            "convnext_tiny_downsampling_conv_0": 15,
            "convnext_tiny_stage_1_block_0_depthwise_conv": 15,
            "convnext_tiny_stage_3_block_2_pointwise_conv_2": 1,
            "convnext_tiny_head_layernorm": 0,
        },
    ),
    "resnet-rs-50": (
        16,
        {
            "stem_1_stem_conv_4": 17,
            "BlockGroup2__block_0__projection_conv": 16,
            "BlockGroup4__block_5_batch_norm_1": 4,
            "BlockGroup5__block_2__se_se_expand": 1,
        },
    ),
    "regnetx-002": (
        13,
        {
            "regnetx002_stem_bn": 14,
            "regnetx002_Stage_1_XBlock_0_skip_bn": 12,
            "regnetx002_Stage_3_XBlock_6_conv_3x3": 1,
        },
    ),
    "densenet-121": (
        58,
        {"conv1/conv": 59, "conv2_block6_2_conv": 53, "pool2_conv": 52, "conv3_block1_0_bn": 52, "bn": 0},
    ),
    "mobilenetv3-small": (
        11,
        {
            "Conv": 12,
            "expanded_conv/project": 11,
            "expanded_conv_1/expand/BatchNorm": 10,
            "expanded_conv_10/squeeze_excite/Conv": 1,
            "Conv_1": 0,
        },
    ),
}


@pytest.mark.parametrize("backbone", FAMILIES)
def test_the_blocks_of_each_family_are_found(backbone):
    blocks, expected = FAMILIES[backbone]
    # A graph of its own, in which no variable is given values or memory.
    with tf.Graph().as_default():
        tf.keras.backend.set_learning_phase(0)
        network = backbones.build_backbone(backbone, 32)
    assert dict(zip(expected, count_blocks(network, *expected), strict=True)) == expected
    counts = count_blocks(network, *(layer.name for layer in network.layers if layer.weights))
    # From the stem to the head, each number once.
    assert counts == sorted(counts, reverse=True)
    assert set(counts) - {0} == set(range(1, blocks + 2))
    assert layer_decay.find_factors(network, 0.5).keys() >= {variable.ref() for variable in network.weights}


def test_layers_around_blocks_worked_by_hand():
    network = chain("stem", "norm", "block1a_a", "block1a_b", "between", "block1b_a", "block2a_a", "last")
    names = [layer.name for layer in network.layers[1:]]
    assert count_blocks(network, *names) == [4, 4, 3, 3, 2, 2, 1, 0]


def test_layers_of_networks_inside_a_network_count():
    inputs = tf.keras.Input((2,))
    inner = chain("block1a_a", "block1b_a", unit="inner")
    network = tf.keras.Model(inputs, chain("top", unit="end")(inner(chain("stem", unit="start")(inputs))))
    factors = layer_decay.find_factors(network, 0.5)
    assert [factors[variable.ref()] for variable in network.weights] == [0.125, 0.25, 0.5, 1.0]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        # 14 layers in 12 groups: two of them have two layers.
        (14, [12, 12, 11, 10, 9, 8, 7, 6, 6, 5, 4, 3, 2, 1]),
        (24, [number for number in range(12, 0, -1) for _ in range(2)]),
        (3, [3, 2, 1]),
    ],
)
def test_a_network_whose_names_tell_nothing_is_split_into_twelve_groups(layers, expected):
    names = [f"part{number}" for number in range(layers)]
    assert count_blocks(chain(*names), *names) == expected


def test_a_network_without_weights_has_no_factors():
    inputs = tf.keras.Input((2,))
    assert layer_decay.find_factors(tf.keras.Model(inputs, tf.keras.layers.ReLU()(inputs)), 0.5) == {}


def test_a_weight_of_no_layer_is_taken_with_the_stem():
    class Positioned(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.position = self.add_weight("position", (2,))
            self.first, self.second = (tf.keras.layers.Dense(2, name=name) for name in ("block1a_a", "block1b_a"))

        def call(self, inputs):
            return self.second(self.first(inputs + self.position))

    network = Positioned()
    network(tf.zeros([1, 2]))
    factors = layer_decay.find_factors(network, 0.5)
    assert [factors[part.ref()] for part in (network.position, network.first.kernel, network.second.bias)] == [
        0.25,
        0.25,
        0.5,
    ]
