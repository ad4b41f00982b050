import numpy as np
import pytest

from isic_tf.metrics import class_bootstrap, cluster_bootstrap

IMAGES = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]])


def test_images_of_each_kind_are_counted():
    assert class_bootstrap.count_images(IMAGES).tolist() == [[3], [2]]


def test_patients_are_resampled_with_all_of_their_images():
    found = class_bootstrap.resample(IMAGES, np.array([7, 7, 7, 9, 9]), lambda counts: {"first": counts[0]}, 200)
    # One patient has two images of the first kind, the other one: twice either, or each once.
    assert set(found["first"]) == {2, 3, 4}


def test_the_resamples_are_those_of_rankings():
    rng = np.random.default_rng(0)
    targets, patient = np.arange(120) % 2, rng.permutation(np.arange(120) % 40)
    images = np.stack([targets == 1, targets == 0])
    found = class_bootstrap.resample(images, patient, lambda counts: {"malignant": counts[0]}, 50, seed=3)
    ranked = cluster_bootstrap.resample(
        targets, rng.random(120), patient, {"malignant": lambda counts: counts.malignant}, 50, seed=3
    )
    assert found["malignant"].tolist() == ranked["malignant"].tolist()


def test_blocks_do_not_change_the_resamples(monkeypatch):
    def compute(counts):
        return {"both": counts, "share": counts[0] / counts.sum(axis=0)}

    whole = class_bootstrap.resample(IMAGES, np.arange(5), compute, 30)
    monkeypatch.setattr(class_bootstrap, "_BLOCK_COUNTS", 35)
    parts = class_bootstrap.resample(IMAGES, np.arange(5), compute, 30)
    assert whole["both"].shape == (2, 30)
    for name in whole:
        assert parts[name] == pytest.approx(whole[name])
