import cv2
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.serving import graph_resize
from tfrecord_tools.imaging import preprocessing


def test_values_worked_by_hand():
    # Two to one: the mean; one to two: between the centers at 1/4 and 3/4, and the border is repeated.
    row = tf.constant([[[0], [100], [200], [60]]], tf.uint8)
    assert graph_resize.resize(row, 1, 2).numpy().ravel().tolist() == [50, 130]
    steep = graph_resize.resize(tf.constant([[[0], [200]]], tf.uint8), 1, 4).numpy().ravel()
    # Bicubic with a = -0.75: at -1/4 of 200 the weight is -9/64 / 2, so the value is clipped.
    assert steep[0] == 0
    assert steep[1] + steep[2] == 200


@pytest.mark.parametrize(
    ("shape", "size"),
    [((300, 400), 224), ((224, 300), 224), ((450, 600), 64), ((600, 700), 224), ((100, 140), 224), ((224, 224), 224)],
    ids=["3/4", "one side", "1/8", "1/3", "larger", "equal"],
)
def test_the_pixels_are_those_of_records(shape, size):
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    image = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 1.2), None, 0, 255, cv2.NORM_MINMAX)
    expected, _ = preprocessing.resize_to_square(lambda **_: (image, shape[::-1]), size)
    difference = np.abs(graph_resize.resize(tf.constant(image), size, size).numpy().astype(int) - expected)
    assert difference.max() <= 1
    assert difference.mean() < 1e-3
