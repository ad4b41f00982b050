import numpy as np
import pytest
import tensorflow as tf

from isic_tf.artifacts import fold_results
from isic_tf.models import backbones, classifiers
from tfrecord_tools import errors

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
    "efficientnetv2-b0": (5_919_312, 1280),
    "efficientnetv2-b1": (6_931_124, 1280),
    "efficientnetv2-b2": (8_769_374, 1408),
    "efficientnetv2-b3": (12_930_622, 1536),
    "efficientnetv2-s": (20_331_360, 1280),
    "efficientnetv2-m": (53_150_388, 1280),
    "efficientnetv2-l": (117_746_848, 1280),
}


@pytest.mark.parametrize("backbone", backbones.BACKBONES)
def test_parameter_counts_are_the_published_ones(backbone):
    count, features = COUNTS[backbone]
    # A graph of its own, in which no variable is given values or memory.
    with tf.Graph().as_default():
        # One branch of each layer instead of both, for training and for not, in half the time.
        tf.keras.backend.set_learning_phase(0)
        trunk = backbones.build_backbone(backbone, 32)
        assert trunk.count_params() == count
        assert trunk.output_shape == (None, 1, 1, features)
    assert trunk.name == backbone
    rates = [layer.rate for layer in trunk.layers if isinstance(layer, tf.keras.layers.Dropout)]
    assert rates == sorted(rates)
    if backbone in ("efficientnet-b0", "efficientnet-l2"):
        # As in the paper; of the package's own rates that of L2 would be above 1.
        assert rates[-1] == pytest.approx(0.2, abs=0.03)


IMAGES = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)


@pytest.mark.parametrize("backbone", ["efficientnetv2-b0", "efficientnetv2-s"])
def test_weights_of_keras_applications_see_what_they_were_trained_on(backbone, tmp_path):
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


def test_weights_of_efficientnet_see_imagenets_mean_and_deviation(tmp_path):
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


@pytest.mark.parametrize(
    ("backbone", "weights", "others"),
    [
        ("efficientnetv2-s", "noisy-student", "imagenet, none"),
        ("efficientnet-l2", "noisy-student", "none"),
        ("efficientnet-l2", "imagenet", "none"),
    ],
)
def test_weights_that_nobody_published_are_refused(backbone, weights, others):
    with pytest.raises(ValueError, match=f"no {weights} weights of {backbone}: give --weights={others} or the path"):
        backbones.build_backbone(backbone, 32, weights)


def test_unknown_backbones_are_answered_with_the_list():
    with pytest.raises(ValueError, match="expected a backbone of efficientnet-b0, .*efficientnetv2-l, got 'resnet50'"):
        backbones.build_backbone("resnet50", 64)


@pytest.mark.parametrize("size", [0, 31, 64.0, "64"])
def test_image_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match="expected an image size in whole pixels from 32, got"):
        backbones.build_backbone("efficientnet-b0", size)


@pytest.mark.parametrize(
    ("backbone", "weights", "file"),
    [
        ("efficientnet-b0", "noisy-student", "efficientnet-b0_noisy-student_notop.h5"),
        ("efficientnet-b0", "imagenet", "efficientnet-b0_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5"),
        ("efficientnetv2-b0", "imagenet", "efficientnetv2-b0_notop.h5"),
    ],
)
def test_weights_that_cannot_be_downloaded_say_which_file_goes_where(monkeypatch, tmp_path, backbone, weights, file):
    # No network in tests: an address that refuses at once stands for any failed download.
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=rf"could not be downloaded .*put {file} into {tmp_path}.*--weights=none"):
        backbones.build_backbone(backbone, 32, weights)


def test_weights_that_a_run_kept_are_loaded_only_if_no_bit_changed(tmp_path):
    inputs = tf.keras.Input((1,))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    fold_results.keep_weights(str(tmp_path), network, wanted=True, epoch=1)
    path = tmp_path / "best.weights.h5"
    backbones.load_weights(network, str(path))
    content = path.read_bytes()
    # The exponent of the weight of 1: read without the check, it would be another number.
    place = content.rindex(np.float32(1).tobytes())
    path.write_bytes(content[: place + 3] + bytes([content[place + 3] ^ 4]) + content[place + 4 :])
    with pytest.raises(
        errors.CorruptRecordError, match=r"best.weights.h5 is damaged: expected the SHA-256 .*; restore"
    ):
        backbones.load_weights(network, str(path))
    # Weights of release 0.1 have no record.
    (tmp_path / "best.weights.h5.json").unlink()
    backbones.load_weights(network, str(path))
    assert float(network.get_weights()[0][0, 0]) != 1
