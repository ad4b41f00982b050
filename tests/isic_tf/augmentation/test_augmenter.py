import math

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from isic_tf.augmentation import augmenter, mixup, policies, presets, random_parameters
from isic_tf.data import decoding

SEEDS = tf.stack([tf.range(4000, dtype=tf.int64) // 7, tf.range(4000, dtype=tf.int64) * 2**33], axis=1)
EVERYTHING = {
    name: {"alpha": 1.0}
    if name in policies.MIXES
    else {}
    if name in policies.SWITCHES
    else {"uniform": [max(low, 0.3), min(high, 0.9)]}
    for name, (_, low, high) in policies.OPERATIONS.items()
    if name not in ("hue", "blur", "hair")
} | {"hue": {"uniform": [20, 40]}, "blur": {"uniform": [0.004, 0.006]}, "hair": {"uniform": [2, 3]}}


def picture(size=16, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def drawn(policy, count=4000):
    return {name: value.numpy() for name, value in random_parameters.sample_parameters(SEEDS[:count], policy).items()}


def test_only_what_a_policy_names_is_drawn():
    assert random_parameters.sample_parameters(SEEDS, {}) == {}
    assert set(drawn({"brightness": {"uniform": [0, 1]}})) == {"brightness"}
    assert set(drawn({"zoom": {"uniform": [1, 2]}})) == set(random_parameters.GEOMETRY)
    assert set(drawn({"vignette": {"uniform": [0.5, 0.6]}})) == {"vignette", "vignette_x", "vignette_y"}
    shapes = {name: value.shape for name, value in drawn(EVERYTHING, 5).items()}
    assert shapes.pop("grid") == (5, 2, 5)
    assert shapes.pop("hairs") == (5, 3, 8)
    assert shapes.pop("dropout_centers") == shapes.pop("cutmix_centers") == (5, 1, 2)
    assert shapes.pop("noise_seeds") == (5, 2)
    assert set(shapes.values()) == {(5,)}


def test_uniform_and_normal_values_and_chances():
    policy = {
        "brightness": {"uniform": [-0.1, 0.3]},
        "rotation": {"normal": [10, 180]},
        "contrast": {"p": 0.3, "uniform": [2, 3]},
        "rotate90": {},
        "flip_x": {"p": 0.25},
        "zoom_x": {"normal": [1, 5]},
    }
    found = drawn(policy)
    assert found["brightness"].min() == pytest.approx(-0.1, abs=1e-3)
    assert found["brightness"].max() == pytest.approx(0.3, abs=1e-3)
    assert found["brightness"].mean() == pytest.approx(0.1, abs=0.01)
    assert found["rotation"].mean() == pytest.approx(10, abs=10)
    assert found["rotation"].std() == pytest.approx(180, rel=0.04)
    # Where an image does not get it, the value that changes nothing.
    assert (found["contrast"] != 1).mean() == pytest.approx(0.3, abs=0.03)
    assert set(np.unique(found["rotate90"])) == {0, 1, 2, 3}
    assert np.bincount(found["rotate90"].astype(int)) / 4000 == pytest.approx([0.25] * 4, abs=0.03)
    assert found["flip_x"].mean() == pytest.approx(0.25, abs=0.03)
    # Held within what a zoom may be.
    assert (found["zoom_x"].min(), found["zoom_x"].max()) == (pytest.approx(0.2), pytest.approx(5))


def test_values_of_different_operations_are_independent():
    found = drawn({name: {"uniform": [0, 1]} for name in ("hue", "brightness", "contrast", "noise")})
    columns = np.stack([found[name] for name in ("hue", "brightness", "contrast", "noise")])
    assert np.abs(np.corrcoef(columns) - np.eye(4)).max() < 0.06


def test_another_operation_in_the_policy_changes_no_draw():
    one = drawn({"hue": {"uniform": [0, 1]}})["hue"]
    assert np.array_equal(one, drawn(EVERYTHING | {"hue": {"uniform": [0, 1]}})["hue"])


def test_together_and_instead():
    changes = {"uniform": [0.1, 0.2]}
    found = drawn(
        {
            "hue": {"p": 0.5, "together": "a", **changes},
            "value_shift": {"p": 0.5, "together": "a", **changes},
            "blur": {"p": 0.5, "instead": "b", "uniform": [0.001, 0.002]},
            "noise": {"p": 0.3, "instead": "b", **changes},
            "brightness": {"p": 0.5, **changes},
        }
    )
    active = {name: found[name] != 0 for name in ("hue", "value_shift", "blur", "noise", "brightness")}
    assert np.array_equal(active["hue"], active["value_shift"])
    assert not (active["blur"] & active["noise"]).any()
    assert active["blur"].mean() == pytest.approx(0.5, abs=0.03)
    assert active["noise"].mean() == pytest.approx(0.3, abs=0.03)
    assert (active["hue"] & active["brightness"]).mean() == pytest.approx(0.25, abs=0.03)


def test_pick_gives_each_image_so_many_evenly():
    names = ["hue", "value_shift", "noise", "brightness", "blur"]
    policy = {name: {"uniform": [0.001, 0.002]} for name in names} | {"pick": [2, names], "lens": {"uniform": [1, 1]}}
    found = drawn(policy)
    active = np.stack([found[name] != 0 for name in names])
    assert (active.sum(axis=0) == 2).all()
    assert active.mean(axis=1) == pytest.approx([0.4] * 5, abs=0.03)
    assert (found["lens"] == 1).all()


def test_zoom_and_aspect_are_shared_out_between_the_axes():
    found = drawn({"zoom": {"uniform": [2, 2]}, "aspect": {"uniform": [4, 4]}, "zoom_x": {"uniform": [3, 3]}}, 2)
    assert found["zoom_x"] == pytest.approx(2 * 2 * 3)
    assert found["zoom_y"] == pytest.approx(2 / 2)


@pytest.mark.parametrize("alpha", [0.4, 1.0, 3.0])
def test_shares_of_mixing_are_beta_distributed(alpha):
    share = drawn({"mixup": {"alpha": alpha}})["mixup"]
    for quantile in (0.1, 0.25, 0.5, 0.9):
        expected = scipy.special.betaincinv(alpha, alpha, quantile)
        assert (share < expected).mean() == pytest.approx(quantile, abs=0.025)


def test_mixup_as_worked_by_hand():
    images = tf.constant(np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1) * np.ones((1, 2, 2, 3), np.float32))
    params = {"mixup": tf.constant([1.0, 0.75, 0.5])}
    mixed, labels = mixup.mix(images, tf.constant([1.0, 0.0, 1.0]), params)
    # Each with the one before it, the first with the last.
    assert mixed[:, 0, 0, 0].numpy() == pytest.approx([0, 0.75 * 1 + 0.25 * 0, 0.5 * 2 + 0.5 * 1])
    assert labels.numpy() == pytest.approx([1, 0.25, 0.5])


def test_cutmix_as_worked_by_hand():
    images = tf.constant(np.arange(2, dtype=np.float32).reshape(2, 1, 1, 1) * np.ones((1, 8, 8, 3), np.float32))
    # A quarter of the area is a square of half the side; at a corner a quarter of that is left.
    params = {"cutmix": tf.constant([0.75, 0.75]), "cutmix_centers": tf.constant([[[0.5, 0.5]], [[0.0, 1.0]]])}
    mixed, labels = mixup.mix(images, tf.constant([0.0, 1.0]), params)
    assert np.array_equal(mixed[0, 2:6, 2:6, 0], np.ones((4, 4)))
    assert mixed[0].numpy().sum() == 4 * 4 * 3
    assert np.array_equal(mixed[1, 6:, :2, 0], np.zeros((2, 2)))
    assert mixed[1].numpy().sum() == (64 - 4) * 3
    assert labels.numpy() == pytest.approx([16 / 64, 1 - 4 / 64])


def test_labels_and_pixels_are_mixed_by_the_same_share():
    white = np.zeros((64, 16, 16, 3), np.uint8)
    white[::2] = 255
    labels = tf.constant([1.0, 0.0] * 32)
    for name in policies.MIXES:
        images, mixed = augmenter.make_augment({name: {"alpha": 1.0}})(white, labels, SEEDS[:64])
        assert np.abs(tf.reduce_mean(images, axis=(1, 2, 3)) - mixed).max() < 1e-5
        assert len(set(mixed.numpy().round(3))) > 20


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


@pytest.mark.parametrize("name", ["deotte", "winner"])
def test_a_preset_is_nearly_the_same_in_half_precision(name):
    policy = policies.read_policy(name)
    images = tf.image.resize(picture(4, 3), [64, 64], "bicubic")
    images = tf.cast(tf.clip_by_value(images, 0, 255), tf.uint8)
    full, half = (
        tf.cast(augmenter.make_augment(policy, dtype)(images, tf.zeros(3), SEEDS[:3])[0], tf.float32)
        for dtype in (tf.float32, tf.bfloat16)
    )
    assert np.abs(full - half).mean() < 0.01


@pytest.mark.parametrize("name", ["light", "deotte", "winner", "strong"])
def test_presets_stay_in_range_and_in_one_piece(name):
    images, _ = augmenter.make_augment(policies.read_policy(name))(picture(32, 16), tf.zeros(16), SEEDS[:16])
    assert images.dtype == tf.float32
    assert np.isfinite(images).all()
    assert images.numpy().min() >= 0
    assert images.numpy().max() <= 1
    assert len({image.tobytes() for image in images.numpy()}) == 16


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
