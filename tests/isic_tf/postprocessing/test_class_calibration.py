import json

import numpy as np
import pandas as pd
import pytest

from isic_tf.data.targets import class_set
from isic_tf.postprocessing import calibration, class_calibration

SOFTMAX = class_set.ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL"))
LABELS = class_set.ClassSet(("A", "B"), ("A", "B"), multi_label=True)
NONE = {"method": "none", "images": 4, "prevalence": 0.5}
HALF = {"method": "temperature", "temperature": 0.5, "images": 4, "prevalence": 0.5}


def test_a_temperature_makes_probabilities_those_observed():
    # Half of the images are of the first class, a quarter of each other: roots of the probabilities, 4 : 1 : 1.
    assert class_calibration.fit_temperature([[2 / 3, 1 / 6, 1 / 6]] * 4, np.eye(3)[[0, 0, 1, 2]]) == pytest.approx(2)
    # Where no image is wrong, or all are, the temperature stays finite.
    assert class_calibration.fit_temperature([[0.9, 0.1]] * 2, np.eye(2)[[0, 0]]) < 0.1
    assert class_calibration.fit_temperature([[0.9, 0.1]] * 2, np.eye(2)[[1, 1]]) == pytest.approx(1e3)
    assert class_calibration.apply_temperature([[1.0, 0.0]], 2).tolist() == [
        [pytest.approx(1), pytest.approx(0, abs=1e-7)]
    ]


def test_a_softmax_has_a_temperature_and_fits_the_calibrated_single_prediction():
    fitted = {**HALF, "classes": {"names": ["BCC", "MEL", "NV"], "temperature": 0.5}}
    table = pd.DataFrame({"image_name": ["a"], "prediction": [0.75]})
    table[["probability_BCC", "probability_MEL", "probability_NV"]] = [[0.25, 0.5, 0.25]]
    found = class_calibration.calibrate_table(fitted, table, SOFTMAX)
    # 0.75 has odds of 3, squared 9; BCC and MEL share 0.9 as the squares of their probabilities, 1 : 4.
    assert found.iloc[0].tolist() == ["a", *map(pytest.approx, (0.9, 0.18, 0.72, 0.1))]
    # Without the true classes they share it as before, 1 : 2.
    found = class_calibration.calibrate_table(HALF, table, SOFTMAX)
    assert found.iloc[0].tolist() == ["a", *map(pytest.approx, (0.9, 0.3, 0.6, 0.1))]
    unchanged = class_calibration.calibrate_table(NONE, table, SOFTMAX)
    pd.testing.assert_frame_equal(unchanged, table, check_exact=True)


def test_several_labels_are_calibrated_by_themselves():
    fitted = {**NONE, "classes": {"names": ["A", "B"], "each": [NONE, HALF]}}
    single, labels = class_calibration.calibrate_scores(fitted, np.array([0.8]), np.array([[0.8, 0.75]]), LABELS)
    np.testing.assert_allclose(labels, [[0.8, 0.9]])
    assert single == labels[:, 1]
    # Prevalence 0.1 instead of 0.5: odds of 9 become 1, and those of 4 become 4 / 9.
    single, labels = class_calibration.calibrate_scores(fitted, np.array([0.8]), np.array([[0.8, 0.75]]), LABELS, 0.1)
    np.testing.assert_allclose(labels, [[4 / 13, 0.5]])
    assert single == pytest.approx(0.5)


def test_a_single_prediction_is_calibrated_as_ever():
    table = pd.DataFrame({"image_name": ["a"], "prediction": [0.75]})
    found = class_calibration.calibrate_table(HALF, table, class_set.BINARY)
    assert found["prediction"].tolist() == calibration.apply_calibration(HALF, [0.75]).tolist()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ({"names": ["BCC", "MEL"], "temperature": 1.0}, r"calibration of BCC, MEL, NV, got \['BCC', 'MEL'\]"),
        ({"names": ["BCC", "MEL", "NV"], "each": [NONE] * 3}, "calibration of BCC, MEL, NV"),
        ({"names": ["BCC", "MEL", "NV"], "temperature": 0.0}, "temperature above 0, got 0.0"),
        ({"names": ["BCC", "MEL", "NV"], "temperature": "1"}, "temperature"),
        ({"names": ["BCC", "MEL", "NV"]}, "temperature"),
        ({}, "names"),
        ([], "calibration.json"),
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path, classes, message):
    (tmp_path / "calibration.json").write_text(json.dumps({**NONE, "classes": classes}))
    with pytest.raises(ValueError, match=message) as error:
        class_calibration.read_calibration(str(tmp_path), SOFTMAX)
    assert "create it again with isic_tf.calibrate" in str(error.value)


def test_damaged_labels_are_refused(tmp_path):
    for each, message in (
        ([NONE], "expected 2 calibrations, got 1"),
        ([NONE, {"method": "x", "prevalence": 0.5}], "'x'"),
    ):
        content = {**NONE, "classes": {"names": ["A", "B"], "each": each}}
        (tmp_path / "calibration.json").write_text(json.dumps(content))
        with pytest.raises(ValueError, match=message):
            class_calibration.read_calibration(str(tmp_path), LABELS)
    (tmp_path / "calibration.json").write_text(json.dumps(NONE))
    assert class_calibration.read_calibration(str(tmp_path), LABELS) == NONE
