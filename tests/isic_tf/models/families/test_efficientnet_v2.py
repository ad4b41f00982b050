import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones, classifiers
from isic_tf.models.families import names

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
# Parameters without the top, as published for ImageNet less its 1000 classes' (f + 1) * 1000; features f.
COUNTS = {
    "efficientnetv2-b0": (5_919_312, 1280),
    "efficientnetv2-b1": (6_931_124, 1280),
    "efficientnetv2-b2": (8_769_374, 1408),
    "efficientnetv2-b3": (12_930_622, 1536),
    "efficientnetv2-s": (20_331_360, 1280),
    "efficientnetv2-m": (53_150_388, 1280),
    "efficientnetv2-l": (117_746_848, 1280),
}


@pytest.mark.parametrize("backbone", names.FAMILIES["efficientnet_v2"])
def test_parameter_counts_are_the_published_ones(backbone):
    count, features = COUNTS[backbone]
    # A graph of its own, in which no variable is given values or memory.
    with tf.Graph().as_default():
        # One branch of each layer instead of both, for training and for not, in half the time.
        tf.keras.backend.set_learning_phase(0)
        network = backbones.build_backbone(backbone, 32)
        assert network.count_params() == count
    assert network.output_shape == (None, 1, 1, features)
    assert network.name == backbone
    rates = [layer.rate for layer in network.layers if isinstance(layer, tf.keras.layers.Dropout)]
    assert rates == sorted(rates)


@pytest.mark.parametrize("backbone", ["efficientnetv2-b0", "efficientnetv2-s"])
def test_weights_see_what_they_were_trained_on(backbone, tmp_path):
    # Keras's own network normalises itself, from 0 to 255.
    name = f"EfficientNetV2{backbone[-2:].strip('-').upper()}"
    tf.keras.utils.set_random_seed(1)
    original = getattr(tf.keras.applications, name)(include_top=False, weights=None, input_shape=(32, 32, 3))
    path = str(tmp_path / "notop.h5")
    original.save_weights(path)
    classifier = classifiers.build_classifier(backbone, 32, path)
    kernel, bias = classifier.get_layer("logits").get_weights()
    golden = original(255 * IMAGES).numpy().mean(axis=(1, 2)) @ kernel + bias
    assert classifier(IMAGES).numpy() == pytest.approx(golden, abs=1e-4)
    assert np.abs(golden).max() > 1e-3
