import numpy as np
import pandas as pd
import pytest

from isic_tf.metrics import summaries


def predictions(**columns):
    table = {"image_name": list("abcd"), "patient_id": ["p", "p", "", ""], "target": [0, 1, 0, 1]}
    return pd.DataFrame({**table, "prediction": [0.1, 0.4, 0.3, 0.2], **columns})


def test_summarize_counts_blank_patients_one_by_one():
    summary = summaries.summarize(predictions())
    assert (summary["images"], summary["malignant"], summary["patients"]) == (4, 2, 3)
    assert summary["auc"] == 0.75


def test_summarize_refuses_one_class_and_predictions_that_are_not_finite():
    with pytest.raises(ValueError, match="ROC AUC needs benign and malignant images, all 4 have target 1"):
        summaries.summarize(predictions(target=[1, 1, 1, 1]))
    with pytest.raises(ValueError, match="expected finite predictions, 1 of 4 are not"):
        summaries.summarize(predictions(prediction=[0.1, np.nan, 0.2, 0.3]))


def test_describe_states_that_there_is_no_interval():
    summary = dict.fromkeys(("images", "malignant", "patients"), 2) | dict.fromkeys(("auc_low", "auc_high"))
    # Of release 0.1, whose metrics do not say why.
    assert "ROC AUC 1.0000 (no interval: too few patients), 2" in summaries.describe(summary | {"auc": 1.0})
    text = "ROC AUC 0.7500 (no interval: 2 patients with a malignant lesion, at least 10 needed), 4 images"
    assert text in summaries.describe(summaries.summarize(predictions()))


def test_an_image_of_nobody_is_not_of_a_patient_who_has_a_lesion_of_the_same_number():
    rows = [(f"i{lesion}{patient}", patient, str(lesion)) for lesion in range(1, 6) for patient in ("P1", "P2", "")]
    table = pd.DataFrame(rows, columns=["image_name", "patient_id", "lesion_id"])
    assert summaries.group_by_patient(table).tolist()[:6] == ["p1", "p2", "lesion 1", "p1", "p2", "lesion 2"]
    assert summaries.group_by_patient(table[:12]).tolist()[:3] == ["p1", "p2", "p1"]


def test_words_for_an_unknown_patient_are_no_patient_and_spellings_are_one():
    table = predictions(patient_id=["unknown", "Unknown", "IP_1", "ip_1 "])
    groups = summaries.group_by_patient(table).tolist()
    assert groups == ["image a", "image b", "ip_1", "ip_1"]
    assert summaries.summarize(table)["patients"] == 3
