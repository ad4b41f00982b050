import numpy as np
import pytest
from scipy import stats

from isic_tf.metrics import clustered_share


def test_images_of_their_own_patients_have_wilsons_interval():
    flags = np.arange(400) < 20
    found = clustered_share.estimate(flags, np.arange(400))
    assert (found["images"], found["flagged"], found["share"]) == (400, 20, 0.05)
    exact = stats.binomtest(20, 400).proportion_ci(method="wilson")
    assert (found["share_low"], found["share_high"]) == pytest.approx((exact.low, exact.high), abs=5e-4)


def test_copies_of_an_image_tell_no_more_than_the_image():
    flags, groups = np.arange(100) < 10, np.arange(100)
    alone = clustered_share.estimate(flags, groups)
    copied = clustered_share.estimate(np.repeat(flags, 5), np.repeat(groups, 5))
    assert (copied["images"], copied["flagged"]) == (500, 50)
    for end in ("share", "share_low", "share_high"):
        assert copied[end] == pytest.approx(alone[end], abs=1e-12)


def test_the_interval_is_that_of_the_formula():
    # Patients with 2 of 2 and 0 of 2 flagged: residuals 1 and -1, variance 2/1 * 2 / 16 = 1/4, as of one image.
    found = clustered_share.estimate(np.array([True, True, False, False]), list("ppqq"))
    square = 12.7062**2
    half = np.sqrt(square * (0.25 + square / 4)) / (1 + square)
    assert (found["share_low"], found["share_high"]) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)


def test_a_share_of_nothing_or_all_has_an_interval_by_the_number_of_patients():
    nothing = clustered_share.estimate(np.zeros(90, bool), np.arange(90) // 3)
    # 30 patients: square of Student's quantile, 2.0452, over itself and 30.
    assert (nothing["share_low"], nothing["share_high"]) == (0, pytest.approx(2.0452**2 / (30 + 2.0452**2), abs=1e-5))
    everything = clustered_share.estimate(np.ones(90, bool), np.arange(90) // 3)
    assert (everything["share_low"], everything["share_high"]) == (pytest.approx(1 - nothing["share_high"]), 1)


def test_one_patient_has_no_interval():
    found = clustered_share.estimate(np.array([True, False]), ["p", "p"])
    assert (found["share"], found["share_low"], found["share_high"]) == (0.5, None, None)


def test_the_interval_holds_the_true_share_of_resampled_patients():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 5)
    hits = 0
    for _ in range(400):
        # Patients differ: 20 % on average.
        flags = rng.random(300) < np.repeat(rng.beta(1, 4, 60), 5)
        found = clustered_share.estimate(flags, groups)
        hits += found["share_low"] <= 0.2 <= found["share_high"]
    assert 0.92 <= hits / 400 <= 0.98
