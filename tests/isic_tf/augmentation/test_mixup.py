import numpy as np
import pytest
import tensorflow as tf
from augmentation_samples import SEEDS

from isic_tf.augmentation import augmenter, mixup, policies


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
