import numpy as np
import pytest
import tensorflow as tf

from isic_tf.novelty import detector
from isic_tf.postprocessing import calibration
from isic_tf.serving import graph_outputs
from tfrecord_tools import errors

SCORES = np.array([0, 1e-9, 0.01, 0.2, 0.5, 0.50001, 0.9, 0.999999, 1], np.float32)
CALIBRATIONS = {
    "platt": {"method": "platt", "slope": 0.7, "intercept": -1.5},
    "temperature": {"method": "temperature", "temperature": 1.7},
    "isotonic": {
        "method": "isotonic",
        "scores": [0.01, 0.3, 0.5, 0.5, 0.9],
        "probabilities": [0.02, 0.1, 0.1, 0.4, 0.8],
    },
    "isotonic of one step": {"method": "isotonic", "scores": [0.3], "probabilities": [0.25]},
    "none": {"method": "none"},
}


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("used_at", [None, 0.02])
def test_calibrated_values_are_those_of_the_function(name, used_at):
    fitted = {**CALIBRATIONS[name], "prevalence": 0.25, "used_at": used_at}
    expected = calibration.apply_calibration(fitted, SCORES)
    assert graph_outputs.calibrate(fitted, tf.constant(SCORES)).numpy() == pytest.approx(expected, abs=1e-6)
    for prevalence in (0.001, 0.25, 0.6):
        expected = calibration.apply_calibration(fitted, SCORES, prevalence)
        found = graph_outputs.calibrate(fitted, tf.constant(SCORES), tf.fill([len(SCORES)], prevalence))
        assert found.numpy() == pytest.approx(expected, abs=1e-6)


def test_an_unknown_calibration_is_refused():
    with pytest.raises(errors.IsicError, match="a calibration that can be exported, got the method 'beta'"):
        graph_outputs.calibrate({"method": "beta", "prevalence": 0.1}, tf.constant([0.5]))


def test_unlike_images_are_measured_as_by_the_detectors():
    rng = np.random.default_rng(0)
    # Both distances of the second see some of the features.
    parts = ((None, None), (5, 9))
    detectors = [detector.fit_detector(*rng.normal(3, 1, (2, 90, 12)), early, late) for early, late in parts]
    # Fewer references than neighbors are wanted.
    detectors[1] = detectors[1]._replace(references=detectors[1].references[:3])
    features = (3 + rng.normal(size=(40, 3, 12)) * rng.uniform(0.5, 2, (40, 1, 1))).astype(np.float32)
    with_gap = [detectors[0], None, detectors[1]]
    values = np.full((40, 3), np.nan)
    for place in (0, 2):
        values[:, place] = detector.measure(with_gap[place], features[:, place])
    found = graph_outputs.measure_unlike(with_gap, tf.constant(features)).numpy()
    assert found == pytest.approx(detector.join(values), rel=1e-4)
    assert 0 < (found > 1).mean() < 1
