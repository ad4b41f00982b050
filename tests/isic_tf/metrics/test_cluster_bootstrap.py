import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from isic_tf.metrics import cluster_bootstrap, operating_points, roc


def test_places_lie_at_and_between_the_scores_of_malignant_images():
    targets, scores = np.array([0, 0, 1, 0, 1, 1, 0]), np.array([0.1, 0.2, 0.2, 0.3, 0.4, 0.4, 0.9])
    place, cuts = cluster_bootstrap.places(targets, scores)
    # Below 0.2, at it twice, between, at 0.4 twice, above.
    assert place.tolist() == [0, 1, 1, 2, 3, 3, 4]
    assert cuts.tolist() == [0.2, 0.4]


def test_the_first_row_that_reaches_a_number_is_found_in_each_column():
    rising = np.array([[0, 1, 5], [0, 1, 5], [2, 1, 5], [3, 4, 5]])
    for wanted in range(7):
        expected = [min([row for row in range(4) if rising[row, column] >= wanted] or [3]) for column in range(3)]
        assert cluster_bootstrap.first_to_reach(rising, np.full(3, wanted)).tolist() == expected
    assert cluster_bootstrap.first_to_reach(rising, np.array([3, 0, np.nan])).tolist() == [3, 0, 3]


def test_the_number_of_places_can_be_limited():
    targets, scores = np.array([1, 1, 1, 1, 1, 0]), np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.25])
    place, cuts = cluster_bootstrap.places(targets, scores, most=3)
    assert cuts.tolist() == [0.1, 0.3, 0.5]
    # 0.2 and 0.25 lie between the same two.
    assert place.tolist() == [1, 2, 3, 4, 5, 2]


def test_metrics_of_many_malignant_images_hardly_depend_on_the_number_of_places(monkeypatch):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 20_000)
    scores, patient = targets + rng.normal(size=20_000), np.arange(20_000) // 10
    figures = {name: getattr(cluster_bootstrap, name) for name in ("roc_auc", "partial_auc", "average_precision")}
    figures |= operating_points.figures()
    exact = cluster_bootstrap.resample(targets, scores, patient, figures, resamples=20)
    monkeypatch.setattr(cluster_bootstrap, "MOST_SCORES", 1000)
    thinned = cluster_bootstrap.resample(targets, scores, patient, figures, resamples=20)
    # A place holds a thousandth of the malignant images, beside which many more benign ones may lie.
    allowed = {"roc_auc": 5e-4, "partial_auc": 5e-4, "average_precision": 1e-3}
    for name in exact:
        assert 0 < np.abs(thinned[name] - exact[name]).max() < allowed.get(name, 1e-2)


@pytest.fixture(scope="module")
def drawn():
    """300 images of 30 patients with ties, and the weights of 20 resamples."""
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 2, 300), rng.integers(0, 60, 300) / 60
    return targets, scores, np.arange(300) // 10


def by_copying(targets, scores, patient, figure, resamples, seed):
    """Draws the same patients and copies their images."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(resamples):
        rows = np.concatenate([np.flatnonzero(patient == one) for one in rng.integers(30, size=30)])
        found.append(figure(targets[rows], scores[rows]))
    return found


@pytest.mark.parametrize(
    ("figure", "textbook"),
    [
        (cluster_bootstrap.roc_auc, roc_auc_score),
        (cluster_bootstrap.partial_auc, roc.partial_roc_auc),
        (cluster_bootstrap.average_precision, average_precision_score),
    ],
)
def test_a_figure_of_resamples_equals_scikit_learns_of_copied_images(drawn, figure, textbook):
    found = cluster_bootstrap.resample(*drawn, {"it": figure}, resamples=20, seed=3)["it"]
    assert found == pytest.approx(by_copying(*drawn, textbook, 20, 3), abs=1e-12)


def test_several_predictions_are_evaluated_on_the_same_resamples(drawn):
    targets, scores, patient = drawn
    figures = {"it": cluster_bootstrap.roc_auc}
    both = cluster_bootstrap.resample(targets, np.stack([scores, -scores]), patient, figures, resamples=20)["it"]
    assert both.shape == (2, 20)
    assert both[0] == pytest.approx(1 - both[1], abs=1e-12)
    assert (
        both[0].tolist() == cluster_bootstrap.resample(targets, scores, patient, figures, resamples=20)["it"].tolist()
    )


def test_resamples_do_not_depend_on_the_order_within_patients_nor_on_the_size_of_blocks(drawn):
    targets, scores, patient = drawn
    figures = {"it": cluster_bootstrap.roc_auc}
    few = cluster_bootstrap.resample(targets, scores, patient, figures, resamples=5)["it"]
    many = cluster_bootstrap.resample(targets, scores, patient, figures, resamples=40)["it"]
    order = np.lexsort((scores, patient))
    assert many[:5].tolist() == few.tolist()
    assert cluster_bootstrap.resample(targets[order], scores[order], patient, figures, 5)["it"] == pytest.approx(
        few, abs=1e-12
    )


def test_a_resample_of_one_class_is_nan(monkeypatch):
    monkeypatch.setattr(cluster_bootstrap, "MIN_PATIENTS", 1)
    targets, scores = np.array([0, 1]), np.array([0.1, 0.9])
    found = cluster_bootstrap.resample(
        targets,
        scores,
        ["p", "q"],
        {"auc": cluster_bootstrap.roc_auc, "ap": cluster_bootstrap.average_precision},
        resamples=50,
    )
    # Both patients in half of the resamples.
    for values in found.values():
        assert 0.2 < np.isnan(values).mean() < 0.8
        assert set(values[~np.isnan(values)]) == {1.0}


def test_the_interval_contains_the_middle_of_the_resamples():
    assert cluster_bootstrap.interval(np.arange(101.0), level=0.9) == pytest.approx((5, 95))
    # Up to 5 % without a class are left out.
    assert cluster_bootstrap.interval(np.array([np.nan] + [1.0] * 19)) == (1.0, 1.0)
    assert cluster_bootstrap.interval(np.array([np.nan] * 2 + [1.0] * 18)) == (None, None)


def test_a_million_images_get_fewer_resamples():
    assert cluster_bootstrap.affordable(np.zeros(200_000), 1000) == 1000
    assert cluster_bootstrap.affordable(np.zeros(400_000), 1000) == 500
    assert cluster_bootstrap.affordable(np.zeros(5_000_000), 1000) == 200
    assert cluster_bootstrap.affordable(np.zeros(10), 50) == 50


def make_patients(malignant, benign, images=3):
    """Patients with images of one class each."""
    targets = np.repeat([1] * malignant + [0] * benign, images)
    return targets, np.arange(len(targets)) // images


@pytest.mark.parametrize(
    ("malignant", "benign", "text"),
    [
        (9, 50, "no interval: 9 patients with a malignant lesion, at least 10 needed"),
        (50, 9, "no interval: 9 patients with a benign lesion, at least 10 needed"),
        (10, 10, ""),
    ],
)
def test_an_interval_needs_ten_patients_of_either_class_however_many_images_they_have(malignant, benign, text):
    targets, patients = make_patients(malignant, benign)
    assert cluster_bootstrap.describe_too_few(targets, patients) == text
    figures = {"auc": cluster_bootstrap.roc_auc}
    scores = np.random.default_rng(0).random((2, len(targets)))
    found = cluster_bootstrap.resample(targets, scores, patients, figures, resamples=5)["auc"]
    assert found.shape == (2, 5)
    assert np.isnan(found).all() == bool(text)
    assert (cluster_bootstrap.interval(found[0]) == (None, None)) == bool(text)


def test_a_patient_with_both_kinds_of_lesions_counts_for_either_class():
    patients = np.arange(20) // 2
    assert cluster_bootstrap.describe_too_few([0, 1] * 10, patients) == ""
    assert cluster_bootstrap.describe_too_few([0, 1] * 10, [f"p{number}" for number in patients]) == ""
