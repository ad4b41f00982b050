import dataclasses
import os

import efficientnet.model
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.pretrained import published_weights, weights_table
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
SHAPE = {"input_shape": (32, 32, 3), "weights": None}
MODULES = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
ONE_OF_EACH_FAMILY = (
    "efficientnet-b0",
    "efficientnetv2-b0",
    "convnext-tiny",
    "resnet-rs-50",
    "regnety-002",
    "densenet-121",
    "mobilenetv3-small",
)
# Lite's weights are those of a package, see test_lite_weights. All sizes take 20 minutes.
EVERY_SIZE = [name for name in backbones.BACKBONES if "lite" not in name]
SIZES = EVERY_SIZE if os.environ.get("ISIC_EVERY_SIZE") else ONE_OF_EACH_FAMILY


def build_library(backbone, **options):
    """The network as the library that publishes its weights builds it."""
    spelled = backbone.replace("-", "").lower()
    if backbone.startswith("efficientnet-"):
        module, shape = efficientnet.model, SHAPE | MODULES
    else:
        module, shape = tf.keras.applications, SHAPE
    create = next(getattr(module, name) for name in dir(module) if name.lower() == spelled and name[0].isupper())
    return create(**shape, **options)


def has_preprocessing(backbone):
    """Whether the library's network normalizes images of 0 to 255 itself."""
    return not backbone.startswith(("efficientnet-", "densenet"))


def remove_top(whole):
    """The network up to its last pooling."""
    pools = [layer for layer in whole.layers if isinstance(layer, tf.keras.layers.GlobalAveragePooling2D)]
    return tf.keras.Model(whole.input, pools[-1].input)


def make_up_values(network):
    """Gives vectors, such as batch statistics, values that no layer begins with."""
    random = np.random.default_rng(1)
    for weight in network.weights:
        if len(weight.shape) == 1:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))


def publish(monkeypatch, tmp_path, path, backbone, kind="imagenet"):
    """Makes a file of the cache the one that was published."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    file = weights_table.PublishedFile(
        backbone=backbone,
        kind=kind,
        has_top="notop" not in path.name,
        name=path.name,
        algorithm="sha256",
        digest=filesystem.compute_sha256(str(path)),
        source="made up",
    )
    monkeypatch.setattr(weights_table, "read_table", lambda: (file,))
    return file


def read_features(network, images):
    return np.asarray(network(images))


@pytest.mark.parametrize("backbone", SIZES)
def test_each_familys_published_layout_is_loaded_with_and_without_top(backbone, monkeypatch, tmp_path, capsys):
    folder = tmp_path / "models"
    folder.mkdir()
    tf.keras.utils.set_random_seed(1)
    whole = build_library(backbone, include_top=True, classes=5)
    make_up_values(whole)
    whole.save_weights(folder / "whole.h5")
    library = remove_top(whole)
    if backbone.startswith("convnext"):
        # Without the top, it ends in another layer, whose number counts the networks of the process.
        library = build_library(backbone, include_top=False)
        library.set_weights(whole.get_weights()[:-2])
    library.save_weights(folder / "notop.h5")
    normalized = backbones.make_normalization(backbone)(IMAGES)
    golden = read_features(library, 255 * IMAGES if has_preprocessing(backbone) else normalized)
    assert golden.std() > 1e-3
    publish(monkeypatch, tmp_path, folder / "notop.h5", backbone)
    network = backbones.build_backbone(backbone, 32, "imagenet")
    tolerance = 1e-4 * np.abs(golden).max()
    np.testing.assert_allclose(read_features(network, normalized), golden, atol=tolerance)
    assert f"{backbone} imagenet: {folder / 'notop.h5'}, SHA-256 verified" in capsys.readouterr().out
    for weight in network.weights:
        weight.assign(tf.zeros_like(weight))
    publish(monkeypatch, tmp_path, folder / "whole.h5", backbone)
    published_weights.load_published(network, backbone, "imagenet")
    np.testing.assert_allclose(read_features(network, normalized), golden, atol=tolerance)


def test_a_file_that_is_not_the_published_one_is_not_loaded(monkeypatch, tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "notop.h5").write_bytes(b"published")
    file = publish(monkeypatch, tmp_path, folder / "notop.h5", "efficientnet-b0")
    (folder / "notop.h5").write_bytes(b"changed")
    with pytest.raises(errors.CorruptRecordError, match=f"notop.h5, with the SHA-256 {file.digest}, got .*; remove it"):
        published_weights.load_published(None, "efficientnet-b0", "imagenet")


def test_kinds_are_those_of_the_table_with_the_best_last(monkeypatch):
    assert weights_table.list_kinds("efficientnet-lite2") == ("imagenet",)
    assert weights_table.list_kinds("efficientnet-b7") == ("imagenet", "noisy-student")
    assert weights_table.list_kinds("efficientnet-l2") == ()
    assert weights_table.list_kinds("module:function") == ()
    swapped = tuple(dataclasses.replace(file) for file in reversed(weights_table.read_table()))
    monkeypatch.setattr(weights_table, "read_table", lambda: swapped)
    assert weights_table.list_kinds("efficientnet-b7") == ("imagenet", "noisy-student")


def test_every_backbone_but_l2_has_published_weights():
    without = [name for name in backbones.BACKBONES if not weights_table.list_kinds(name)]
    assert without == ["efficientnet-l2"]
    assert {file.backbone for file in weights_table.read_table()} <= set(backbones.BACKBONES)
