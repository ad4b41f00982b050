import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.patient_context import lesion_features
from isic_tf.patient_context.second_stage import Stage
from isic_tf.serving import run_parts
from isic_tf.serving.patients import patient_predictions


def test_whole_patients_are_chosen_until_there_are_many_images(monkeypatch):
    patients = ["IP_1", "IP_2", "ip_1 ", "", "IP_3", ""]
    rows = pd.DataFrame({"image_name": list("abcdef"), "patient_id": patients})
    found = patient_predictions.choose_patients(rows)
    assert found["patient_id"].tolist() == ["ip_1", "ip_2", "ip_1", "0:d", "ip_3", "0:f"]
    monkeypatch.setattr(patient_predictions, "_MOST_IMAGES", 3)
    assert patient_predictions.choose_patients(rows)["image_name"].tolist() == ["a", "b", "c"]
    # The first patient is compared, however many images there are.
    monkeypatch.setattr(patient_predictions, "_MOST_IMAGES", 1)
    assert patient_predictions.choose_patients(rows)["image_name"].tolist() == ["a", "c"]


def test_a_lesion_without_others_is_in_the_middle_as_in_the_signature(monkeypatch):
    network = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1)])
    batches = [(["a", "b", "c"], np.array([0.2, 0.9, 0.6]))]
    monkeypatch.setattr(patient_predictions.exported_predictions, "run_networks", lambda *_: iter(batches))
    stage = Stage("rank", 1, False, patient_context=True, columns=[], lone_calibration=None, model=None)
    codes = dict.fromkeys(lesion_features.COLUMNS, -1)
    rows = pd.DataFrame({"image_name": list("abc"), "patient_id": ["p", "p", "0:c"], **codes})
    found = patient_predictions.predict_run([network], rows, 8, "", 1, None, run_parts.RunParts(stage=stage))
    assert found.tolist() == [0.25, 0.75, 0.5]


def test_a_difference_of_some_patients_is_a_row_of_its_own(monkeypatch):
    rows = pd.DataFrame({"image_name": ["a", "b"], "patient_id": ["p", "p"]})
    monkeypatch.setattr(patient_predictions, "predict_run", lambda *_: np.array([0.2, 0.9]))
    monkeypatch.setattr(patient_predictions, "predict_saved_model", lambda *_: np.float32([0.2, 0.65]))
    parts = patient_predictions.run_parts.NOTHING
    [row] = patient_predictions.compare([], rows, 8, "", 1, None, parts, "").to_dict("records")
    assert row == {"form": "patient", "images": 2, "difference": pytest.approx(0.25)}
