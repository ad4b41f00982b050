import math

import numpy as np
import pytest
import tensorflow as tf
from augmentation_samples import EVERYTHING, SEEDS, picture

from isic_tf.augmentation import augmenter, mixup, policies, presets, random_parameters
from isic_tf.data import decoding


@pytest.mark.parametrize("name", [name for name in presets.PRESETS if name != "strong"])
def test_labels_stay_where_nothing_is_mixed(name):
    labels = tf.constant([0.0, 1.0])
    assert np.array_equal(augmenter.make_augment(policies.read_policy(name))(picture(), labels, SEEDS[:2])[1], labels)


def test_nothing_changes_without_training_or_without_a_policy():
    images, plain = picture(), decoding.to_float(picture())
    params = random_parameters.sample_parameters(SEEDS[:2], EVERYTHING)
    assert np.array_equal(augmenter.apply(images, params, training=False), plain)
    assert np.array_equal(augmenter.apply(images, {}), plain)
    none = augmenter.make_augment(policies.read_policy("winner", 0.0))
    assert np.array_equal(none(images, tf.zeros(2), SEEDS[:2])[0], plain)


@pytest.mark.parametrize("name", [name for name in policies.OPERATIONS if name not in policies.MIXES])
def test_every_operation_changes_an_image_and_its_neutral_value_does_not(name):
    images, plain = picture(64), decoding.to_float(picture(64))
    params = random_parameters.sample_parameters(SEEDS[:2], {name: EVERYTHING[name]})
    if name == "rotate90":
        params["rotate90"] = tf.ones(2)
    assert np.abs(augmenter.apply(images, params) - plain).max() > 0.02
    # Chance 0: drawn, and given to none.
    neutral = random_parameters.sample_parameters(SEEDS[:2], {name: {**EVERYTHING[name], "p": 0.0}})
    assert np.abs(augmenter.apply(images, neutral) - plain).max() < 1e-5


@pytest.mark.parametrize("fill", ["reflect", "edge", "constant"])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_all_operations_at_once_compile_under_xla_and_agree(fill, dtype):
    def whole(images, labels, seeds):
        params = random_parameters.sample_parameters(seeds, EVERYTHING)
        return mixup.mix(augmenter.apply(images, params, fill, dtype), labels, params)

    images, labels = tf.constant(picture(count=3)), tf.constant([0.0, 1.0, 1.0])
    given = images, labels, SEEDS[:3]
    plain, compiled = whole(*given), tf.function(whole, jit_compile=True)(*given)
    assert compiled[0].dtype == dtype
    assert compiled[0].shape == images.shape
    difference = np.abs(tf.cast(compiled[0], tf.float32) - tf.cast(plain[0], tf.float32))
    if dtype == tf.float32:
        assert difference.max() < 1e-4
    else:
        # A compiler may keep more digits between two operations.
        assert np.quantile(difference, 0.99) < 0.03
    assert np.abs(compiled[1] - plain[1]).max() < 1e-5


def test_shifts_scale_with_the_side():
    # The same picture at two sizes, moved by the same share: an eighth is 2 of 16 pixels and 4 of 32.
    policy = {"fill": "edge", "shift_x": {"uniform": [0.125, 0.125]}}
    small = picture(16, 1)
    large = small.repeat(2, 1).repeat(2, 2)
    moved = [
        augmenter.apply(image, random_parameters.sample_parameters(SEEDS[:1], policy), "edge").numpy()
        for image in (small, large)
    ]
    assert np.allclose(moved[0][:, :, 2:], decoding.to_float(small)[:, :, :-2], atol=1e-6)
    assert np.allclose(moved[1][:, :, 4:], decoding.to_float(large)[:, :, :-4], atol=1e-6)


def test_a_records_augmentation_does_not_depend_on_its_batch():
    policy = {name: entry for name, entry in policies.read_policy("strong").items() if name not in policies.MIXES}
    function, images = augmenter.make_augment(policy), picture(32, 6)
    whole = function(images, tf.zeros(6), SEEDS[:6])[0].numpy()
    order = [4, 1]
    part = function(images[order], tf.zeros(2), tf.gather(SEEDS, order))[0].numpy()
    assert np.abs(part - whole[order]).max() < 1e-5


def test_replicas_differ_and_a_records_augmentation_depends_on_its_seed_alone(mirrored):
    image = tf.constant(picture(count=1)).numpy().repeat(4, 0)
    function = augmenter.make_augment(policies.read_policy("winner"))
    whole = function(image, tf.zeros(4), SEEDS[10:14])[0].numpy()
    assert len({one.tobytes() for one in whole}) == 4

    @tf.function
    def step(images, seeds):
        return mirrored.run(lambda x, s: function(x, tf.zeros(2), s)[0], args=(images, seeds))

    def share(values):
        return mirrored.experimental_distribute_values_from_function(
            lambda context: values[2 * context.replica_id_in_sync_group :][:2]
        )

    results = mirrored.experimental_local_results(step(share(tf.constant(image)), share(SEEDS[10:14])))
    assert np.abs(np.concatenate(results) - whole).max() < 1e-5


def test_rotation_is_in_degrees():
    images = picture(9, 1)
    params = random_parameters.sample_parameters(SEEDS[:1], {"rotation": {"uniform": [90, 90]}})
    turned = np.rot90(decoding.to_float(images), 1, (1, 2))
    assert np.abs(augmenter.apply(images, params) - turned).max() < 1e-4
    assert math.isclose(params["rotation"][0], 90)
