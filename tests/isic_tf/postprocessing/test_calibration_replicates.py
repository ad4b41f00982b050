import numpy as np
import pytest

from isic_tf.postprocessing import calibration_replicates, config

# Two benign and two malignant images at each score: the likelihood wants 1/2 everywhere.
SCORES = np.repeat([0.2, 0.4, 0.6, 0.8], 4)
TARGETS = np.tile([0, 0, 1, 1], 4)


def sample(count, per_patient, seed=0):
    """Images of well-calibrated scores, all of a patient alike; their targets; and the patients."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.1, 0.9, count)
    targets = (rng.random(count) < scores).astype(int)
    patients = [f"p{number}" for number in range(count)]
    return np.repeat(scores, per_patient), np.repeat(targets, per_patient), np.repeat(patients, per_patient)


@pytest.mark.parametrize("method", config.CALIBRATIONS)
def test_refits_are_calibrations_of_the_method_and_the_same_for_a_seed(method):
    patients = [f"p{number // 2}" for number in range(16)]
    fits = calibration_replicates.fit_replicates(method, SCORES, TARGETS, patients, count=5)
    assert len(fits) == 5
    assert {fit["method"] for fit in fits} == {method}
    assert all("images" not in fit and 0 < fit["prevalence"] < 1 for fit in fits)
    assert fits == calibration_replicates.fit_replicates(method, SCORES, TARGETS, patients, count=5)
    assert fits != calibration_replicates.fit_replicates(method, SCORES, TARGETS, patients, count=5, seed=1)


def test_patients_are_drawn_and_not_images():
    # Ten images of each patient say no more than one.
    single = calibration_replicates.fit_replicates("platt", *sample(200, 1))
    repeated = calibration_replicates.fit_replicates("platt", *sample(200, 10))
    # The same images, each a patient of its own: a tenth of the variance.
    scores, targets, _ = sample(200, 10)
    alone = calibration_replicates.fit_replicates("platt", scores, targets, [""] * 2000)
    spreads = [np.std([fit["slope"] for fit in fits]) for fits in (single, repeated, alone)]
    assert spreads[1] == pytest.approx(spreads[0], rel=0.25)
    assert spreads[2] == pytest.approx(spreads[0] / 10**0.5, rel=0.25)
    # An image without a patient is a patient of its own, also where a patient is called like one.
    scores, targets, _ = sample(200, 1)
    assert calibration_replicates.fit_replicates("platt", scores, targets, [""] * 200) == single
    two = calibration_replicates.fit_replicates("platt", [0.1, 0.9, 0.5], [0, 1, 1], ["image 1", "", ""], count=20)
    assert len({fit["prevalence"] for fit in two}) == 2


def test_there_are_none_where_samples_hold_one_class_only():
    assert calibration_replicates.fit_replicates("platt", [0.1, 0.9], [0, 1], ["p", "p"], count=3) != []
    # One patient in ten million draws of two would be mixed.
    scores, targets = [0.1, *[0.9] * 400], [0, *[1] * 400]
    patients = ["rare", *[f"p{number}" for number in range(400)]]
    fits = calibration_replicates.fit_replicates("platt", scores, targets, patients)
    assert 0 < len(fits) == calibration_replicates.COUNT
