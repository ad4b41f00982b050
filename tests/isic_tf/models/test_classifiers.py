import itertools

import numpy as np
import pytest
import tensorflow as tf
from harness import tiny_trunk

from isic_tf.data import clinical_metadata, targets
from isic_tf.inference import predictor
from isic_tf.models import backbones, classifiers
from isic_tf.models.config import ModelConfig
from isic_tf.optim import ema
from isic_tf.visualization import grad_cam


@pytest.fixture(scope="module")
def b0():
    tf.keras.utils.set_random_seed(0)
    return classifiers.build_classifier("efficientnet-b0", 32)


def test_every_layer_is_of_keras_2(b0):
    trunk = next(layer for layer in b0.layers if layer.name == "efficientnet-b0")
    modules = {type(layer).__module__.split(".")[0] for layer in (*b0.layers, *trunk.layers)}
    assert modules <= {"tf_keras", "efficientnet"}


def test_the_model_gives_one_float32_logit_an_image(b0):
    logits = b0(tf.zeros([3, 32, 32, 3]))
    assert logits.shape == (3, 1)
    assert logits.dtype == tf.float32


def test_weights_of_a_classifier_and_of_a_backbone_load_from_files(b0, tmp_path):
    images = np.random.default_rng(0).random((2, 32, 32, 3)).astype(np.float32)
    b0.save_weights(str(tmp_path / "best.weights.h5"))
    whole = classifiers.build_classifier("efficientnet-b0", 32, str(tmp_path / "best.weights.h5"))
    assert np.array_equal(whole(images), b0(images))
    trunk = next(layer for layer in b0.layers if layer.name == "efficientnet-b0")
    trunk.save_weights(str(tmp_path / "backbone_notop.h5"))
    partly = classifiers.build_classifier("efficientnet-b0", 32, str(tmp_path / "backbone_notop.h5"))
    loaded = next(layer for layer in partly.layers if layer.name == "efficientnet-b0")
    assert all(np.array_equal(one, other) for one, other in zip(loaded.get_weights(), trunk.get_weights(), strict=True))
    with pytest.raises(
        ValueError, match="expected weights of efficientnet-b1 in .*notop.h5, .*block1b_dwconv is missing"
    ):
        classifiers.build_classifier("efficientnet-b1", 32, str(tmp_path / "backbone_notop.h5"))
    with pytest.raises(ValueError, match="does not hold weights of this network"):
        classifiers.build_classifier("efficientnet-b1", 32, str(tmp_path / "best.weights.h5"))


def test_a_weights_path_that_is_none_is_refused():
    with pytest.raises(
        ValueError, match=r"expected a weights file at nosy, which does not exist; --weights is none, imagenet, noisy"
    ):
        classifiers.build_classifier("efficientnet-b0", 32, "nosy")


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
        results.append(list(predictor.make_predictor(models, strategy)(dataset)))
    logits = [images.reshape(6, -1) / 255 @ np.random.default_rng(number).normal(0, 0.1, (192, 1)) for number in (0, 1)]
    expected = np.mean([1 / (1 + np.exp(-one[:5, 0])) for one in logits], axis=0)
    for found in results:
        assert [name for names, _ in found for name in names] == ["a", "b", "c", "d", "e"]
        assert np.allclose(np.concatenate([scores for _, scores in found]), expected, atol=1e-6)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    return lambda **options: classifiers.build_classifier("efficientnet-b0", 32, **options)


DIAGNOSES = targets.make_class_set("diagnosis")
IMAGES = np.random.default_rng(0).random((4, 32, 32, 3)).astype(np.float32)


def test_a_head_of_all_parts_has_their_sizes(small):
    classifier = small(
        classes=DIAGNOSES, metadata="age,sex", pooling="gem", hidden_units=16, dropout=0.5, dropout_samples=5
    )
    assert [tensor.shape[1] for tensor in classifier.inputs] == [32, clinical_metadata.width("age,sex")]
    assert classifier.output_shape == (None, 9)
    sizes = {layer.name: [part.shape for part in layer.get_weights()] for layer in classifier.layers}
    assert sizes["metadata_embedding"] == [(5, 64), (64,)]
    assert sizes["metadata_hidden"] == [(64, 32), (32,)]
    # Eight features of the backbone and 32 of the metadata.
    assert sizes["hidden"] == [(40, 16), (16,)]
    assert sizes["logits"] == [(16, 9), (9,)]
    assert [name for name in sizes if name.startswith("dropout") and name != "dropouts"] == [
        "dropout",
        *(f"dropout{number}" for number in range(1, 5)),
    ]


def test_a_head_without_parts_is_the_plain_one(small):
    assert [layer.name for layer in small().layers][-3:] == ["pooled", "dropout", "logits"]


def test_what_is_unknown_has_an_embedding_of_its_own(small):
    classifier = small(metadata="sex")
    male, female, unknown = (np.tile(row, (4, 1)).astype(np.float32) for row in np.eye(3))
    logits = [classifier([IMAGES, known]).numpy() for known in (male, female, unknown)]
    assert all(np.abs(one - other).max() > 1e-4 for one, other in itertools.pairwise(logits))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(classifier([IMAGES, unknown]))
    gradient = tape.gradient(loss, classifier.get_layer("metadata_embedding").kernel).numpy()
    assert np.abs(gradient[2]).max() > 0
    assert not gradient[:2].any()


def test_multi_sample_dropout_averages_other_draws_of_one_layer(small):
    single, several = small(dropout=0.5), small(dropout=0.5, dropout_samples=64)
    several.set_weights(single.get_weights())
    assert np.allclose(single(IMAGES), several(IMAGES), atol=1e-6)
    spread = [
        np.std([one(IMAGES, training=True).numpy() for _ in range(30)], axis=0).mean() for one in (single, several)
    ]
    assert 0 < spread[1] < spread[0] / 4


def test_a_predictor_reads_the_malignant_probability_of_diagnoses_with_metadata(small, mirrored):
    images = (255 * IMAGES).astype(np.uint8)
    known = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    names = np.array([b"a", b"b", b"c", b"d"])
    dataset = tf.data.Dataset.from_tensors((images, known, names))
    found, weights = [], None
    for strategy in (tf.distribute.get_strategy(), mirrored):
        with strategy.scope():
            classifier = small(classes=DIAGNOSES, metadata="sex")
        weights = weights or classifier.get_weights()
        classifier.set_weights(weights)
        ((_, scores),) = predictor.make_predictor([classifier], strategy, classes=DIAGNOSES)(dataset)
        found.append(scores)
    expected = tf.nn.softmax(small_logits(classifier, images, known)).numpy()
    # Melanoma first, as the single score.
    expected = np.concatenate([expected[:, 1:2], expected], axis=1)
    assert np.allclose(found[0], expected, atol=1e-5)
    assert np.allclose(found[1], expected, atol=1e-5)


def small_logits(classifier, images, known):
    return classifier([images.astype(np.float32) / 255, known])


def test_a_runs_flags_say_what_its_classifier_is():
    flags = {"pooling": "gem", "hidden_units": "16", "dropout": "0.5", "seed": "3"}
    config = ModelConfig.from_text(flags)
    assert (config.pooling, config.hidden_units, config.dropout) == ("gem", 16, 0.5)
    assert config.backbone == "efficientnet-lite0"


def test_synchronised_batch_norm_is_that_of_all_replicas(mirrored):
    values = np.random.default_rng(0).normal(0, 1, (4, 32, 32, 3)).astype(np.float32)
    values[2:] += 3
    found = {}
    for strategy, synchronized in ((tf.distribute.get_strategy(), False), (mirrored, True), (mirrored, False)):
        with strategy.scope():
            images = tf.keras.Input((32, 32, 3))
            trunk = tf.keras.Model(images, tf.keras.layers.BatchNormalization()(images))
            if synchronized:
                classifiers._synchronize(trunk)
        replicas = strategy.num_replicas_in_sync
        shares = strategy.experimental_distribute_values_from_function(
            lambda context, replicas=replicas: np.split(values, replicas)[context.replica_id_in_sync_group]
        )
        run = tf.function(lambda given, trunk=trunk: trunk(given, training=True))
        results = strategy.experimental_local_results(strategy.run(run, args=(shares,)))
        found[replicas, synchronized] = np.concatenate([np.asarray(result) for result in results])
    assert np.abs(found[2, True] - found[1, False]).max() < 1e-4
    assert np.abs(found[2, False] - found[1, False]).max() > 0.5


@pytest.fixture(
    scope="module",
    params=[
        "efficientnet-lite0",
        "efficientnetv2-b0",
        "convnext-tiny",
        "resnet-rs-50",
        "regnetx-002",
        "densenet-121",
        "mobilenetv3-small",
    ],
)
def of_family(request):
    """The smallest classifier of each family that no other test builds, built once for the tests below."""
    tf.keras.utils.set_random_seed(0)
    return classifiers.build_classifier(request.param, 64)


PIXELS = np.random.default_rng(1).integers(0, 256, (2, 64, 64, 3), np.uint8)


def test_a_classifier_of_each_family_is_explained(of_family):
    body, _ = grad_cam.split(of_family)
    features = body(PIXELS / np.float32(255)).numpy()
    assert features.shape[:3] == (2, 2, 2)
    # What the first place shows raises the logit. A place has a quarter of the mean.
    kernel = features[0, 0, 0, :, np.newaxis] / (features[0, 0, 0] ** 2).sum()
    of_family.get_layer("logits").set_weights([kernel, np.zeros(1)])
    expected = np.maximum(features @ kernel, 0)[..., 0] / 4
    maps, logits = grad_cam.compute_grad_cam(of_family, PIXELS)
    assert maps[0, 0, 0] == pytest.approx(1 / 4, rel=1e-3)
    assert maps == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert logits == pytest.approx((features.mean(axis=(1, 2)) @ kernel)[:, 0], rel=1e-3, abs=1e-3)


def test_averages_of_each_family_are_found_by_name(of_family):
    averaged = ema.averaged_weights(of_family)
    names = [weight.name for weight in averaged]
    # With names of their own, the order is the same where some are frozen.
    assert len(set(names)) == len(of_family.weights)
    trunk = classifiers.backbone_of(of_family)
    trunk.trainable = False
    assert all(one is other for one, other in zip(ema.averaged_weights(of_family), averaged, strict=True))
    trunk.trainable = True


def test_freezing_a_backbone_of_each_family_freezes_its_batch_statistics(of_family):
    trunk = classifiers.backbone_of(of_family)
    statistics = trunk.non_trainable_weights
    norms = [layer for layer in trunk.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert len(statistics) == 2 * len(norms)
    assert bool(norms) == (trunk.name != "convnext-tiny")
    for trainable in (False, True):
        trunk.trainable = trainable
        before = [weight.numpy() for weight in statistics]
        of_family(PIXELS / np.float32(255), training=True)
        moved = [np.any(weight.numpy() != old) for weight, old in zip(statistics, before, strict=True)]
        assert all(moved) if trainable else not any(moved)


def test_all_batch_norms_of_each_family_are_synchronized(of_family):
    trunk = classifiers.backbone_of(of_family)
    classifiers._synchronize(trunk)
    norms = [layer for layer in trunk.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)]
    assert all(layer.synchronized and not layer.fused for layer in norms)
