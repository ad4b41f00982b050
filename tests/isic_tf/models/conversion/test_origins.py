import json

import numpy as np
import pytest
import torch_libraries

from isic_tf.models.conversion import origins, recognition
from tfrecord_tools import errors

STD = np.float32([0.229, 0.224, 0.225])
MEAN = np.float32([0.485, 0.456, 0.406])


@pytest.mark.parametrize(
    ("backbone", "model", "expected"),
    [
        ("efficientnet-b0", "tf_efficientnet_b0.ns_jft_in1k", (1e-3, "imagenet")),
        ("efficientnet-b0", "tf_efficientnet_b0_ns-c0e6a31c", (1e-3, "imagenet")),
        ("efficientnet-b4", "tf_efficientnet_b4.ap_in1k", (1e-3, "half")),
        ("efficientnet-b4", "tf_efficientnet_b4_ap-dedb23e6", (1e-3, "half")),
        ("efficientnet-b0", "efficientnet_b0.ra_in1k", (1e-5, "imagenet")),
        ("efficientnet-b0", "efficientnet_b0.ra4_e3600_r224_in1k", (1e-5, "half")),
        ("efficientnet-lite0", "tf_efficientnet_lite0", (1e-3, "half")),
        ("efficientnet-lite0", "efficientnet_lite0.ra_in1k", (1e-5, "imagenet")),
        ("efficientnetv2-s", "tf_efficientnetv2_s.in21k_ft_in1k", (1e-3, "half")),
        ("efficientnetv2-b0", "tf_efficientnetv2_b0.in1k", (1e-3, "imagenet")),
        ("efficientnetv2-b3", "tf_efficientnetv2_b3.in21k_ft_in1k", (1e-3, "half")),
    ],
)
def test_models_of_timm_are_known_by_their_names(backbone, model, expected):
    assert origins.find_origin("timm", backbone, model, {}) == expected


def test_models_of_timm_compute_as_its_configurations_say():
    means = json.loads(torch_libraries.run("timm"))
    checked = 0
    for name, mean in means.items():
        backbone = name.partition(".")[0].replace("tf_", "").replace("_", "-")
        # Pruned ones are other networks.
        if not origins._TIMM_NAME.fullmatch(name) or backbone not in recognition.BACKBONES or "pruned" in name:
            continue
        expected = {"half": 0.5, "imagenet": 0.485}[origins.find_origin("timm", backbone, name, {}).normalization]
        assert mean == expected, name
        checked += 1
    assert checked > 40


@pytest.mark.parametrize(
    ("backbone", "expected"),
    [
        ("efficientnet-b4", (1e-5, "imagenet")),
        ("efficientnet-b5", (1e-3, "imagenet")),
        ("efficientnetv2-s", (1e-3, "imagenet")),
        ("efficientnetv2-l", (1e-3, "half")),
    ],
)
def test_models_of_torchvision(backbone, expected):
    assert origins.find_origin("torchvision", backbone, "", {}) == expected


def test_a_given_normalization_counts():
    assert origins.find_origin("efficientnet_pytorch", "efficientnet-b0", "", {}) == (1e-3, "imagenet")
    assert origins.find_origin("efficientnet_pytorch", "efficientnet-b0", "", {}, "half") == (1e-3, "half")


@pytest.mark.parametrize(
    ("mean", "variance", "expected"),
    [(MEAN, STD, "imagenet"), (MEAN, STD**2, "imagenet"), (np.zeros(3), np.ones(3), "unit")],
)
def test_keras_stores_its_normalization(mean, variance, expected):
    arrays = {"layers/normalization/vars/0": mean, "layers/normalization/vars/1": variance}
    assert origins.find_origin("Keras 3", "efficientnet-b0", "", arrays).normalization == expected
    assert origins.find_origin("Keras 3", "efficientnetv2-s", "", {}).normalization == "half"


def test_an_unknown_model_and_an_unknown_normalization_are_refused():
    with pytest.raises(errors.ConfigError, match="expected the name of a model of timm, .* got 'model'"):
        origins.find_origin("timm", "efficientnet-b0", "model", {})
    arrays = {"layers/normalization/vars/0": np.full(3, 0.7), "layers/normalization/vars/1": np.full(3, 0.1)}
    with pytest.raises(errors.ConfigError, match="expected the normalization of ImageNet, or none, got the mean"):
        origins.find_origin("Keras 3", "efficientnet-b0", "", arrays)
    assert origins.find_origin("Keras 3", "efficientnet-b0", "", arrays, "half").normalization == "half"
