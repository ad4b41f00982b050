import numpy as np
import pytest
import scipy.special
from augmentation_samples import EVERYTHING, SEEDS, drawn

from isic_tf.augmentation import random_parameters


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
