import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.conversion import config, input_normalization


@pytest.mark.parametrize(
    ("backbone", "own"),
    [
        ("efficientnet-b0", "imagenet"),
        ("efficientnetv2-b0", "imagenet"),
        ("efficientnetv2-s", "half"),
        ("efficientnet-lite0", "half"),
    ],
)
def test_a_backbone_differs_from_all_normalizations_but_its_own(backbone, own):
    same = [name for name in config.NORMALIZATIONS if not input_normalization.differs(backbone, name)]
    assert same == [own]


def test_features_are_the_same_but_for_the_border(lite0):
    images = np.random.default_rng(1).uniform(0, 1, (2, 9, 9, 3)).astype(np.float32)
    arrays = lite0.get_weights()
    folded = input_normalization.fold(lite0, arrays, "imagenet")
    of_imagenet = backbones.make_normalization("efficientnet-b0")(images)
    own = backbones.make_normalization("efficientnet-lite0")(images)
    expected, found = _compute(of_imagenet, arrays), _compute(own, folded)
    np.testing.assert_allclose(found[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5)
    assert np.abs(found - expected).max() > 0.1
    # The padding is the color that is 0 for Lite, 127 of 255.
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=127 / 255)
    expected = _compute(backbones.make_normalization("efficientnet-b0")(padded), arrays, "VALID")
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for before, after in zip(arrays[4:], folded[4:], strict=True):
        assert before is after


def _compute(images, arrays, padding="SAME"):
    """Convolution of stride 2, which at odd sizes pads both sides, and batch normalization."""
    kernel, gamma, beta, mean, variance = arrays[:5]
    convolved = tf.nn.conv2d(images, kernel, 2, padding).numpy()
    return (convolved - mean) / np.sqrt(variance + 1e-3) * gamma + beta
