import numpy as np
import pytest
import tensorflow as tf
from scipy import special

from isic_tf.data import decoding
from isic_tf.inference import predictor, test_time_augmentation

SIZE = 4


def make_network(weight, metadata=False):
    """A network whose logit is `weight` times the top left value, plus the metadata; `pooled` is the mean color."""
    images = tf.keras.Input((SIZE, SIZE, 3))
    known = tf.keras.Input((1,))
    corner = tf.keras.layers.Lambda(lambda values: weight * values[:, 0, 0, :1])(images)
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="pooled")(images)
    # Connected to the logits, so that one pass computes both.
    logits = tf.keras.layers.Lambda(lambda values: values[0] + 0 * values[1][:, :1])([corner, pooled])
    if metadata:
        return tf.keras.Model([images, known], tf.keras.layers.Add()([logits, known]))
    return tf.keras.Model(images, logits)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), np.uint8)


def make_dataset(images, *metadata, names=("a", "b", "c", "")):
    return tf.data.Dataset.from_tensors((images, *metadata, np.array(names)))


def test_probabilities_are_the_mean_over_networks_by_hand(images):
    networks = [make_network(2.0), make_network(-1.0)]
    predict = predictor.make_predictor(networks, tf.distribute.get_strategy())
    ((names, found),) = predict(make_dataset(images))
    corner = images[:3, 0, 0, 0] / 255
    assert names == ["a", "b", "c"]
    assert found.dtype == np.float32
    assert found == pytest.approx((special.expit(2 * corner) + special.expit(-corner)) / 2, abs=1e-6)


def test_metadata_go_to_the_network(images):
    known = np.array([[1.0], [-2.0], [0.0], [0.0]], np.float32)
    predict = predictor.make_predictor([make_network(1.0, metadata=True)], tf.distribute.get_strategy())
    ((_, found),) = predict(make_dataset(images, known))
    assert found == pytest.approx(special.expit(images[:3, 0, 0, 0] / 255 + known[:3, 0]), abs=1e-6)


def test_embeddings_are_those_of_each_network(images):
    networks = [make_network(2.0), make_network(-1.0)]
    plain = predictor.make_predictor(networks, tf.distribute.get_strategy())
    predict = predictor.make_predictor(networks, tf.distribute.get_strategy(), embed="pooled")
    ((names, found, features),) = predict(make_dataset(images))
    assert names == ["a", "b", "c"]
    assert np.array_equal(found, next(iter(plain(make_dataset(images))))[1])
    assert features.shape == (3, 2, 3)
    assert features.dtype == np.float32
    for network in range(2):
        assert features[:, network] == pytest.approx(images[:3].mean(axis=(1, 2)) / 255, abs=1e-6)


def test_versions_are_averaged_by_hand(images):
    view = test_time_augmentation.make_views(8, "dihedral", {}, seed=0)
    predict = predictor.make_predictor(
        [make_network(3.0)], tf.distribute.get_strategy(), view=view, count=8, embed="pooled"
    )
    ((_, found, features),) = predict(make_dataset(images))
    corners = [images[:3, row, column, 0] / 255 for row in (0, -1) for column in (0, -1)]
    # Each corner comes to the top left in two of the eight symmetries.
    assert found == pytest.approx(np.mean([special.expit(3 * corner) for corner in corners], axis=0), abs=1e-6)
    assert features[:, 0] == pytest.approx(images[:3].mean(axis=(1, 2)) / 255, abs=1e-6)


def test_versions_are_sampled_by_the_hash_of_the_name(images):
    def view(images, keys, number):
        return (
            decoding.to_float(images) * 0
            + tf.cast(keys % 7 + tf.cast(number, tf.int64), tf.float32)[:, None, None, None]
        )

    predict = predictor.make_predictor([make_network(0.1)], tf.distribute.get_strategy(), view=view, count=2)
    ((_, found),) = predict(make_dataset(images))
    keys = tf.strings.to_hash_bucket_fast(["a", "b", "c"], 2**62).numpy() % 7
    expected = (special.expit(0.1 * keys) + special.expit(0.1 * (keys + 1))) / 2
    assert found == pytest.approx(expected, abs=1e-6)


def test_two_replicas_predict_as_one_does(images, mirrored):
    with mirrored.scope():
        networks = [make_network(2.0)]
    one = predictor.make_predictor([make_network(2.0)], tf.distribute.get_strategy(), embed="pooled")
    two = predictor.make_predictor(networks, mirrored, embed="pooled")
    ((names, found, features),) = two(make_dataset(images))
    ((own_names, own_found, own_features),) = one(make_dataset(images))
    assert names == own_names
    assert np.array_equal(found, own_found)
    assert features == pytest.approx(own_features, abs=1e-6)
