import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from isic_tf.metrics import roc


@pytest.mark.parametrize(
    ("targets", "scores", "auc"),
    [
        ([0, 1], [0.1, 0.9], 1.0),
        ([0, 1], [0.9, 0.1], 0.0),
        ([0, 1], [0.5, 0.5], 0.5),
        # Pairs: 0.3 beats 0.1, 0.2 and not 0.8; 0.8 beats 0.1, 0.2 and ties with 0.8: 4.5 of 6.
        ([0, 0, 0, 1, 1], [0.1, 0.2, 0.8, 0.3, 0.8], 4.5 / 6),
    ],
)
def test_roc_auc_of_cases_worked_by_hand(targets, scores, auc):
    assert roc.roc_auc(targets, scores) == pytest.approx(auc, abs=1e-15)


def test_roc_auc_equals_scikit_learns_with_ties():
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, 500), rng.integers(0, 40, 500) / 40
    assert roc.roc_auc(targets, scores) == pytest.approx(roc_auc_score(targets, scores), abs=1e-12)


def test_roc_auc_is_exact_where_scores_differ_in_the_last_place():
    scores = np.nextafter(0.5, 1) * np.ones(4)
    scores[:2] = 0.5
    assert roc.roc_auc([0, 0, 1, 1], scores) == 1.0


def test_roc_auc_of_one_class_is_nan():
    assert np.isnan(roc.roc_auc([1, 1], [0.1, 0.2]))


def test_the_interval_resamples_patients():
    rng = np.random.default_rng(0)
    patient = np.arange(600) // 10
    targets = rng.integers(0, 2, 600)
    # A patient's images share most of their error.
    scores = targets + rng.normal(0, 1.5, 60)[patient] + rng.normal(0, 0.3, 600)
    by_image = roc.roc_auc_interval(targets, scores, np.arange(600))
    by_patient = roc.roc_auc_interval(targets, scores, patient)
    assert by_patient == roc.roc_auc_interval(targets, scores, patient)
    for low, high in (by_image, by_patient):
        assert low < roc.roc_auc(targets, scores) < high
    # Every image twice under one patient is no more information than once.
    doubled = roc.roc_auc_interval(targets.repeat(2), scores.repeat(2), np.arange(600).repeat(2))
    assert doubled == pytest.approx(by_image, abs=0.01)


def test_the_interval_widens_where_a_patient_has_one_class():
    rng = np.random.default_rng(0)
    patient = np.arange(600) // 10
    targets = rng.integers(0, 2, 60)[patient]
    scores = targets + rng.normal(0, 1.5, 60)[patient]
    narrow, wide = (np.ptp(roc.roc_auc_interval(targets, scores, groups)) for groups in (np.arange(600), patient))
    # Ten copies of 60 independent values: wider by about the square root of ten.
    assert 2.2 < wide / narrow < 4.5


def test_the_interval_agrees_with_delongs_for_independent_images():
    rng = np.random.default_rng(1)
    targets = np.repeat([0, 1], [400, 200])
    scores = targets + rng.normal(0, 1.2, 600)
    # DeLong's variance, from the placement values of either class.
    placed = np.array([[(p > n) + 0.5 * (p == n) for n in scores[:400]] for p in scores[400:]])
    sigma = np.sqrt(placed.mean(1).var(ddof=1) / 200 + placed.mean(0).var(ddof=1) / 400)
    low, high = roc.roc_auc_interval(targets, scores, np.arange(600), resamples=2000)
    assert high - low == pytest.approx(2 * 1.96 * sigma, rel=0.1)


@pytest.mark.parametrize(("malignant", "enough"), [(1, False), (9, False), (10, True), (11, False)])
def test_too_few_patients_of_a_class_give_no_interval(malignant, enough):
    targets = np.arange(20) < malignant
    assert (roc.roc_auc_interval(targets, np.arange(20), np.arange(20)) != (None, None)) == enough


@pytest.mark.realdata
def test_the_auc_of_a_real_competitors_predictions_is_the_published_one(real_data):
    table = pd.read_csv(real_data / "predictions" / "oof" / "model_b.csv")
    assert roc.roc_auc(table["target"], table["prediction"]) == pytest.approx(0.8967, abs=5e-5)


def test_the_partial_auc_worked_by_hand():
    # Five malignant, two benign; one benign image is above the least malignant one. The curve's sensitivity is 0.8 up
    # to a false positive rate of a half and 1 beyond it: of the area above 0.8, half is under it.
    targets, scores = [1, 1, 1, 1, 1, 0, 0], [0.9, 0.8, 0.7, 0.6, 0.2, 0.4, 0.1]
    assert roc.partial_roc_auc(targets, scores) == pytest.approx(0.1)
    assert roc.partial_roc_auc(targets, [-score for score in scores]) == pytest.approx(0.0)
    assert roc.partial_roc_auc(targets, [*targets[:5], 0, 0]) == pytest.approx(0.2)
    # The whole area where all sensitivities count.
    assert roc.partial_roc_auc(targets, scores, min_sensitivity=0.0) == pytest.approx(0.9)
    assert np.isnan(roc.partial_roc_auc([1, 1], [0.1, 0.2]))


def test_the_partial_auc_of_random_scores_is_one_fiftieth():
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, 200_000), rng.random(200_000)
    assert roc.partial_roc_auc(targets, scores) == pytest.approx(0.02, abs=5e-4)
