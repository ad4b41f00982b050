import numpy as np
import pytest

from isic_tf.metrics import group_difference, roc


def make(noise):
    """Two groups of 200 images and 40 patients each; the second is ranked with this noise."""
    rng = np.random.default_rng(0)
    targets = np.arange(400) % 2
    first = np.arange(400) < 200
    scores = targets + rng.normal(size=400) * np.where(first, 0.5, noise)
    return targets, scores, np.arange(400) // 5, first


def test_the_difference_of_groups_that_differ_has_an_interval_above_0():
    targets, scores, patient, first = make(noise=2)
    found = group_difference.compare(targets, scores, patient, first, ~first, resamples=200)
    expected = roc.roc_auc(targets[first], scores[first]) - roc.roc_auc(targets[~first], scores[~first])
    assert found["difference"] == expected
    assert 0 < found["low"] < expected < found["high"]
    assert found["interval_note"] == ""


def test_groups_of_the_same_images_differ_in_no_resample():
    targets, scores, patient, first = make(noise=1)
    found = group_difference.compare(targets, scores, patient, first, first, resamples=50)
    assert (found["difference"], found["low"], found["high"]) == pytest.approx((0, 0, 0))


def test_images_of_neither_group_and_the_size_of_blocks_change_nothing(monkeypatch):
    targets, scores, patient, first = make(noise=1)
    second = (np.arange(400) >= 200) & (np.arange(400) < 350)
    found = group_difference.compare(targets, scores, patient, first, second, resamples=50)
    monkeypatch.setattr(group_difference, "_BLOCK_COUNTS", 1000)
    part = slice(0, 350)
    assert found == group_difference.compare(
        targets[part], scores[part], patient[part], first[part], second[part], resamples=50
    )


def test_too_few_patients_have_no_interval():
    targets, scores, patient, first = make(noise=1)
    found = group_difference.compare(targets, scores, patient % 9, first, ~first)
    assert found["low"] is None
    assert found["interval_note"] == "no interval: 9 patients with a malignant lesion, at least 10 needed"
