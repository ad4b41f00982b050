import numpy as np
import pytest
import tensorflow as tf
from small_context import patch_small_classifiers

from isic_tf.models import patient_context_head, set_transformer


@pytest.fixture
def small(monkeypatch):
    return patch_small_classifiers(monkeypatch)


IMAGES = np.random.default_rng(0).random((8, 32, 32, 3)).astype(np.float32)


def test_a_lesion_is_corrected_by_its_own_patients_in_its_bag_and_by_no_other(small):
    classifier = small("efficientnet-b0", 32, context="set", bag_size=4)
    alone = patient_context_head.image_level_model(classifier)(IMAGES).numpy()

    def predict(patients, images=IMAGES):
        return classifier([images, np.array(patients, np.float32)[:, None]]).numpy()

    found = predict([3, 3, 7, 3, 3, -1, -1, 7])
    # Alone in its bag: one of patient 7, the next bag's of patient 3, and unknown ones.
    assert np.array_equal(found[[2, 4, 5, 6, 7]], alone[[2, 4, 5, 6, 7]])
    assert np.abs(found - alone)[[0, 1, 3]].min() > 1e-4
    changed = IMAGES.copy()
    changed[[2, 4, 5, 6, 7]] = 0.5
    assert np.allclose(predict([3, 3, 7, 3, 3, -1, -1, 7], changed)[[0, 1, 3]], found[[0, 1, 3]], atol=1e-6)
    # What the set network itself predicts for the three.
    seen = tf.keras.Model(classifier.inputs[0], classifier.get_layer(patient_context_head.HEAD_INPUT).output)(
        IMAGES
    ).numpy()
    three = seen[None, [0, 1, 3]]
    sets = patient_context_head.find_context_layer(classifier).sets
    assert np.allclose(sets([three[..., :-1], np.ones((1, 3)), three[..., -1:]])[0], found[[0, 1, 3]], atol=1e-6)


def test_corrected_logits_worked_by_hand(monkeypatch):
    def add_up(inputs, training=None):
        """Stands in for the set transformer: all logits of a view are the sum of those that are not masked."""
        _, mask, logits = inputs
        return tf.reduce_sum(mask * logits[..., 0], axis=1, keepdims=True) * tf.ones_like(mask)

    monkeypatch.setattr(set_transformer, "build_set_transformer", lambda dim: add_up)
    layer = patient_context_head.Context(1, 3)
    seen = np.array([[0, 1], [0, 2], [0, 4], [0, 8], [0, 16], [0, 32]], np.float32)
    # Two bags of three: patient 5 has two lesions of the first, and one of the second, which is another view.
    patients = np.array([[5], [7], [5], [5], [0], [0]], np.float32)
    assert layer([seen, patients]).numpy()[:, 0].tolist() == [5, 2, 5, 8, 48, 48]
    # Unknown patients have the same number, but are compared with no other.
    unknown = np.array([[-1], [-1], [3], [-1], [-1], [-1]], np.float32)
    assert np.array_equal(layer([seen, unknown])[:, 0], seen[:, 1])


def test_the_context_layer_is_found_where_there_is_one(small):
    plain = small("efficientnet-b0", 32)
    assert patient_context_head.find_context_layer(plain) is None
    layer = patient_context_head.find_context_layer(small("efficientnet-b0", 32, context="set", bag_size=4))
    assert isinstance(layer, patient_context_head.Context)
    assert layer.bag_size == 4
    assert layer.name == "context"


def test_the_image_level_model_takes_single_images_and_metadata(small):
    plain = small("efficientnet-b0", 32)
    assert patient_context_head.image_level_model(plain) is plain
    classifier = small("efficientnet-b0", 32, context="set", bag_size=4)
    model = patient_context_head.image_level_model(classifier)
    assert [tuple(tensor.shape) for tensor in model.inputs] == [(None, 32, 32, 3)]
    # Three images are no bag of four.
    assert model(IMAGES[:3]).shape == (3, 1)
    with_metadata = small("efficientnet-b0", 32, context="set", bag_size=4, metadata="sex")
    inputs = patient_context_head.image_level_model(with_metadata).inputs
    assert [tuple(tensor.shape) for tensor in inputs] == [(None, 32, 32, 3), (None, 3)]


def test_both_levels_are_the_image_level_and_the_corrected_logits(small):
    plain = small("efficientnet-b0", 32)
    assert patient_context_head.both_levels(plain) is plain
    classifier = small("efficientnet-b0", 32, context="set", bag_size=4)
    patients = np.array([3, 3, 7, 3, 3, -1, -1, 7], np.float32)[:, None]
    image_level, corrected = patient_context_head.both_levels(classifier)([IMAGES, patients])
    assert np.allclose(image_level, patient_context_head.image_level_model(classifier)(IMAGES), atol=1e-6)
    assert np.allclose(corrected, classifier([IMAGES, patients]), atol=1e-6)


def test_the_seen_layer_ends_with_the_image_level_malignant_logit(small):
    classifier = small("efficientnet-b0", 32, context="set", bag_size=4)
    seen = tf.keras.Model(classifier.inputs[0], classifier.get_layer(patient_context_head.HEAD_INPUT).output)(IMAGES)
    # Eight features of the backbone, and the logit.
    assert seen.shape == (8, 9)
    assert np.allclose(seen[:, -1:], patient_context_head.image_level_model(classifier)(IMAGES), atol=1e-6)
