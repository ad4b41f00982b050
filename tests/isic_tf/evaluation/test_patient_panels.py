import pandas as pd

from isic_tf.evaluation import patient_panels


def make(patient, stage_one, context, target):
    """Lesions of a patient, named in order."""
    names = [f"{patient}{number}" for number in range(len(target))]
    columns = {"image_name": names, "patient_id": patient, "stage_one": stage_one, "prediction": context}
    return pd.DataFrame({**columns, "target": target})


RISEN = make("risen", [0.1, 0.9, 0.5], [0.8, 0.3, 0.4], [1, 0, 0])
FALLEN = make("fallen", [0.9, 0.5], [0.2, 0.3], [1, 0])
LITTLE = make("little", [0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.3, 0.4], [1, 0, 0, 0])
UNMOVED = make("unmoved", [0.9, 0.1], [0.9, 0.1], [1, 0])
BENIGN = make("benign", [0.9, 0.1], [0.1, 0.9], [0, 0])
ALONE = make("alone", [0.9], [0.1], [1])


def test_melanomas_that_moved_most_up_and_down_are_shown():
    found = patient_panels.find(pd.concat([FALLEN, BENIGN, LITTLE, ALONE, UNMOVED, RISEN], ignore_index=True))
    assert [rows["patient_id"].iloc[0] for rows in found] == ["risen", "little", "fallen"]
    assert found[0]["image_name"].tolist() == ["risen0", "risen2", "risen1"]
    assert found[0]["rank"].tolist() == [1, 2, 3]
    assert found[0]["stage_one_rank"].tolist() == [3, 2, 1]
    assert found[2]["count"].tolist() == [2, 2]


def test_of_many_lesions_the_melanomas_are_kept():
    rows = make("many", [1.0] + 29 * [0.5], [number / 30 for number in range(30)], [1] + 29 * [0])
    (found,) = patient_panels.find(rows)
    assert len(found) == 12
    assert found["image_name"].tolist() == [*(f"many{number}" for number in range(29, 18, -1)), "many0"]
    assert found["rank"].iloc[-1] == 30


def test_without_stage_one_or_patients_there_is_nothing_to_show():
    assert patient_panels.describe(RISEN.drop(columns="stage_one"), None) == []
    assert patient_panels.describe(RISEN.assign(patient_id=""), None) == []
    (patient,) = patient_panels.describe(RISEN, None)
    assert patient["count"] == 3
    first = {"image_name": "risen0", "target": 1, "prediction": 0.8, "stage_one": 0.1, "rank": 1, "stage_one_rank": 3}
    assert patient["lesions"][0] == {**first, "image": None}
