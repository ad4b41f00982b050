import numpy as np
import pandas as pd
import pytest

from isic_tf.inference import context_stage
from isic_tf.patient_context import second_stage
from tfrecord_tools import errors

RANK = second_stage.Stage("rank", 1, False, patient_context=True, columns=[], lone_calibration=None, model=None)


def test_images_are_related_to_those_of_their_patient():
    rows = pd.DataFrame({"patient_id": ["p", "q", "p", "p", "q"]})
    found = context_stage.apply_stage(RANK, rows, np.array([0.5, 0.9, 0.1, 0.7, 0.8], np.float32), None)
    # (rank - 0.5) / images of the patient.
    np.testing.assert_allclose(found, [1.5 / 3, 0.75, 0.5 / 3, 2.5 / 3, 0.25])


def test_numeric_columns_are_taken_from_the_rows():
    stage = RANK._replace(numbers={"width": (0.0, 1.0)})
    rows = pd.DataFrame({"patient_id": ["p", "p"], "numeric:width": [1.0, 2.0]})
    assert context_stage.apply_stage(stage, rows, np.array([0.1, 0.2]), None).tolist() == [0.25, 0.75]


def test_a_model_of_several_runs_is_refused(tmp_path):
    second_stage.save_stage(RANK, str(tmp_path / "one"), {})
    assert context_stage.read_stage(tmp_path / "one") == RANK
    second_stage.save_stage(RANK._replace(num_files=2), str(tmp_path / "two"), {})
    with pytest.raises(
        errors.ConfigError, match="expected a patient-context model fitted on one run, but .*two was fi"
    ):
        context_stage.read_stage(tmp_path / "two")
