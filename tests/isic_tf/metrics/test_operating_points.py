import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve

from isic_tf.metrics import cluster_bootstrap, operating_points

# Ten benign and four malignant images; benign ones at 0.45 and 0.7 are above malignant ones.
TARGETS = np.array([0] * 10 + [1] * 4)
SCORES = np.array([0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.45, 0.7, 0.4, 0.5, 0.6, 0.8])


@pytest.mark.parametrize(
    ("held", "level", "threshold", "sensitivity", "specificity"),
    [
        # One benign image of ten may be called malignant, that at 0.7: down to 0.5.
        ("specificity", 0.9, 0.5, 0.75, 0.9),
        ("specificity", 0.8, 0.4, 1.0, 0.8),
        ("specificity", 0.95, 0.8, 0.25, 1.0),
        # Four of four malignant images are more than 90 %, three are not.
        ("sensitivity", 0.9, 0.4, 1.0, 0.8),
        ("sensitivity", 0.75, 0.5, 0.75, 0.9),
        ("sensitivity", 0.25, 0.8, 0.25, 1.0),
    ],
)
def test_thresholds_worked_by_hand(held, level, threshold, sensitivity, specificity):
    found = operating_points.find(cluster_bootstrap.count(TARGETS, SCORES), held, level)
    assert found == threshold
    counted = operating_points.confusion(TARGETS, SCORES, found)
    assert counted["sensitivity"] == sensitivity
    assert counted["specificity"] == pytest.approx(specificity)


def test_no_threshold_has_the_specificity_where_benign_images_are_on_top():
    counted = cluster_bootstrap.count(np.array([1, 0]), np.array([0.4, 0.5]))
    assert operating_points.find(counted, "specificity", 0.9) is None
    assert operating_points.confusion([1, 0], [0.4, 0.5], None)["true_negatives"] == 1


def test_operating_points_are_those_of_scikit_learns_curve():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 500)
    scores = np.round(targets * 0.3 + rng.random(500), 2)
    false, true, _ = roc_curve(targets, scores, drop_intermediate=False)
    counts, _ = cluster_bootstrap.count(targets, scores)
    for level in operating_points.LEVELS:
        best = true[1 - false >= level - 1e-12].max()
        assert operating_points.sensitivity_at(counts, level) == pytest.approx([best], abs=1e-12)
        best = (1 - false)[true >= level - 1e-12].max()
        assert operating_points.specificity_at(counts, level) == pytest.approx([best], abs=1e-12)


@pytest.mark.parametrize(
    ("threshold", "text"),
    [
        (0.3, "0.3"),
        (0.0, "0"),
        (1.0, "1"),
        (0.123456789, "0.123456"),
        # Of six digits the nearest is above it.
        (0.999999999, "0.999999"),
        (1.2345678e-5, "1.23456e-05"),
        (float(np.float32(0.1)), "0.1"),
        (float(np.float32(0.7)), "0.699999"),
    ],
)
def test_a_threshold_as_printed_keeps_the_image_at_it(threshold, text):
    assert operating_points.spell(threshold) == text
    assert operating_points.confusion([1], [threshold], float(text))["true_positives"] == 1


def test_confusion_equals_scikit_learns_and_rates_have_the_right_counts():
    found = operating_points.confusion(TARGETS, SCORES, 0.5)
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert [found[name] for name in names] == confusion_matrix(TARGETS, SCORES >= 0.5).ravel().tolist() == [9, 1, 1, 3]
    assert (found["positive_predictive_value"], found["negative_predictive_value"]) == (3 / 4, 9 / 10)
    # Nothing is called malignant above all predictions: no share of it.
    assert operating_points.confusion(TARGETS, SCORES, 0.9)["positive_predictive_value"] is None


def test_operating_points_have_an_interval_of_the_rate_that_is_not_fixed():
    targets, scores = np.tile(TARGETS, 20), np.tile(SCORES, 20)
    resampled = cluster_bootstrap.resample(targets, scores, np.arange(280), operating_points.figures(), resamples=200)
    points = operating_points.operating_points(targets, scores, resampled)
    assert [(point["held"], point["level"]) for point in points] == list(operating_points.figures())
    assert points[0]["threshold"] == 0.5
    assert points[0]["low"] <= points[0]["sensitivity"] <= points[0]["high"]
    assert points[0]["low"] < points[0]["high"]
    assert points[3]["low"] <= points[3]["specificity"] <= points[3]["high"]


def test_a_resample_of_one_class_is_nan():
    counts = cluster_bootstrap.sum_up(np.array([[0.0], [2.0], [0.0]]), np.zeros((3, 1)))
    assert np.isnan(operating_points.sensitivity_at(counts, 0.9)).all()
    assert np.isnan(operating_points.specificity_at(counts, 0.9)).all()
