import numpy as np
import pandas as pd
import pytest

from isic_tf.diagnosis import standing
from isic_tf.postprocessing import calibration
from tfrecord_tools import errors

TABLE = pd.DataFrame({"prediction": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "target": [0, 0, 1, 0, 1, 1]})
FITTED = {"method": "none", "prevalence": 0.5}


@pytest.mark.parametrize(
    ("held", "level", "threshold", "sensitivity", "specificity"),
    [
        ("sensitivity", 0.9, 0.3, 1.0, 2 / 3),
        ("sensitivity", 0.6, 0.5, 2 / 3, 1.0),
        ("specificity", 0.9, 0.5, 2 / 3, 1.0),
    ],
)
def test_the_operating_point_is_that_of_the_out_of_fold_images(held, level, threshold, sensitivity, specificity):
    found = standing.make_reference(TABLE, held, level)
    assert found.threshold == threshold
    assert (found.sensitivity, found.specificity) == (pytest.approx(sensitivity), pytest.approx(specificity))
    assert found.benign.tolist() == [0.1, 0.2, 0.4]
    assert found.malignant.tolist() == [0.3, 0.5, 0.6]


def test_one_class_alone_has_no_operating_point():
    with pytest.raises(errors.IsicError, match="all of the run are of one class"):
        standing.make_reference(TABLE[TABLE["target"] == 0], "sensitivity", 0.9)


def test_ranks_count_ties_by_half():
    among = np.array([0.1, 0.2, 0.2, 0.4])
    assert standing.rank(np.array([0.0, 0.1, 0.2, 0.3, 1.0]), among).tolist() == [0.0, 0.125, 0.5, 0.75, 1.0]


def test_the_interval_is_over_folds_and_refits():
    scores = np.array([[0.2, 0.6], [0.4, 0.4]])
    found = standing.calibrate_with_interval(FITTED, scores, None)
    # Without refits, of the folds: both twice, or one of them two times.
    assert found[0].tolist() == pytest.approx([0.4, 0.2, 0.6])
    assert found[1].tolist() == pytest.approx([0.4, 0.4, 0.4])
    refits = [{"method": "temperature", "temperature": t, "prevalence": 0.5} for t in np.linspace(0.5, 2, 101)]
    found = standing.calibrate_with_interval({**FITTED, "replicates": refits}, scores[1:], None)
    low, high = (calibration.apply_calibration(refits[place], [0.4])[0] for place in (2, 98))
    assert found[0].tolist() == pytest.approx([0.4, low, high], abs=0.003)


def test_the_prevalence_moves_the_probability_and_its_interval():
    scores = np.array([[0.4, 0.4]])
    found = standing.calibrate_with_interval({**FITTED, "used_at": 0.1}, scores, None)
    expected = calibration.shift_prevalence([0.4], 0.5, 0.1)[0]
    assert found[0].tolist() == pytest.approx([expected] * 3)
    found = standing.calibrate_with_interval({**FITTED, "used_at": 0.1}, scores, 0.01)
    assert found[0, 0] == pytest.approx(calibration.shift_prevalence([0.4], 0.5, 0.01)[0])


def test_the_probability_lies_in_its_interval():
    refits = [{"method": "temperature", "temperature": 3.0, "prevalence": 0.5}] * 5
    found = standing.calibrate_with_interval({**FITTED, "replicates": refits}, np.array([[0.1]]), None)
    assert found[0, 0] == found[0, 1] == pytest.approx(0.1)
    assert found[0, 2] > 0.3
