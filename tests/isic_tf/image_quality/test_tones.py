import numpy as np
import pytest

from isic_tf.image_quality import tones


def test_brightness_is_that_of_the_brightest_twentieth():
    pixels = np.zeros((100, 3), np.uint8)
    pixels[:10] = 210, 160, 140
    assert tones.brightness(pixels) == 210
    assert tones.brightness(pixels // 2) == 105


def test_clipped_are_pixels_with_two_channels_at_the_end_of_the_range():
    pixels = np.array([[255, 200, 200], [255, 252, 200], [255, 255, 255], [251, 251, 251]], np.uint8)
    assert tones.clipped_share(pixels) == 0.5


def test_color_is_measured_from_the_mean_of_skin():
    # exp(0.24) = 1.271 and exp(-0.056) = 0.946; a channel is counted one higher, so that black has a logarithm.
    skin = np.full((10, 3), (199, 156.4, 147.9), float).round().astype(np.uint8)
    assert tones.color_distance(skin) < 0.05
    # Half of the blue: log(0.5) / 0.134 = 5.17.
    skin[:, 2] = 73
    assert tones.color_distance(skin) == pytest.approx(5.17, abs=0.1)
    assert tones.color_distance(skin // 2) == pytest.approx(5.17, abs=0.2)


def test_a_dark_half_does_not_change_the_color():
    pixels = np.full((100, 3), (199, 156, 148), np.uint8)
    pixels[:40] = 20, 30, 90
    assert tones.color_distance(pixels) < 0.1
