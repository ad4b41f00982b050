import json

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from isic_tf.metrics import roc
from isic_tf.postprocessing import calibration, config

ALL = ("none", *config.CALIBRATIONS)


def make_scores(num_images=5000, seed=0):
    """Scores whose logits are half and 2 too high of what the targets were sampled with."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-3, 2, num_images)
    return expit(logits / 2 + 2), (rng.random(num_images) < expit(logits)).astype(int)


def test_platts_targets_worked_by_hand():
    # One score only: what is fitted is the mean of Platt's targets, here of 3 malignant and 1 benign image:
    # (3 * 4/5 + 1/3) / 4.
    fitted = calibration.fit_calibration("platt", [0.3] * 4, [1, 1, 1, 0])
    assert calibration.apply_calibration(fitted, [0.3])[0] == pytest.approx((3 * 4 / 5 + 1 / 3) / 4, abs=1e-9)
    assert fitted["prevalence"] == 0.75


def test_the_temperature_worked_by_hand():
    # Odds of 9 and 1/9, of which three in four come true: at odds of 3 the likelihood is greatest, so the logits are
    # to be halved.
    fitted = calibration.fit_calibration("temperature", [0.9] * 4 + [0.1] * 4, [1, 1, 1, 0, 0, 0, 0, 1])
    assert fitted["temperature"] == pytest.approx(2, abs=1e-6)
    assert calibration.apply_calibration(fitted, [0.9, 0.5, 0.1]) == pytest.approx([0.75, 0.5, 0.25], abs=1e-7)


def test_isotonic_steps_worked_by_hand():
    # 0.2 (malignant) and 0.3 (benign) are in the wrong order, so share a half. The ends are 1 in n + 2, not 0 and 1.
    fitted = calibration.fit_calibration("isotonic", [0.1, 0.2, 0.3, 0.4], [0, 1, 0, 1])
    assert calibration.apply_calibration(fitted, [0, 0.1, 0.2, 0.3, 0.4, 1]) == pytest.approx(
        [1 / 6, 1 / 6, 0.5, 0.5, 5 / 6, 5 / 6]
    )


def test_platt_finds_slope_and_intercept():
    scores, targets = make_scores(20000)
    fitted = calibration.fit_calibration("platt", scores, targets)
    # What was done to the logits is undone: times 2, less 4.
    assert (fitted["slope"], fitted["intercept"]) == (pytest.approx(2, rel=0.05), pytest.approx(-4, rel=0.05))
    # Softened by next to nothing where there are many of either class: scikit-learn's regression without a penalty.
    regression = LogisticRegression(C=1e9, tol=1e-9).fit(logit(scores)[:, None], targets)
    assert fitted["slope"] == pytest.approx(regression.coef_[0, 0], rel=2e-3)
    assert fitted["intercept"] == pytest.approx(regression.intercept_[0], rel=2e-3)


def test_isotonic_equals_scikit_learns_between_the_ends():
    scores, targets = make_scores()
    ours = calibration.apply_calibration(calibration.fit_calibration("isotonic", scores, targets), scores)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(scores, targets).predict(scores)
    least = 1 / (len(scores) + 2)
    assert ours == pytest.approx(np.clip(theirs, least, 1 - least), abs=1e-12)


@pytest.mark.parametrize("method", ALL)
def test_calibrated_scores_are_probabilities_in_the_same_order(method):
    scores, targets = make_scores()
    fitted = calibration.fit_calibration(method, scores, targets)
    asked = np.sort(np.r_[0, 1, 1e-300, 1 - 1e-16, np.random.default_rng(1).random(2000)])
    calibrated = calibration.apply_calibration(fitted, asked)
    assert calibrated.shape == asked.shape
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1
    assert (np.diff(calibrated) >= 0).all()
    if method != "isotonic":
        assert roc.roc_auc(targets, calibration.apply_calibration(fitted, scores)) == roc.roc_auc(targets, scores)
        assert np.argsort(calibration.apply_calibration(fitted, scores)).tolist() == np.argsort(scores).tolist()
    assert calibration.apply_calibration(fitted, scores.reshape(50, 100)).shape == (50, 100)
    assert calibration.apply_calibration(fitted, np.float32([0.5])).dtype == np.float64


@pytest.mark.parametrize("method", config.CALIBRATIONS)
def test_scores_that_are_constant_become_the_prevalence(method):
    fitted = calibration.fit_calibration(method, [0.9] * 100, [1] * 20 + [0] * 80)
    # But for Platt's softening, of about one image.
    assert calibration.apply_calibration(fitted, [0.9])[0] == pytest.approx(
        0.5 if method == "temperature" else 0.2, abs=0.01
    )


@pytest.mark.parametrize("method", ALL)
def test_scores_of_exactly_0_and_1_can_be_fitted(method):
    fitted = calibration.fit_calibration(method, [0, 0, 0, 1, 1, 1, 0.5, 0.5], [0, 0, 1, 1, 1, 0, 0, 1])
    calibrated = calibration.apply_calibration(fitted, [0, 0.5, 1])
    assert np.isfinite(calibrated).all()
    assert calibrated[0] <= calibrated[1] <= calibrated[2]
    # A third of either was wrong.
    if method in ("platt", "temperature"):
        assert 0.2 < calibrated[0] < 0.45
    json.dumps(fitted, allow_nan=False)


@pytest.mark.parametrize("method", config.CALIBRATIONS)
def test_separable_classes_give_finite_numbers(method):
    fitted = calibration.fit_calibration(method, [0.2] * 50 + [0.8] * 50, [0] * 50 + [1] * 50)
    json.dumps(fitted, allow_nan=False)
    low, high = calibration.apply_calibration(fitted, [0.2, 0.8])
    assert low < 0.05
    assert high > 0.95
    if method != "temperature":
        # No more than 50 images can tell.
        assert low > 0.005


@pytest.mark.parametrize("method", ["platt", "temperature"])
def test_ranks_are_never_reversed(method):
    fitted = calibration.fit_calibration(method, [0.9] * 50 + [0.1] * 50, [0] * 50 + [1] * 50)
    low, high = calibration.apply_calibration(fitted, [0.1, 0.9])
    assert low < high


@pytest.mark.parametrize("bad", [np.nan, np.inf, -0.1, 1.1])
def test_scores_outside_of_0_and_1_are_refused(bad):
    with pytest.raises(ValueError, match="expected scores from 0 to 1, 1 of 3 are not"):
        calibration.fit_calibration("platt", [0.1, bad, 0.3], [0, 1, 0])
    with pytest.raises(ValueError, match="expected scores from 0 to 1, 1 of 2 are not"):
        calibration.apply_calibration({"method": "none", "prevalence": 0.5}, [0.1, bad])


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="calibration needs benign and malignant images, all 3 are of one class"):
        calibration.fit_calibration("platt", [0.1, 0.2, 0.3], [0, 0, 0])


def test_the_prevalence_shift_worked_by_hand():
    # Even odds at one in two are odds of 1/9 at one in ten; odds of 4 are 4/9.
    shifted = calibration.shift_prevalence([0.5, 0.8, 0, 1], 0.5, 0.1)
    assert shifted == pytest.approx([0.1, 4 / 13, 0, 1])
    assert calibration.shift_prevalence(shifted, 0.1, 0.5) == pytest.approx([0.5, 0.8, 0, 1])
    assert calibration.shift_prevalence([0.3], 0.2, 0.2) == pytest.approx([0.3])


def test_the_prevalence_shift_makes_probabilities_of_another_population():
    rng = np.random.default_rng(0)

    def draw(prevalence, count=200_000):
        targets = rng.random(count) < prevalence
        return rng.normal(np.where(targets, 1.0, -1.0), 1.0), targets

    # Normal densities at 1 and -1: the logit at a prevalence of one half is 2 x.
    findings, targets = draw(0.02)
    shifted = calibration.shift_prevalence(expit(2 * findings), 0.5, 0.02)
    assert shifted.mean() == pytest.approx(targets.mean(), abs=1e-3)
    high = shifted > 0.3
    assert shifted[high].mean() == pytest.approx(targets[high].mean(), abs=0.02)


def test_the_prevalence_of_use_is_the_calibrations_or_the_callers():
    fitted = {"method": "none", "prevalence": 0.5}
    assert calibration.apply_calibration(fitted, [0.5])[0] == 0.5
    assert calibration.apply_calibration(fitted, [0.5], prevalence=0.1)[0] == pytest.approx(0.1)
    fitted["used_at"] = 0.2
    assert calibration.apply_calibration(fitted, [0.5])[0] == pytest.approx(0.2)
    assert calibration.apply_calibration(fitted, [0.5], prevalence=0.1)[0] == pytest.approx(0.1)


@pytest.mark.parametrize("prevalence", [0, 1, -0.1, 1.76, float("nan")])
def test_a_prevalence_outside_of_0_and_1_is_refused(prevalence):
    with pytest.raises(ValueError, match="expected a prevalence between 0 and 1, such as 0.0176, got"):
        calibration.apply_calibration({"method": "none", "prevalence": 0.5}, [0.5], prevalence=prevalence)


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match="expected a calibration by none, platt, isotonic, temperature, got 'magic'"):
        calibration.apply_calibration({"method": "magic"}, [0.5])
