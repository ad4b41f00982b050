import json

import numpy as np
import pytest
import tensorflow as tf
from augmentation_samples import SEEDS, picture

from isic_tf.augmentation import augmenter, policies, presets


@pytest.mark.parametrize("name", presets.PRESETS)
def test_every_preset_is_a_policy_and_can_be_written_as_a_file(name, tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(presets.PRESETS[name]()))
    assert policies.read_policy(str(path)) == policies.read_policy(name)
    assert policies.read_policy(name, 0.0) == {}


def test_geometric_is_light_without_its_colors():
    light, geometric = policies.read_policy("light"), policies.read_policy("geometric")
    assert light.keys() - geometric.keys() == {"saturation", "contrast", "brightness"}
    assert {name: light[name] for name in geometric} == geometric


def test_the_published_figures_of_deottes_notebook():
    policy = policies.read_policy("deotte")
    assert policy["rotation"] == {"normal": [0, 180]}
    assert policy["shear"] == {"normal": [0, 2]}
    assert policy["zoom_x"] == policy["zoom_y"] == {"normal": [1, 0.125]}
    # 8 pixels at 256, and 12 at 384.
    assert policy["shift_x"] == policy["shift_y"] == {"normal": [0, 0.03125]}
    assert policy["saturation"] == {"uniform": [0.7, 1.3]}
    assert policy["contrast"] == {"uniform": [0.8, 1.2]}
    assert policy["brightness"] == {"uniform": [-0.1, 0.1]}


def test_the_published_figures_of_the_first_place():
    policy = policies.read_policy("winner")
    assert [policy[name]["p"] for name in ("transpose", "flip_x", "flip_y")] == [0.5] * 3
    assert (policy["brightness"], policy["gain"]) == (
        {"p": 0.75, "uniform": [-0.2, 0.2]},
        {"p": 0.75, "uniform": [0.8, 1.2]},
    )
    assert policy["rotation"]["uniform"] == [-15, 15]
    assert policy["rotation"]["p"] == 0.85
    assert policy["dropout"] == {"p": 0.7, "uniform": [0.375, 0.375], "count": 1}
    assert policy["blur"]["p"] + policy["noise"]["p"] == pytest.approx(0.7)
    # Of the three distortions the elastic one changes nothing.
    assert policy["lens"]["p"] + policy["grid"]["p"] == pytest.approx(0.7 * 2 / 3)


def augmented(name, dtype):
    """Images and labels that a preset makes of 16 smooth images of 48 px."""
    images = tf.image.resize(picture(4, 16), [48, 48], "bicubic")
    images = tf.cast(tf.clip_by_value(images, 0, 255), tf.uint8)
    return augmenter.make_augment(policies.read_policy(name), dtype)(images, tf.range(16.0) / 16, SEEDS[:16])


@pytest.mark.parametrize("name", presets.PRESETS)
def test_presets_stay_in_range_and_in_one_piece_and_come_near_in_half_precision(name):
    images, labels = augmented(name, tf.float32)
    assert images.dtype == tf.float32
    assert np.isfinite(images).all()
    assert images.numpy().min() >= 0
    assert images.numpy().max() <= 1
    assert len({image.tobytes() for image in images.numpy()}) == 16
    # Only one of them mixes images.
    assert np.array_equal(labels, np.arange(16) / 16) == (name != "strong")
    if name in ("deotte", "winner"):
        half = tf.cast(augmented(name, tf.bfloat16)[0], tf.float32)
        assert np.abs(images - half).mean() < 0.01
