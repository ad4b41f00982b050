import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.stats import spearmanr
from tiny_runs import build_tiny

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, targets
from isic_tf.metrics import roc
from isic_tf.models import classifiers, pooling_layers
from isic_tf.visualization import grad_cam, record_images
from tfrecord_tools.synthetic import lesion_renderer

SIDE = 64
RNG = np.random.default_rng(0)


def classifier_of(trunk, pool, outputs, side):
    image = tf.keras.Input((side, side, 3))
    return tf.keras.Model(image, tf.keras.layers.Dense(outputs, name="logits")(pool()(trunk(image))))


# Of each 2 x 2 block the mean of red and of green, [0, 1].
RED, GREEN = np.array([[1, 0.5], [0, 0]]), np.array([[0, 0.5], [1, 0]])


@pytest.fixture
def blocks():
    """A 4 x 4 image with these means, and the backbone that takes them."""
    image = np.zeros((1, 4, 4, 3), np.uint8)
    image[0, :2, :3, 0] = image[0, :2, 2, 1] = image[0, 2:, :2, 1] = 255
    inputs = tf.keras.Input((4, 4, 3))
    convolution = tf.keras.layers.Conv2D(2, 2, strides=2, use_bias=False)
    trunk = tf.keras.Model(inputs, convolution(inputs))
    convolution.set_weights([np.broadcast_to(np.eye(3, 2) / 4, (2, 2, 3, 2))])
    assert np.allclose(trunk(image / np.float32(255))[0], np.stack([RED, GREEN], axis=-1))
    return image, trunk


def test_a_map_worked_by_hand(blocks):
    image, trunk = blocks
    classifier = classifier_of(trunk, tf.keras.layers.GlobalAveragePooling2D, 1, 4)
    classifier.get_layer("logits").set_weights([np.array([[2.0], [-1.0]]), np.array([0.5])])
    maps, logits = grad_cam.compute_grad_cam(classifier, image)
    # A place has a quarter of the mean: the weights are 2 / 4 and -1 / 4, and 0 / 2 - 1 / 4 is cut off.
    assert maps[0] == pytest.approx(np.array([[0.5, 0.25 - 0.125], [0, 0]]))
    assert logits == pytest.approx([2 * 0.375 - 0.375 + 0.5])
    # Bilinear between the middles of the blocks, the greatest 1.
    assert grad_cam.enlarge(maps, 4)[0] == pytest.approx(np.outer([1, 0.75, 0.25, 0], [1, 0.8125, 0.4375, 0.25]))


def test_a_map_of_nine_diagnoses_is_of_the_odds_of_melanoma(blocks):
    image, trunk = blocks
    classifier = classifier_of(trunk, tf.keras.layers.GlobalAveragePooling2D, 9, 4)
    weights, biases = np.zeros((2, 9)), np.full(9, -100.0)
    weights[:, 1], weights[:, 0] = (2, -1), (1, 1)
    biases[[0, 1]] = 0
    classifier.get_layer("logits").set_weights([weights, biases])
    classes = targets.make_class_set("diagnosis")
    maps, logits = grad_cam.compute_grad_cam(classifier, image, classes=classes)
    # All that is not melanoma is the first class: the weights are (2 - 1) / 4 and (-1 - 1) / 4.
    assert maps[0] == pytest.approx(np.array([[0.25, 0], [0, 0]]))
    assert logits == pytest.approx([0.375 - 2 * 0.375])
    # Of the first class, as `--class` asks, it is the other way round: (1 - 2) / 4 and (1 + 1) / 4.
    maps, logits = grad_cam.compute_grad_cam(classifier, image, classes=classes.choose("Nevus"))
    assert logits == pytest.approx([2 * 0.375 - 0.375])
    assert maps[0].argmax() != 0


def test_a_map_of_generalized_means(blocks):
    image, trunk = blocks
    classifier = classifier_of(trunk, pooling_layers.GeneralizedMeanPooling2D, 1, 4)
    logits = classifier.get_layer("logits")
    logits.set_weights([np.array([[1.0], [0.0]]), np.zeros(1)])
    # The pooled P has P^3 = (1 + 1/8) / 4, its gradient at a is a^2 / P^2 / 4, the mean of that (1 + 1/4) / 16 / P^2.
    weight = 1.25 / 16 / (1.125 / 4) ** (2 / 3)
    assert grad_cam.compute_grad_cam(classifier, image)[0][0] == pytest.approx(weight * RED, rel=1e-5)


def test_a_logit_that_nothing_increases_has_an_empty_map(blocks):
    image, trunk = blocks
    classifier = classifier_of(trunk, tf.keras.layers.GlobalAveragePooling2D, 1, 4)
    classifier.get_layer("logits").set_weights([np.array([[-1.0], [-1.0]]), np.zeros(1)])
    maps = grad_cam.enlarge(grad_cam.compute_grad_cam(classifier, image)[0], 4)
    assert not maps.any()
    # And leaves the picture grey.
    laid = grad_cam.overlay(image, maps)
    assert (laid == laid[..., :1]).all()


def test_every_part_of_a_head_is_differentiated():
    options = {"metadata": "age,sex", "pooling": "gem", "hidden_units": 8, "dropout_samples": 2}
    classes = targets.make_class_set("diagnosis")
    classifier = classifiers.build_classifier("efficientnet-b0", SIDE, classes=classes, **options)
    images = RNG.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    known = clinical_metadata.encode(pd.DataFrame({"age_approx": [30, 80], "sex": [0, -1]}), "age,sex")
    maps, logits = grad_cam.compute_grad_cam(classifier, images, known, classes)
    # The textbook way: the whole network recorded, and softmax probabilities.
    features = classifiers.backbone_of(classifier).get_output_at(-1)
    whole = tf.keras.Model(classifier.inputs, [features, classifier.output])
    with tf.GradientTape() as tape:
        features, outputs = whole([images / np.float32(255), known])
        chance = tf.nn.softmax(outputs)[:, 1]
        logit = tf.math.log(chance / (1 - chance))
    weights = tape.gradient(logit, features).numpy().mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * features).numpy().sum(axis=-1), 0)
    assert expected.max() > 0
    assert np.allclose(maps, expected, rtol=1e-3, atol=1e-3 * expected.max())
    assert np.allclose(logits, logit, atol=1e-5)
    assert not np.allclose(
        maps, grad_cam.compute_grad_cam(classifier, images, known[::-1], classes)[0], rtol=1e-3, atol=0
    )


def test_a_network_with_normalization_inside_its_backbone_is_explained():
    classifier = classifiers.build_classifier("efficientnetv2-b0", SIDE)
    images = RNG.integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    maps, logits = grad_cam.compute_grad_cam(classifier, images)
    assert maps.shape == (2, 2, 2)
    assert maps.max() > 0
    assert logits == pytest.approx(classifier(images / np.float32(255)).numpy()[:, 0], abs=1e-4)


def small_network(seed):
    """Three convolutions and a mean."""
    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    inputs = tf.keras.Input((SIDE, SIDE, 3))
    features = layers.Rescaling(4.0, -2.4)(inputs)
    for filters in (16, 32, 32):
        features = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(features)
        features = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(features))
    return classifier_of(tf.keras.Model(inputs, features), layers.GlobalAveragePooling2D, 1, SIDE)


@pytest.fixture(scope="module")
def trained():
    images, _, labels = lesion_renderer.draw_anywhere(300, SIDE, seed=0)
    classifier = small_network(seed=1)
    loss = tf.keras.losses.BinaryCrossentropy(from_logits=True)
    classifier.compile(tf.keras.optimizers.Adam(3e-3), loss)
    classifier.fit(images / np.float32(255), labels[:, None].astype(np.float32), 20, epochs=8, verbose=0)
    return classifier


@pytest.fixture(scope="module")
def unseen():
    return lesion_renderer.draw_anywhere(100, SIDE, seed=1)


def hit_rate(maps, masks):
    """The pointing game (Zhang et al., ECCV 2016): how often the greatest value of the map lies on the lesion."""
    return np.mean([mask.flat[found.argmax()] for found, mask in zip(maps, masks, strict=True)])


def test_of_a_mean_and_one_logit_the_map_is_the_class_activation_map(trained, unseen):
    """Zhou et al., CVPR 2016: the features times the weights of the logit; Selvaraju et al., section 3.1."""
    images = unseen[0][:9]
    maps, logits = grad_cam.compute_grad_cam(trained, images)
    body, _ = grad_cam.split(trained)
    weights, _ = trained.get_layer("logits").get_weights()
    expected = np.maximum((body.predict_on_batch(images / np.float32(255)) @ weights)[..., 0] / 64, 0)
    assert maps.shape == (9, 8, 8)
    assert np.allclose(maps, expected, rtol=1e-4, atol=1e-5)
    assert np.allclose(logits, trained.predict_on_batch(images / np.float32(255))[:, 0], atol=1e-5)


def test_the_map_lies_on_the_lesion(trained, unseen):
    images, masks, labels = unseen
    maps, logits = grad_cam.compute_grad_cam(trained, images)
    assert roc.roc_auc(labels, logits) > 0.95
    masks, maps = masks[labels == 1], grad_cam.enlarge(maps, SIDE)[labels == 1]
    # Chance is the lesions' share of the area; the middle of the image is a better guess.
    chance, middle = masks.mean(), masks[:, SIDE // 2, SIDE // 2].mean()
    assert chance < 0.25
    assert middle < 0.75
    assert hit_rate(maps, masks) > 0.9


def test_other_weights_give_another_map(trained, unseen):
    """The randomization test of Adebayo et al., NeurIPS 2018."""
    images, masks = (part[1::2] for part in unseen[:2])
    maps, _ = grad_cam.compute_grad_cam(trained, images)
    correlations, hits = [], []
    for seed in range(5, 9):
        random, _ = grad_cam.compute_grad_cam(small_network(seed), images)
        # An empty map has no ranks.
        pairs = [(one.ravel(), other.ravel()) for one, other in zip(maps, random, strict=True) if other.any()]
        correlations.append(np.mean([spearmanr(*pair)[0] for pair in pairs]))
        hits.append(hit_rate(grad_cam.enlarge(random, SIDE), masks))
    assert abs(np.mean(correlations)) < 0.3
    assert np.mean(hits) < 0.7


def maps_of_folds(run, rows):
    paths = [str(run / f"fold{fold}" / run_directory.BEST_WEIGHTS) for fold in (0, 1)]
    found = [grad_cam.compute_grad_cam(build_tiny("", 32, path), record_images.load_images(rows, 32)) for path in paths]
    return [maps for maps, _ in found], [1 / (1 + np.exp(-logits)) for _, logits in found]


def test_an_image_is_explained_by_the_fold_that_held_it_out(run, index, record_set):
    rows = grad_cam.list_records(str(run), f"{record_set}/train*.tfrec")
    found = grad_cam.explain_rows(str(run), rows)
    folds = rows["image_name"].map(index.set_index("image_name")["fold"]).to_numpy()
    maps, probabilities = maps_of_folds(run, rows)
    for fold in (0, 1):
        own = folds == fold
        assert 0 < own.sum() < len(rows)
        assert found.maps[own] == pytest.approx(grad_cam.enlarge(maps[fold], 32)[own], abs=1e-4)
        assert found.probabilities[own] == pytest.approx(probabilities[fold][own], abs=1e-6)
    assert not found.seen.any()
    assert found.images.shape == (len(rows), 32, 32, 3)
    assert found.images.dtype == np.uint8


def test_images_of_no_fold_are_explained_by_all(run, record_set, index):
    rows = grad_cam.list_records(str(run), f"{record_set}/test*.tfrec")
    found = grad_cam.explain_rows(str(run), rows)
    maps, probabilities = maps_of_folds(run, rows)
    assert found.maps == pytest.approx(grad_cam.enlarge((maps[0] + maps[1]) / 2, 32), abs=1e-4)
    assert found.probabilities == pytest.approx((probabilities[0] + probabilities[1]) / 2, abs=1e-6)
    assert not found.seen.any()


def test_a_run_without_a_trained_fold_is_refused(run, record_set):
    for fold in (0, 1):
        (run / f"fold{fold}" / run_directory.BEST_WEIGHTS).unlink()
    rows = grad_cam.list_records(str(run), f"{record_set}/train*.tfrec")
    with pytest.raises(ValueError, match=r"expected a trained fold in .*, found no fold\*/best.weights.h5"):
        grad_cam.explain_rows(str(run), rows)
