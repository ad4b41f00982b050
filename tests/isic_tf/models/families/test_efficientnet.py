import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import backbones, classifiers
from isic_tf.models.families import names

IMAGES = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
# Parameters without the top, as published for ImageNet less its 1000 classes' (f + 1) * 1000; features f.
COUNTS = {
    "efficientnet-b0": (4_049_564, 1280),
    "efficientnet-b1": (6_575_232, 1280),
    "efficientnet-b2": (7_768_562, 1408),
    "efficientnet-b3": (10_783_528, 1536),
    "efficientnet-b4": (17_673_816, 1792),
    "efficientnet-b5": (28_513_520, 2048),
    "efficientnet-b6": (40_960_136, 2304),
    "efficientnet-b7": (64_097_680, 2560),
    # 480,309,308 with the top, and 1,090,688 moving statistics, which that figure leaves out.
    "efficientnet-l2": (474_804_308 + 1_090_688, 5504),
}


@pytest.mark.parametrize("backbone", names.FAMILIES["efficientnet"])
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
    if backbone in ("efficientnet-b0", "efficientnet-l2"):
        # As in the paper; of the package's own rates that of L2 would be above 1.
        assert rates[-1] == pytest.approx(0.2, abs=0.03)


def test_weights_see_imagenets_mean_and_deviation(tmp_path):
    import efficientnet.model

    modules = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
    tf.keras.utils.set_random_seed(1)
    original = efficientnet.model.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3), **modules)
    path = str(tmp_path / "notop.h5")
    original.save_weights(path)
    classifier = classifiers.build_classifier("efficientnet-b0", 32, path)
    kernel, bias = classifier.get_layer("logits").get_weights()
    seen = tf.keras.applications.imagenet_utils.preprocess_input(255 * IMAGES.copy(), mode="torch")
    golden = original(seen).numpy().mean(axis=(1, 2)) @ kernel + bias
    assert classifier(IMAGES).numpy() == pytest.approx(golden, abs=1e-4)
