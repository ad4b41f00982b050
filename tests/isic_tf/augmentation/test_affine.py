import math

import geometry_reference as reference
import numpy as np
import pytest
import tensorflow as tf
from augmentation_samples import draw, params

from isic_tf.augmentation import affine


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


def test_the_canvas_is_for_the_zooms_that_can_meet():
    turn = {"rotation": {"uniform": [-45, 45]}}
    alike = {name: {"uniform": [0.5, 2]} for name in ("zoom_x", "zoom_y")}
    # The axes may be zoomed by 2 and by 0.5.
    assert affine.find_stretch(alike) == (0.25, 4)
    assert affine.find_stretch({**alike, "aspect": {"uniform": [0.8, 0.9]}}) == pytest.approx((0.2, 4))
    assert affine.find_stretch({"zoom_x": {"normal": [1, 0.1]}, "zoom_y": {"normal": [1, 0.1]}}) == pytest.approx(
        (0.8 / 1.2, 1.2 / 0.8)
    )
    # Beyond the range of a zoom nothing is sampled.
    assert affine.find_stretch({"zoom_y": {"normal": [1, 9]}}) == (0.2, 5)
    # A zoom of both axes needs no more room than a rotation.
    zoomed = affine.find_reach({**turn, "zoom": {"uniform": [0.2, 5]}})
    assert zoomed == affine.find_reach(turn)
    assert affine.find_reach({**turn, **alike}).canvas > affine.find_reach({**turn, "zoom_x": alike["zoom_x"]}).canvas
