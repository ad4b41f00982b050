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


FACTS = {"classes": ["MEL", "NV"], "positive_classes": ["MEL"], "multi_label": False}


def test_the_classes_of_a_file_are_read(tmp_path):
    path = str(tmp_path / "a.csv")
    assert prediction_sidecar.read_class_facts(path) == {}
    prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.predict")
    assert prediction_sidecar.read_class_facts(path) == {}
    prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.predict", **FACTS)
    assert prediction_sidecar.read_class_facts(path) == FACTS
    with_target = {**FACTS, "target": "column:dx"}
    prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.predict", **with_target)
    assert prediction_sidecar.read_class_facts(path) == with_target


@pytest.mark.parametrize("wrong", [{"classes": "MEL"}, {"positive_classes": [1]}, {"multi_label": 1}, {"target": 1}])
def test_classes_of_another_type_are_refused(tmp_path, wrong):
    path = str(tmp_path / "a.csv")
    prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.predict", **{**FACTS, **wrong})
    with pytest.raises(ValueError, match=f"expected {next(iter(wrong))} to be "):
        prediction_sidecar.read_class_facts(path)


def test_the_fold_of_a_file_is_read(tmp_path):
    path = str(tmp_path / "a.csv")
    assert prediction_sidecar.read_fold(path) is None
    for facts, fold in (({}, None), ({"folds": 2}, "all"), ({"folds": 1, "fold": "3"}, "3")):
        prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.predict", **facts)
        assert prediction_sidecar.read_fold(path) == fold
    prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.train")
    assert prediction_sidecar.read_fold(path) == "all"
    prediction_sidecar.write_sidecar(path, patient_context=None, made_by="isic_tf.predict", fold=3)
    with pytest.raises(ValueError, match="expected fold to be a text, got 3"):
        prediction_sidecar.read_fold(path)
