import numpy as np
import pytest

from isic_tf.postprocessing import calibration, calibration_file, config

ALL = ("none", *config.CALIBRATIONS)


@pytest.mark.parametrize("method", ALL)
def test_a_calibration_comes_back_to_the_last_digit(tmp_path, method):
    rng = np.random.default_rng(0)
    scores = rng.random(500)
    targets = (rng.random(500) < scores**2).astype(int)
    fitted = calibration.fit_calibration(method, scores, targets)
    path = calibration_file.write_calibration(str(tmp_path), fitted, {"platt": {"log_loss": 0.1}}, used_at=0.0176)
    assert path == str(tmp_path / "calibration.json")
    found = calibration_file.read_calibration(str(tmp_path))
    assert {name: found[name] for name in fitted} == fitted
    assert found["used_at"] == 0.0176
    expected = calibration.apply_calibration(fitted, scores, prevalence=0.0176)
    assert calibration.apply_calibration(found, scores).tolist() == expected.tolist()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"method": "platt"}',
        '{"method": "magic"}',
        '{"method": "platt", "slope": "a", "intercept": 0}',
        '{"method": "isotonic", "scores": [], "probabilities": []}',
        '{"method": "none"}',
        '{"method": "none", "prevalence": 2}',
        '{"method": "none", "prevalence": 0.5, "used_at": 2}',
        '{"method": "platt", "prevalence": 0.5, "slope": -1, "intercept": 0}',
        '{"method": "platt", "prevalence": 0.5, "slope": 1, "intercept": NaN}',
    ],
)
def test_a_damaged_calibration_is_refused(tmp_path, text):
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(ValueError, match=r"calibration.json is not a calibration \(.*\); create it again with"):
        calibration_file.read_calibration(str(tmp_path))


def test_a_run_without_a_calibration_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"no calibration at .*calibration.json; create it with isic_tf.calibrate"):
        calibration_file.read_calibration(str(tmp_path))
