import numpy as np
import pytest
from scipy import special
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf.metrics import calibration_metrics


@pytest.fixture(scope="module")
def drawn():
    """20,000 images whose predictions are probabilities."""
    rng = np.random.default_rng(0)
    probabilities = special.expit(rng.normal(-1, 1.5, 20_000))
    return (rng.random(20_000) < probabilities).astype(int), probabilities


def test_figures_worked_by_hand():
    targets, scores = np.array([0, 1, 0, 1]), np.array([0.2, 0.4, 0.6, 0.8])
    found = calibration_metrics.assess(targets, scores, np.arange(4))
    # (0.04 + 0.36 + 0.36 + 0.04) / 4.
    assert found["brier"] == pytest.approx(0.2)
    # -ln(0.8 * 0.4 * 0.4 * 0.8) / 4.
    assert found["log_loss"] == pytest.approx(-np.log(0.8 * 0.4 * 0.4 * 0.8) / 4)
    # Each image in a bin of its own: (0.2 + 0.6 + 0.6 + 0.2) / 4.
    assert found["ece"] == pytest.approx(0.4)
    # As many are malignant as predicted.
    assert found["in_the_large"] == pytest.approx(0, abs=1e-9)
    assert (found["mean_prediction"], found["prevalence"]) == (0.5, 0.5)


def test_figures_equal_scikit_learns(drawn):
    targets, scores = drawn
    found = calibration_metrics.assess(targets, scores, np.arange(len(targets)))
    assert found["brier"] == pytest.approx(brier_score_loss(targets, scores), abs=1e-15)
    assert found["log_loss"] == pytest.approx(log_loss(targets, scores), abs=1e-12)
    observed, predicted = calibration_curve(targets, scores, n_bins=10, strategy="quantile")
    assert [one["observed"] for one in found["bins"]] == pytest.approx(observed, abs=5e-4)
    assert [one["predicted"] for one in found["bins"]] == pytest.approx(predicted, abs=5e-4)
    assert sum(one["images"] for one in found["bins"]) == len(targets)
    logits = special.logit(scores)[:, None]
    fitted = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(logits, targets)
    assert found["slope"] == pytest.approx(fitted.coef_[0, 0], abs=1e-5)
    assert found["intercept"] == pytest.approx(fitted.intercept_[0], abs=1e-5)


def test_calibrated_probabilities_have_slope_1_and_intercept_0_within_the_interval(drawn):
    targets, scores = drawn
    found = calibration_metrics.assess(targets, scores, np.arange(len(targets)))
    assert found["slope_low"] < 1 < found["slope_high"]
    assert found["intercept_low"] < 0 < found["intercept_high"]
    assert found["ece"] < 0.01
    assert abs(found["in_the_large"]) < 0.05


def test_overconfident_and_too_high_predictions_are_detected(drawn):
    targets, scores = drawn
    logits = special.logit(scores)
    sure = calibration_metrics.assess(targets, special.expit(2 * logits), np.arange(len(targets)))
    high = calibration_metrics.assess(targets, special.expit(logits + 1), np.arange(len(targets)))
    assert sure["slope"] == pytest.approx(0.5, abs=0.03)
    assert high["in_the_large"] == pytest.approx(-1, abs=0.05)
    assert high["slope"] == pytest.approx(1, abs=0.05)


def test_the_interval_of_the_slope_is_that_of_fisher_for_single_images_and_wider_for_copies(drawn):
    targets, scores = (column[:2000] for column in drawn)
    found = calibration_metrics.assess(targets, scores, np.arange(2000))
    design = np.stack([special.logit(scores), np.ones(2000)], axis=1)
    fitted = special.expit(design @ [found["slope"], found["intercept"]])
    error = np.sqrt(np.linalg.inv((design * (fitted * (1 - fitted))[:, None]).T @ design)[0, 0])
    width = found["slope_high"] - found["slope_low"]
    assert width == pytest.approx(2 * 1.96 * error, rel=0.1)
    # Each image four times under one patient says no more than once.
    copies = calibration_metrics.assess(targets.repeat(4), scores.repeat(4), np.arange(2000).repeat(4))
    assert copies["slope_high"] - copies["slope_low"] == pytest.approx(width, rel=1e-6)


@pytest.mark.parametrize(("factor", "shift"), [(8.0, 0.0), (1e-3, -4.0), (1e-5, -4.0), (1e-6, 6.0)])
def test_the_slope_of_sharp_and_of_flat_predictions_is_found(factor, shift):
    rng = np.random.default_rng(0)
    logits = rng.normal(-1, 0.5, 5000)
    targets = (rng.random(5000) < special.expit(logits)).astype(int)
    found = calibration_metrics.assess(targets, special.expit(factor * logits + shift), np.arange(5000))
    assert found["slope_low"] < 1 / factor < found["slope_high"]
    assert found["intercept_low"] < -shift / factor < found["intercept_high"]
    assert found["slope_high"] - found["slope_low"] < 1 / factor


@pytest.mark.parametrize(
    "scores",
    [[0.1, 0.2, 0.8, 0.9], [0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 1.0, 1.0]],
    ids=["classes apart", "all alike", "0 and 1"],
)
def test_there_is_no_slope_for_separable_classes_or_constant_predictions(scores):
    found = calibration_metrics.assess(np.array([0, 0, 1, 1]), np.array(scores), np.arange(4))
    assert found["slope"] is found["intercept"] is found["slope_low"] is None
    assert np.isfinite(found["log_loss"])


def test_predictions_of_only_0_and_1_have_finite_metrics():
    found = calibration_metrics.assess(np.array([0, 1, 1, 0]), np.array([0.0, 1.0, 0.0, 1.0]), np.arange(4))
    assert all(np.isfinite(found[name]) for name in ("brier", "log_loss", "slope", "in_the_large"))


def test_bins_include_their_lower_edge_and_the_last_bin_both():
    found = calibration_metrics.bins(np.array([0, 1, 1]), np.array([0.1, 0.5, 1.0]), [0, 0.5, 1])
    assert [(one["low"], one["high"], one["images"], one["observed"]) for one in found] == [
        (0, 0.5, 1, 0),
        (0.5, 1, 2, 1),
    ]


def test_too_few_patients_give_a_slope_without_an_interval(drawn):
    targets, scores = (column[:2000] for column in drawn)
    single = calibration_metrics.assess(targets, scores, np.arange(2000))
    found = calibration_metrics.assess(targets, scores, np.arange(2000) % 9)
    assert (found["slope"], found["intercept"]) == (single["slope"], single["intercept"])
    assert {found[name] for name in ("slope_low", "slope_high", "intercept_low", "intercept_high")} == {None}
