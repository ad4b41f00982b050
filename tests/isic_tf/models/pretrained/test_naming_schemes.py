import pytest

from isic_tf.models.pretrained import naming_schemes

# As the libraries print them: timm 1.0.31, torchvision 0.29.1, efficientnet_pytorch 0.7.1, Keras 3.15.
GOLDEN = {
    ("efficientnet-b0", "timm"): {
        "stem_bn": "bn1.",
        "block1a_dwconv": "blocks.0.0.conv_dw.",
        "block1a_project_conv": "blocks.0.0.conv_pw.",
        "block1a_project_bn": "blocks.0.0.bn2.",
        "block2b_expand_conv": "blocks.1.1.conv_pw.",
        "block2b_bn": "blocks.1.1.bn2.",
        "block4c_se_reduce": "blocks.3.2.se.conv_reduce.",
        "block7a_project_conv": "blocks.6.0.conv_pwl.",
        "top_conv": "conv_head.",
    },
    ("efficientnet-b0", "torchvision"): {
        "stem_bn": "features.0.1.",
        "block1a_dwconv": "features.1.0.block.0.0.",
        "block1a_se_expand": "features.1.0.block.1.fc2.",
        "block2a_bn": "features.2.0.block.1.1.",
        "block2a_se_reduce": "features.2.0.block.2.fc1.",
        "block2a_project_bn": "features.2.0.block.3.1.",
        "top_bn": "features.8.1.",
    },
    ("efficientnet-b0", "efficientnet_pytorch"): {
        "stem_bn": "_bn0.",
        "block1a_dwconv": "_blocks.0._depthwise_conv.",
        "block2a_expand_bn": "_blocks.1._bn0.",
        "block7a_project_bn": "_blocks.15._bn2.",
        "top_bn": "_bn1.",
    },
    ("efficientnet-b0", "Keras 3"): {
        "stem_conv": "layers/conv2d/",
        "block1a_dwconv": "layers/depthwise_conv2d/",
        "block1a_bn": "layers/batch_normalization_1/",
        "block1a_se_reduce": "layers/conv2d_1/",
    },
    ("efficientnetv2-b0", "timm"): {
        "block1a_project_conv": "blocks.0.0.conv.",
        "block1a_project_bn": "blocks.0.0.bn1.",
        "block2a_expand_conv": "blocks.1.0.conv_exp.",
        "block2b_project_bn": "blocks.1.1.bn2.",
        "block4a_dwconv2": "blocks.3.0.conv_dw.",
        "block6h_project_conv": "blocks.5.7.conv_pwl.",
    },
    # torchvision has no V2-B0: as its V2-S, whose stages are of the same kinds.
    ("efficientnetv2-b0", "torchvision"): {
        "block1a_project_conv": "features.1.0.block.0.0.",
        "block2a_project_conv": "features.2.0.block.1.0.",
        "block4a_se_reduce": "features.4.0.block.2.fc1.",
        "top_conv": "features.7.0.",
    },
}


@pytest.mark.parametrize(("backbone", "scheme"), GOLDEN)
def test_names_are_those_of_the_library(networks, backbone, scheme):
    network = networks[backbone]
    sources = naming_schemes.name_sources(network, scheme)
    for layer, prefix in GOLDEN[backbone, scheme].items():
        assert all(name.startswith(prefix) and name.count(".") == prefix.count(".") for name in sources[layer]), layer
    names = [name for own in sources.values() for name in own]
    assert len(set(names)) == len(names) == len(network.weights)
    assert naming_schemes.find_scheme(names) == scheme
    assert not any(naming_schemes.is_left_out(scheme, name) for name in names)


def test_arrays_are_in_the_order_of_the_layers_weights(networks):
    network = networks["efficientnet-b0"]
    sources = naming_schemes.name_sources(network, "timm")
    assert sources["stem_bn"] == ["bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var"]
    ends = [weight.name.rsplit("/", 1)[1] for weight in network.get_layer("stem_bn").weights]
    assert ends == ["gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"]
    assert sources["block1a_se_reduce"] == [f"blocks.0.0.se.conv_reduce.{part}" for part in ("weight", "bias")]
    assert naming_schemes.name_sources(network, "Keras 3")["stem_conv"] == ["layers/conv2d/vars/0"]


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        ("timm", "classifier.bias"),
        ("timm", "blocks.0.0.bn1.num_batches_tracked"),
        ("torchvision", "classifier.1.weight"),
        ("efficientnet_pytorch", "_fc.weight"),
        ("Keras 3", "layers/dense/vars/0"),
        ("Keras 3", "layers/normalization/vars/2"),
    ],
)
def test_a_classification_layer_and_counters_are_left_out(scheme, name):
    assert naming_schemes.is_left_out(scheme, name)
    assert not naming_schemes.is_left_out(scheme, f"other/{name}x")


def test_another_network_has_no_scheme():
    assert naming_schemes.find_scheme(["conv1.weight", "layer1.0.conv1.weight"]) == ""
