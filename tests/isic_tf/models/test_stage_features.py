import numpy as np
import pytest
import tensorflow as tf

from isic_tf.data import targets
from isic_tf.models import classifiers, stage_features

IMAGES = np.random.default_rng(0).random((2, 64, 64, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("backbone", "layers"),
    [
        ("efficientnet-lite0", ["block1a_project_bn", "block2b_add", "block3b_add", "block5c_add"]),
        ("convnext-tiny", None),
        ("mobilenetv3-small", None),
    ],
)
def test_logits_are_those_of_the_classifier_and_features_the_means_of_its_maps(backbone, layers):
    classifier = classifiers.build_classifier(backbone, 64)
    network = stage_features.add_stage_features(classifier, [classifier.get_layer("pooled").output])
    logits, pooled, stages = network(IMAGES, training=False)
    np.testing.assert_allclose(logits, classifier(IMAGES, training=False), rtol=1e-5, atol=1e-6)
    width = pooled.shape[-1]
    # The last of them is the output of the backbone.
    np.testing.assert_allclose(stages[:, -width:], pooled, rtol=1e-5, atol=1e-6)
    assert stages.dtype == tf.float32
    widths = stage_features.count_features(classifier)
    assert (sum(widths), widths[-1]) == (stages.shape[-1], width)
    assert len(widths) > 1
    if layers:
        body = classifiers.backbone_of(classifier)
        maps = tf.keras.Model(body.input, [body.get_layer(name).output for name in layers])
        normalized = tf.keras.Model(classifier.input, body.get_input_at(-1))(IMAGES)
        means = [tf.reduce_mean(found, axis=[1, 2]) for found in maps(normalized, training=False)]
        np.testing.assert_allclose(stages[:, :-width], tf.concat(means, axis=1), rtol=1e-4, atol=1e-5)


def test_the_weights_are_shared_so_that_exchanged_ones_count():
    classifier = classifiers.build_classifier("efficientnet-lite0", 32)
    network = stage_features.add_stage_features(classifier)
    before = network(IMAGES[:, :32, :32], training=False)[1]
    classifier.set_weights([0.5 * weight for weight in classifier.get_weights()])
    after = network(IMAGES[:, :32, :32], training=False)
    assert not np.allclose(before, after[1])
    np.testing.assert_allclose(after[0], classifier(IMAGES[:, :32, :32], training=False), rtol=1e-5, atol=1e-6)


def test_metadata_and_patient_context_are_passed_through():
    classifier = classifiers.build_classifier(
        "efficientnet-lite0", 32, metadata="age,sex", context="set", bag_size=2, classes=targets.BINARY
    )
    network = stage_features.add_stage_features(classifier)
    known = np.random.default_rng(1).random((2, classifier.inputs[1].shape[-1])).astype(np.float32)
    logits, stages = network([IMAGES[:, :32, :32], known], training=False)
    whole = tf.keras.Model(classifier.inputs[:2], classifier.get_layer("logits").output)
    np.testing.assert_allclose(logits, whole([IMAGES[:, :32, :32], known], training=False), rtol=1e-5, atol=1e-6)
    assert stages.shape == (2, 1472)


def test_a_network_without_known_resolutions_gives_its_output_alone(tmp_path, monkeypatch):
    source = (
        "import tensorflow as tf\n"
        "def network(image_size):\n"
        "    images = tf.keras.Input((image_size, image_size, 3))\n"
        "    return tf.keras.Model(images, tf.keras.layers.Conv2D(4, 7, strides=7)(images))\n"
    )
    (tmp_path / "own_stages.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    classifier = classifiers.build_classifier("own_stages:network", 64)
    assert stage_features.add_stage_features(classifier)(IMAGES)[1].shape == (2, 4)
    assert stage_features.count_features(classifier) == [4]
