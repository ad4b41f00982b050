import json

import pytest

from isic_tf.artifacts import prediction_sidecar


def test_patient_context_in_one_file_counts_for_all(tmp_path):
    paths = {said: str(tmp_path / f"{said}.csv") for said in (True, False, None)}
    for said, path in paths.items():
        prediction_sidecar.write_sidecar(path, patient_context=said, made_by="isic_tf.predict", tta=8)
    assert json.loads((tmp_path / "True.csv.json").read_text()) == {
        "patient_context": True, "made_by": "isic_tf.predict", "tta": 8
    }  # fmt: skip
    assert prediction_sidecar.used_patient_context([paths[False]]) is False
    assert prediction_sidecar.used_patient_context([paths[False], paths[None]]) is None
    assert prediction_sidecar.used_patient_context([paths[False], paths[None], paths[True]]) is True
    assert prediction_sidecar.used_patient_context([paths[False], str(tmp_path / "none.csv")]) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_damaged_sidecar_is_refused(tmp_path, text):
    (tmp_path / "a.csv.json").write_text(text)
    with pytest.raises(ValueError, match="a.csv.json is not the sidecar of a prediction file"):
        prediction_sidecar.used_patient_context([str(tmp_path / "a.csv")])
