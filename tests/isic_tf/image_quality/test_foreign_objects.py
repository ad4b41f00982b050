import cv2
import numpy as np
import pytest

from isic_tf.image_quality import foreign_objects

SKIN = (220, 170, 150)


def make_skin():
    return np.full((384, 512, 3), SKIN, np.uint8)


def measure_ink(image):
    return foreign_objects.ink_share(image, np.ones(image.shape[:2], bool))


@pytest.mark.parametrize("color", [(70, 40, 160), (40, 130, 210), (40, 160, 80)], ids=["purple", "blue", "green"])
def test_the_share_of_ink_is_that_of_its_pixels(color):
    image = make_skin()
    image[:96, :128] = color
    assert measure_ink(image) == 1 / 16


@pytest.mark.parametrize("color", [(20, 20, 25), (130, 60, 40), (150, 40, 60), (120, 120, 140)])
def test_lesions_are_no_ink(color):
    image = make_skin()
    image[:96] = color
    assert measure_ink(image) == 0


def test_a_blue_light_is_no_ink():
    assert measure_ink(np.full((50, 50, 3), (120, 150, 190), np.uint8)) == 0


def draw_ticks(image, step, length, angle=0.0):
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for number in range(10):
        ends = [turn @ np.array([x, number * step]) + (120, 60) for x in (0, length)]
        cv2.line(image, *(tuple(end.round().astype(int).tolist()) for end in ends), (30, 30, 30), 3)


@pytest.mark.parametrize("angle", [0.0, 0.3])
def test_ticks_take_up_their_length_times_their_step(angle):
    image = make_skin()
    draw_ticks(image, 25, 60, angle)
    # Eight of the ten have neighbors on both sides; ends are rounded, and make a tick up to 3 px longer.
    assert foreign_objects.ruler_share(image) == pytest.approx(8 * 25 * 62 / (384 * 512), rel=0.05)


def test_hair_is_no_ruler():
    image = make_skin()
    rng = np.random.default_rng(0)
    for _ in range(40):
        center = tuple(rng.integers(0, 384, 2).tolist())
        start = float(rng.uniform(0, 360))
        cv2.ellipse(image, center, (150, 90), start, 0, 80, (40, 30, 20), 3)
    assert foreign_objects.ruler_share(image) == 0


def test_lines_in_unequal_steps_are_no_ruler():
    image = make_skin()
    for row in (40, 60, 100, 180, 200, 280):
        cv2.line(image, (100, row), (160, row), (30, 30, 30), 3)
    assert foreign_objects.ruler_share(image) == 0


def test_noise_and_stripes_are_no_ruler():
    noise = np.random.default_rng(0).integers(0, 255, (512, 512, 3)).astype(np.uint8)
    assert foreign_objects.ruler_share(noise) < 0.01
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[::2] = 255
    assert foreign_objects.ruler_share(stripes) == 0
