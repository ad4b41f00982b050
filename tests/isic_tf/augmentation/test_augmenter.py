import functools
import math

import numpy as np
import pytest
import tensorflow as tf
from augmentation_samples import EVERYTHING, SEEDS, picture

from isic_tf.augmentation import augmenter, mixup, policies, random_parameters
from isic_tf.data import decoding


def test_nothing_changes_without_a_policy():
    images, plain = picture(), decoding.to_float(picture())
    assert np.array_equal(augmenter.apply(images, {}, {}), plain)
    none = augmenter.make_augment(policies.read_policy("winner", 0.0))
    assert np.array_equal(none(images, tf.zeros(2), SEEDS[:2])[0], plain)


@pytest.mark.parametrize(
    ("name", "on_tpu"),
    [(name, False) for name in policies.OPERATIONS if name not in policies.MIXES]
    + [(name, True) for name in ("transpose", "rotation", "zoom", "shift_y", "lens", "grid", "blur")],
)
def test_every_operation_changes_an_image_and_its_neutral_value_does_not(name, on_tpu):
    images, plain = picture(64), decoding.to_float(picture(64))
    policy = {name: EVERYTHING[name]}
    params = random_parameters.sample_parameters(SEEDS[:2], policy)
    if name == "rotate90":
        params["rotate90"] = tf.ones(2)
    assert np.abs(augmenter.apply(images, params, policy, on_tpu=on_tpu) - plain).max() > 0.02
    # Chance 0: drawn, and given to none.
    neutral = random_parameters.sample_parameters(SEEDS[:2], {name: {**EVERYTHING[name], "p": 0.0}})
    assert np.abs(augmenter.apply(images, neutral, policy, on_tpu=on_tpu) - plain).max() < 1e-5


def differences(policy, dtype, on_tpu):
    """Differences of images and labels between what is compiled and what is not."""
    images, labels, seeds = tf.constant(picture(count=3)), tf.constant([0.0, 1.0, 1.0]), SEEDS[:3]
    found = augmenter.make_augment(policy, dtype, on_tpu)(images, labels, seeds)
    assert found[0].dtype == dtype
    assert found[0].shape == images.shape
    params = random_parameters.sample_parameters(seeds, policy)
    expected = mixup.mix(augmenter.apply(images, params, policy, tf.float32, on_tpu), labels, params)
    return [np.abs(tf.cast(one, tf.float32) - other) for one, other in zip(found, expected, strict=True)]


@pytest.mark.parametrize("on_tpu", [False, True])
def test_all_operations_at_once_are_the_same_compiled(on_tpu):
    images, labels = differences({**EVERYTHING, "fill": "constant"}, tf.float32, on_tpu)
    assert images.max() < 1e-4
    assert labels.max() < 1e-5


def test_all_operations_at_once_are_nearly_the_same_in_half_precision():
    images, labels = differences(EVERYTHING, tf.bfloat16, False)
    # A compiler may keep more digits between two operations.
    assert np.quantile(images, 0.99) < 0.03
    assert labels.max() < 1e-5


# Sides of a preset's images, odd and even.
SIDES = {"light": 17, "deotte": 24, "winner": 16, "strong": 17}


@functools.cache
def augmented(name, on_tpu, order=range(6)):
    """What a preset makes of images in an order, without the operations that use other images."""
    policy = {key: entry for key, entry in policies.read_policy(name).items() if key not in policies.MIXES}
    params = random_parameters.sample_parameters(tf.gather(SEEDS, order), policy)
    return augmenter.apply(tf.constant(picture(SIDES[name], 6)[[*order]]), params, policy, on_tpu=on_tpu).numpy()


@pytest.mark.parametrize("name", SIDES)
def test_presets_are_the_same_by_gathers_and_by_products(name):
    found, other = (augmented(name, on_tpu) for on_tpu in (False, True))
    assert len({one.tobytes() for one in found}) == 6
    # To the bit, but for the blur, which adds up in another order.
    assert np.abs(found - other).max() < (1e-5 if "blur" in policies.read_policy(name) else 1e-9)


@pytest.mark.parametrize("on_tpu", [False, True])
@pytest.mark.parametrize("name", SIDES)
def test_a_records_augmentation_does_not_depend_on_its_batch(name, on_tpu):
    order = (4, 1)
    assert np.abs(augmented(name, on_tpu, order) - augmented(name, on_tpu)[[*order]]).max() < 1e-5


def test_shifts_scale_with_the_side():
    # The same picture at two sizes, moved by the same share: an eighth is 2 of 16 pixels and 4 of 32.
    policy = {"fill": "edge", "shift_x": {"uniform": [0.125, 0.125]}}
    small = picture(16, 1)
    large = small.repeat(2, 1).repeat(2, 2)
    moved = [
        augmenter.apply(image, random_parameters.sample_parameters(SEEDS[:1], policy), policy).numpy()
        for image in (small, large)
    ]
    assert np.allclose(moved[0][:, :, 2:], decoding.to_float(small)[:, :, :-2], atol=1e-6)
    assert np.allclose(moved[1][:, :, 4:], decoding.to_float(large)[:, :, :-4], atol=1e-6)


def test_replicas_differ_and_a_records_augmentation_depends_on_its_seed_alone(mirrored):
    image = tf.constant(picture(count=1)).numpy().repeat(4, 0)
    function = augmenter.make_augment(policies.read_policy("deotte"))
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
    policy = {"rotation": {"uniform": [90, 90]}}
    params = random_parameters.sample_parameters(SEEDS[:1], policy)
    turned = np.rot90(decoding.to_float(images), 1, (1, 2))
    assert np.array_equal(augmenter.apply(images, params, policy), turned)
    assert math.isclose(params["rotation"][0], 90)


def test_a_policy_is_compiled_once_for_all_steps(monkeypatch):
    original, traced = random_parameters.sample_parameters, []
    monkeypatch.setattr(
        random_parameters, "sample_parameters", lambda seeds, policy: traced.append(policy) or original(seeds, policy)
    )
    found = []
    for chance in (0.25, 0.25, 1.0):
        augment = augmenter.make_augment({"flip_x": {"p": chance}})
        step = tf.function(lambda images, augment=augment: augment(images, tf.zeros(4), SEEDS[:4])[0])
        found.append(step(tf.constant(picture(5, 4))).numpy())
    assert traced == [{"flip_x": {"p": 0.25}}, {"flip_x": {"p": 1.0}}]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
