import numpy as np
import pytest
import tensorflow as tf

from isic_tf import backbones, model

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
}


@pytest.fixture(scope="module")
def b0():
    tf.keras.utils.set_random_seed(0)
    return model.build("efficientnet-b0", 32)


@pytest.mark.parametrize("backbone", backbones.BACKBONES)
def test_parameter_counts_are_the_published_ones(backbone):
    count, features = COUNTS[backbone]
    assert model.build(backbone, 32).count_params() == count + features + 1


def test_every_layer_is_of_keras_2(b0):
    trunk = next(layer for layer in b0.layers if layer.name == "efficientnet-b0")
    modules = {type(layer).__module__.split(".")[0] for layer in (*b0.layers, *trunk.layers)}
    assert modules <= {"tf_keras", "efficientnet"}


def test_the_model_gives_one_float32_logit_an_image(b0):
    logits = b0(tf.zeros([3, 32, 32, 3]))
    assert logits.shape == (3, 1)
    assert logits.dtype == tf.float32


def test_the_backbone_sees_imagenets_statistics(b0):
    images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    trunk = next(layer for layer in b0.layers if layer.name == "efficientnet-b0")
    features = trunk((images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).numpy().mean(axis=(1, 2))
    kernel, bias = b0.get_layer("logits").get_weights()
    assert np.allclose(b0(images), features @ kernel + bias, atol=1e-4)


def test_unknown_backbones_are_answered_with_the_list():
    with pytest.raises(ValueError, match="expected a backbone of efficientnet-b0, .*efficientnet-b7, got 'resnet50'"):
        model.build("resnet50", 64)


@pytest.mark.parametrize("size", [0, 31, 64.0, "64"])
def test_image_sizes_that_are_none_are_refused(size):
    with pytest.raises(ValueError, match="expected an image size in whole pixels from 32, got"):
        model.build("efficientnet-b0", size)


def test_weights_of_a_classifier_and_of_a_backbone_load_from_files(b0, tmp_path):
    images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    b0.save_weights(str(tmp_path / "best.weights.h5"))
    whole = model.build("efficientnet-b0", 32, str(tmp_path / "best.weights.h5"))
    assert np.array_equal(whole(images), b0(images))
    trunk = next(layer for layer in b0.layers if layer.name == "efficientnet-b0")
    trunk.save_weights(str(tmp_path / "backbone_notop.h5"))
    partly = model.build("efficientnet-b0", 32, str(tmp_path / "backbone_notop.h5"))
    loaded = next(layer for layer in partly.layers if layer.name == "efficientnet-b0")
    assert all(np.array_equal(one, other) for one, other in zip(loaded.get_weights(), trunk.get_weights(), strict=True))
    with pytest.raises(ValueError, match="does not hold weights of this network"):
        model.build("efficientnet-b1", 32, str(tmp_path / "backbone_notop.h5"))
    with pytest.raises(ValueError, match="does not hold weights of this network"):
        model.build("efficientnet-b1", 32, str(tmp_path / "best.weights.h5"))


def test_a_weights_path_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"--weights to be none, imagenet, noisy-student or the path .* got 'nosy'"):
        model.build("efficientnet-b0", 32, "nosy")


@pytest.mark.parametrize(
    ("weights", "file"),
    [
        ("noisy-student", "efficientnet-b0_noisy-student_notop.h5"),
        ("imagenet", "efficientnet-b0_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5"),
    ],
)
def test_weights_that_cannot_be_downloaded_say_which_file_goes_where(monkeypatch, tmp_path, weights, file):
    # No network in tests: an address that refuses at once stands for any failed download.
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match=rf"could not be downloaded .*put {file} into {tmp_path}.*--weights=none"):
        model.build("efficientnet-b0", 32, weights)


def tiny(size=8):
    return tf.keras.Sequential([tf.keras.Input((size, size, 3)), tf.keras.layers.Flatten(), tf.keras.layers.Dense(1)])


def test_predictions_are_the_mean_probability_and_the_same_on_two_replicas(mirrored):
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
    names = np.array([b"a", b"b", b"c", b"d", b"e", b""])
    dataset = tf.data.Dataset.from_tensors((images, names))
    results = []
    for strategy in (tf.distribute.get_strategy(), mirrored):
        with strategy.scope():
            models = [tiny(), tiny()]
        for number, one in enumerate(models):
            weights = np.random.default_rng(number).normal(0, 0.1, (192, 1))
            one.layers[-1].set_weights([weights, np.zeros(1)])
        results.append(list(model.make_predictor(models, strategy)(dataset)))
    logits = [images.reshape(6, -1) / 255 @ np.random.default_rng(number).normal(0, 0.1, (192, 1)) for number in (0, 1)]
    expected = np.mean([1 / (1 + np.exp(-one[:5, 0])) for one in logits], axis=0)
    for found in results:
        assert [name for names, _ in found for name in names] == ["a", "b", "c", "d", "e"]
        assert np.allclose(np.concatenate([scores for _, scores in found]), expected, atol=1e-6)
