import numpy as np
import pytest

from isic_tf.metrics import risk_coverage

# In order of doubt, the first, third and last decision is wrong.
WRONG = np.array([True, False, True, False, True])[[4, 2, 0, 1, 3]]
DOUBTS = np.array([1.0, 2.0, 3.0, 4.0, 5.0])[[4, 2, 0, 1, 3]]


def test_the_curve_and_its_area_are_those_by_hand():
    coverage, risk = risk_coverage.curve(WRONG, DOUBTS)
    assert coverage == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert risk == pytest.approx([1, 1 / 2, 2 / 3, 1 / 2, 3 / 5])
    assert risk_coverage.area(coverage, risk) == pytest.approx((1 + 1 / 2 + 2 / 3 + 1 / 2 + 3 / 5) / 5)


def test_images_of_equal_doubt_are_kept_or_left_out_together():
    coverage, risk = risk_coverage.curve(np.array([True, False, False, False]), np.array([2.0, 2.0, 1.0, 2.0]))
    assert (coverage.tolist(), risk.tolist()) == ([0.25, 1.0], [0.0, 0.25])
    assert risk_coverage.area(coverage, risk) == pytest.approx(0.75 * 0.25)


def test_equal_doubts_are_as_good_as_a_random_order():
    found = risk_coverage.compare_with_random(WRONG, np.ones(5), np.arange(5), resamples=50)
    assert found == {"area": 0.6, "area_random": 0.6, "difference": 0, "low": 0, "high": 0}


def test_the_area_in_random_order_is_the_error_rate():
    rng = np.random.default_rng(0)
    areas = [risk_coverage.area(*risk_coverage.curve(WRONG, rng.permutation(5))) for _ in range(4000)]
    assert np.mean(areas) == pytest.approx(0.6, abs=0.01)


def test_the_interval_tells_a_good_order_from_a_random_one():
    rng = np.random.default_rng(0)
    is_wrong = rng.random(600) < 0.3
    groups = np.arange(600) // 3
    good = risk_coverage.compare_with_random(is_wrong, is_wrong + rng.normal(size=600), groups, resamples=200)
    assert good["difference"] == good["area"] - good["area_random"]
    assert good["low"] < good["difference"] < good["high"] < 0
    useless = risk_coverage.compare_with_random(is_wrong, rng.normal(size=600), groups, resamples=200)
    assert useless["low"] < 0 < useless["high"]
    reversed_order = risk_coverage.compare_with_random(is_wrong, -1.0 * is_wrong, groups, resamples=200)
    assert reversed_order["low"] > 0


def test_a_resample_weighs_the_images_of_a_patient():
    # Two patients: of the four equally likely resamples, two have both, one has each alone.
    found = risk_coverage.compare_with_random(
        np.array([True, False]), np.array([2.0, 1.0]), ["p", "q"], resamples=400, seed=1
    )
    # Both: area 1/4 of an error rate of 1/2; alone, any order is as good as another.
    assert (found["low"], found["high"]) == (-0.25, 0)


def test_without_resamples_there_is_no_interval():
    found = risk_coverage.compare_with_random(WRONG, DOUBTS, np.arange(5), resamples=0)
    assert (found["low"], found["high"]) == (None, None)
