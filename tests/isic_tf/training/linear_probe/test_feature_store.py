import numpy as np
import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk

from isic_tf.data import image_cache, input_pipeline, mixture
from isic_tf.inference import test_time_augmentation
from isic_tf.models import backbones, classifiers
from isic_tf.training.linear_probe import feature_store, heads
from tfrecord_tools import errors

CONFIG = make_config(freeze_epochs="all")
DEFAULT = tf.distribute.get_strategy()


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


def build(strategy=DEFAULT):
    tf.keras.utils.set_random_seed(1)
    with strategy.scope():
        return classifiers.build_from_config(CONFIG)


@pytest.fixture(scope="module")
def plans(record_set):
    rows = mixture.read_sets(str(record_set))
    return [mixture.plan_fold(rows, fold) for fold in (0, 1)]


def read_images(rows):
    dataset = input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=len(rows), threads=2)
    return next(iter(dataset))[0]


def test_the_features_are_those_of_each_version_of_each_image(plans):
    classifier = build()
    store = feature_store.FeatureStore(1000)
    plan = plans[0]
    count = store.compute(classifier, plan, DEFAULT, CONFIG)
    assert count == 8 * len(plan.rows) + len(plan.held_out)
    assert store.width == 8
    extractor = heads.build_extractor(classifier)
    for rows, versions in ((plan.rows, range(8)), (plan.held_out, [0])):
        ordered = input_pipeline.in_file_order(rows)
        images = read_images(rows)
        for version in versions:
            turned = test_time_augmentation.dihedral(images, tf.constant(version))
            expected = extractor(tf.cast(turned, tf.float32) / 255).numpy()
            found = store.read(ordered["number"].to_numpy(), version)
            assert np.abs(found - expected).max() < 1e-5
    versions = store._features[plan.rows["number"].iloc[0]]
    assert len(np.unique(versions.round(6), axis=0)) == 8


def test_folds_of_one_backbone_share_features_and_others_do_not(plans):
    classifier = build()
    store = feature_store.FeatureStore(1000)
    first, second = plans
    store.compute(classifier, first, DEFAULT, CONFIG)
    pauses = []
    assert store.compute(classifier, first, DEFAULT, CONFIG, pause=lambda: pauses.append(1)) == 0
    assert pauses == []
    before = store.read(first.held_out["number"].to_numpy(), 0)
    # The held-out images of the first fold lack seven versions.
    assert store.compute(classifier, second, DEFAULT, CONFIG, pause=lambda: pauses.append(1)) == 7 * len(second.rows)
    assert len(pauses) == 7 * -(-len(second.rows) // CONFIG.global_batch_size)
    assert np.array_equal(store.read(first.held_out["number"].to_numpy(), 0), before)
    backbone = classifiers.backbone_of(classifier)
    backbone.set_weights([1.5 * weights for weights in backbone.get_weights()])
    assert store.compute(classifier, first, DEFAULT, CONFIG) == 8 * len(first.rows) + len(first.held_out)
    assert np.abs(store.read(first.held_out["number"].to_numpy(), 0) - before).max() > 0.01


def test_two_devices_give_the_features_of_one(plans, mirrored):
    one, two = feature_store.FeatureStore(1000), feature_store.FeatureStore(1000)
    one.compute(build(), plans[0], DEFAULT, CONFIG)
    two.compute(build(mirrored), plans[0], mirrored, CONFIG)
    numbers = plans[0].rows["number"].to_numpy()
    for version in range(8):
        assert np.abs(one.read(numbers, version) - two.read(numbers, version)).max() < 1e-6


def test_features_that_do_not_fit_into_memory_are_refused_before_any_is_computed(plans, monkeypatch):
    # 1000 images of 8 versions of 8 features of 4 bytes: 256 kB.
    assert feature_store.count_bytes(1000, 8) == 256_000
    monkeypatch.setattr(image_cache, "free_memory", lambda: 300_000)
    message = (
        "--freeze_epochs=all needs 0.00 GB for 8 features of 1000 images in 8 versions, more than 80% of the 0.00 GB "
        "of memory that are free; give --freeze_epochs a number of epochs, or use fewer records or a smaller --backbone"
    )
    with pytest.raises(errors.ConfigError, match=message):
        feature_store.FeatureStore(1000).compute(build(), plans[0], DEFAULT, CONFIG)
    monkeypatch.setattr(image_cache, "free_memory", lambda: 320_000)
    feature_store.check_room(1000, 8)
