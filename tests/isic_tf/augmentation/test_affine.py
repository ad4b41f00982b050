import math

import geometry_reference as reference
import numpy as np
import pytest
import tensorflow as tf
from augmentation_samples import draw, params

from isic_tf.augmentation import affine, policies


def product(factors):
    """The matrix of two scales and three shears."""
    parts = [[1, factors["third"]], [0, 1]], [[1, 0], [factors["second"], 1]], [[1, factors["first"]], [0, 1]]
    matrix = np.diag([factors["scale_x"], factors["scale_y"]])
    for part in parts:
        matrix = matrix @ np.array(part)
    return matrix


@pytest.mark.parametrize("angles", [(0, 0), (0, 30), (1e-6, 0), (45, 0), (-45, 0), (30, 60), (-30, -60), (14, -12)])
@pytest.mark.parametrize("zooms", [(1, 1), (0.5, 2), (1.3, 0.9), (5, 0.2)])
def test_scales_and_shears_multiply_back_to_the_affine_map(angles, zooms):
    expected = reference.inverse(0, 0, 0, 0, *angles, *zooms, 0, 0)[:, :2]
    given = [float(value) for value in (*angles, *zooms)]
    assert np.abs(product(affine.factor_map(*given)) - expected).max() < 1e-9
    single = affine.factor_map(*(tf.constant([value]) for value in given))
    assert np.abs(product({name: float(value[0]) for name, value in single.items()}) - expected).max() < 1e-4
    if angles == (0, 0):
        # Zooms take no shears.
        assert [single[name].numpy()[0] for name in ("first", "second", "third")] == [0, 0, 0]


def test_what_is_split_multiplies_back_in_the_order_of_the_docstring():
    drawn = draw(60)
    split = {name: value.numpy() for name, value in affine.split_map(params(**drawn)).items()}
    for number in range(60):
        own = {name: value[number] for name, value in split.items()}
        signs = np.diag([own["sign_x"], own["sign_y"]])
        linear = signs @ product(own)
        # The shift is before the signs and, in sides, after the scales.
        shift = signs @ [own["move_x"], own["move_y"]]
        found = np.concatenate([linear, shift[:, None]], axis=1)
        found = found[::-1] if own["swap"] else found
        expected = reference.inverse(**{name: values[number] for name, values in drawn.items()})
        assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_only_rotation_and_shear_need_a_larger_canvas():
    switches = {"transpose": {"p": 0.5}, "flip_x": {"p": 0.5}, "flip_y": {"p": 0.5}, "rotate90": {}}
    assert affine.find_reach({**switches, "zoom": {"uniform": [0.5, 2]}, "lens": {"uniform": [0, 1]}}).canvas == 1
    # Turned by 45 degrees: tan(22.5 degrees) of half a side.
    reach = affine.find_reach({"rotation": {"uniform": [-180, 180]}})
    assert reach.offsets[0] == pytest.approx(math.tan(math.pi / 8) / 2)
    assert reach.canvas == pytest.approx(2**0.5)
    # With two pixels more on each side, which what is seen is interpolated from.
    assert reach.find_canvas(32) == 32 + 2 * (7 + 2)
    assert reach.find_canvas(33) == 33 + 2 * (7 + 2)
    assert reach.find_limit(0, 32) == 8


def test_the_canvas_is_for_the_stretch_that_is_possible():
    turn = {"rotation": {"uniform": [-45, 45]}}
    alike = {name: {"uniform": [0.5, 2]} for name in ("zoom_x", "zoom_y")}
    normal = {name: {"normal": [1, 0.1]} for name in ("zoom_x", "zoom_y")}

    def stretch(policy):
        return affine.find_reach({**turn, **policy}).stretch

    # The axes may be zoomed by 2 and by 0.5.
    assert stretch(alike) == (0.25, 4)
    assert stretch({"aspect": {"uniform": [0.8, 0.9]}, "zoom_x": {"uniform": [1, 2]}}) == pytest.approx((0.8, 2))
    assert stretch(normal) == pytest.approx((0.8 / 1.2, 1.2 / 0.8))
    assert stretch({"zoom_y": {"normal": [1, 9]}, "zoom_x": {"uniform": [0.2, 5]}}) == (0.25, 4)
    # A zoom of both axes needs no more room than a rotation.
    assert affine.find_reach({**turn, "zoom": {"uniform": [0.2, 5]}}) == affine.find_reach(turn)
    assert affine.find_reach({"rotation": {"normal": [5, 10]}}).rotation == 35
    assert affine.find_reach({"rotation": {"normal": [5, 20]}}).rotation == math.inf
    # Sampled are at most 60 degrees.
    assert affine.find_reach({"shear": {"normal": [0, 50]}}).shear == 60


@pytest.mark.parametrize("strength", [0.5, 1, 3, 5])
@pytest.mark.parametrize("name", ["light", "deotte", "winner", "strong"])
def test_every_preset_has_room_at_every_strength(name, strength):
    reach = affine.find_reach(policies.read_policy(name, strength))
    assert 1 < reach.canvas < 4.6
    assert reach.stretch[1] <= 4


@pytest.mark.parametrize("zooms", [(0.4, 1.89), (0.56, 2.41), (1, 1)])
def test_no_shear_within_the_limits_moves_further_than_the_reach(zooms):
    policy = {"rotation": {"uniform": [-90, 90]}, "shear": {"uniform": [-9, 9]}}
    policy |= {name: {"uniform": [*zooms]} for name in ("zoom_x", "zoom_y")}
    reach = affine.find_reach(policy)
    random = np.random.default_rng(0)
    shear, (zoom_x, zoom_y) = random.uniform(-9, 9, 50000), random.uniform(*zooms, (2, 50000))
    given = params(rotation=random.uniform(-45, 45, 50000) + shear / 2, shear=shear, zoom_x=zoom_x, zoom_y=zoom_y)
    given = {name: value.numpy().astype(float) for name, value in affine.limit_params(given, reach).items()}
    found = affine.factor_map(*(given[name] for name in ("rotation", "shear", "zoom_x", "zoom_y")))
    # What a pixel of the image comes through: its corners, which are the farthest.
    x, y = 1 + np.abs(found["first"]), 1
    assert np.abs(found["first"]).max() / 2 <= reach.offsets[0] + 1e-3
    assert np.abs(found["second"] * x).max() / 2 <= reach.offsets[1] + 1e-3
    y = np.abs(found["second"] * found["first"] + 1) + np.abs(found["second"])
    assert np.abs(found["third"] * y).max() / 2 <= reach.offsets[2] + 1e-3
    assert max(x.max(), y.max()) <= reach.canvas + 1e-3


def test_what_is_beyond_the_limits_is_limited_and_shows_as_much():
    reach = affine.Reach((1, 1, 1), 2, 30, 10, (0.5, 2))
    given = params(rotation=[40, -20], shear=[-15, 5], zoom_x=[4.5, 1.2], zoom_y=[0.5, 0.9])
    found = {name: value.numpy() for name, value in affine.limit_params(given, reach).items()}
    assert found["rotation"].tolist() == [30, -20]
    assert found["shear"].tolist() == [-10, 5]
    # 9 times more along x becomes twice, with the same area: 1.5 is the root of 4.5 times 0.5.
    assert found["zoom_x"] == pytest.approx([1.5 * 2**0.5, 1.2])
    assert found["zoom_y"] == pytest.approx([1.5 / 2**0.5, 0.9])
    # Without rotation and shear there are no limits.
    assert affine.limit_params(given, affine.Reach())["zoom_x"].numpy().tolist() == given["zoom_x"].numpy().tolist()
