import numpy as np
import pytest

from isic_tf.metrics import delong, roc

# Albumin, total protein and K-G score of 43 patients with ovarian cancer of DeLong et al. (Biometrics 1988), and the
# outcome, 0 for the event: the data of the example "Comparing Receiver Operating Characteristic Curves" in SAS/STAT's
# documentation of PROC LOGISTIC. Low albumin and protein and a high score (10 less that of the example) speak for it.
OVARIAN = """
3.0 5.8 10 0  3.2 6.3  5 1  3.9 6.8  3 1  2.8 4.8  6 0  3.2 5.8  3 1  0.9 4.0  5 0  2.5 5.7  8 0  1.6 5.6  5 1
3.8 5.7  5 1  3.7 6.7  6 1  3.2 5.4  4 1  3.8 6.6  6 1  4.1 6.6  5 1  3.6 5.7  5 1  4.3 7.0  4 1  3.6 6.7  4 0
2.3 4.4  6 1  4.2 7.6  4 0  4.0 6.6  6 0  3.5 5.8  6 1  3.8 6.8  7 1  3.0 4.7  8 0  4.5 7.4  5 1  3.7 7.4  5 1
3.1 6.6  6 1  4.1 8.2  6 1  4.3 7.0  5 1  4.3 6.5  4 1  3.2 5.1  5 1  2.6 4.7  6 1  3.3 6.8  6 0  1.7 4.0  7 0
3.7 6.1  5 1  3.3 6.3  7 1  4.2 7.7  6 1  3.5 6.2  5 1  2.9 5.7  9 0  2.1 4.8  7 1  2.8 6.2  8 0  4.0 7.0  7 1
3.3 5.7  6 1  3.7 6.9  5 1  3.6 6.6  5 1
"""


@pytest.fixture(scope="module")
def ovarian():
    table = np.array(OVARIAN.split(), float).reshape(-1, 4)
    return 1 - table[:, 3].astype(int), np.array([-table[:, 0], -table[:, 1], table[:, 2]])


def by_definition(targets, scores):
    """DeLong's covariance from all pairs of a malignant and a benign image, one by one."""
    placed = []
    for row in scores:
        malignant, benign = row[targets == 1], row[targets == 0]
        placed.append(np.array([[(p > n) + 0.5 * (p == n) for n in benign] for p in malignant]))
    positive, negative = (np.stack([part.mean(axis=axis) for part in placed]) for axis in (1, 0))
    return np.cov(positive) / positive.shape[1] + np.cov(negative) / negative.shape[1]


def test_the_published_example_has_the_published_areas_and_errors(ovarian):
    aucs, matrix = delong.covariance(*ovarian)
    assert aucs[1:].round(4).tolist() == [0.6478, 0.7258]
    assert np.sqrt(np.diag(matrix))[1:].round(4).tolist() == [0.1000, 0.1028]
    targets, scores = ovarian
    assert np.round(delong.interval(targets, scores[1]), 4).tolist() == [0.4518, 0.8439]
    assert np.round(delong.interval(targets, scores[2]), 4).tolist() == [0.5243, 0.9273]


def test_the_covariance_is_that_of_the_definition_ties_included(ovarian):
    assert delong.covariance(*ovarian)[1] == pytest.approx(by_definition(*ovarian), abs=1e-15)


def test_components_worked_by_hand():
    # 0.3 outranks 0.1 and 0.2 of three; 0.8 ties with the third. From below: 0.1 and 0.2 are outranked by both, 0.8 by
    # half of one of two.
    positive, negative = delong.components([0, 0, 0, 1, 1], [0.1, 0.2, 0.8, 0.3, 0.8])
    assert positive == pytest.approx([2 / 3, 2.5 / 3])
    assert negative == pytest.approx([1, 1, 0.25])


def test_the_test_of_two_areas_follows_from_the_covariance(ovarian):
    targets, (albumin, protein, score) = ovarian
    found = delong.compare(targets, protein, score)
    matrix = by_definition(targets, np.stack([protein, score]))
    # (0.6478 - 0.7258) / 0.1046; twice the normal tail beyond 0.7452 is 0.456.
    sigma = np.sqrt(matrix[0, 0] + matrix[1, 1] - 2 * matrix[0, 1])
    assert found["difference"] == pytest.approx(-0.07796, abs=1e-5)
    assert found["p"] == pytest.approx(0.456, abs=5e-4)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.959964 * sigma)
    assert delong.compare(targets, score, protein)["p"] == pytest.approx(found["p"])
    assert delong.compare(targets, albumin, score)["p"] == pytest.approx(0.910, abs=5e-4)


def test_what_cannot_be_computed_is_none():
    assert delong.interval([0, 0, 1], [0.1, 0.2, 0.15]) == (None, None)
    # Apart: each of the components is 1.
    assert delong.interval([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]) == (None, None)
    same = delong.compare([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.4, 0.5])
    assert same == {"difference": 0.0, "low": None, "high": None, "p": None}


def test_the_interval_stays_within_0_and_1():
    low, high = delong.interval([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.35, 0.3, 0.4, 0.5])
    assert 0 < low < 8 / 9 < high == 1.0


def test_intervals_and_p_values_have_their_nominal_error_rates():
    # Independent images, normal scores one standard deviation apart: the area is the normal distribution at 1/sqrt(2).
    rng, true, held, small = np.random.default_rng(0), 0.760250, [], []
    targets = np.repeat([0, 1], [150, 50])
    for _ in range(400):
        shared = rng.normal(size=200)
        one, other = (targets + 0.8 * shared + 0.6 * rng.normal(size=200) for _ in range(2))
        low, high = delong.interval(targets, one)
        held.append(low <= true <= high)
        small.append(delong.compare(targets, one, other)["p"] < 0.05)
    # Standard error of either share: 1.1 %.
    assert 0.915 < np.mean(held) < 0.985
    assert 0.015 < np.mean(small) < 0.085


def test_the_mean_of_either_kind_of_components_is_the_area():
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, 100_000), rng.random(100_000)
    positive, negative = delong.components(targets, scores)
    auc = roc.roc_auc(targets, scores)
    assert positive.mean() == pytest.approx(auc, abs=1e-12)
    assert negative.mean() == pytest.approx(auc, abs=1e-12)
