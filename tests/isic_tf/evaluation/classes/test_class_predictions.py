import pandas as pd

from isic_tf.data.targets.class_set import ClassSet
from isic_tf.evaluation.classes import class_predictions, class_truth

LABELS = pd.DataFrame({"image": ["a", "b"], "MEL": [1, 0], "NV": [0, 1]})
SUBMISSION = pd.DataFrame({"image": ["b", "a"], "MEL": [0.1, 0.7], "NV": [0.9, 0.3]})


def test_a_submission_of_a_challenge_becomes_a_prediction_file(tmp_path):
    path = str(tmp_path / "own.csv")
    SUBMISSION.to_csv(path, index=False)
    for source in (path, SUBMISSION):
        truth = class_truth.find([source], ["own"], LABELS, positive_classes=("MEL",))
        table = class_predictions.convert_source(source, "own", truth)
        assert table["image_name"].tolist() == ["b", "a"]
        assert table["prediction"].tolist() == table["probability_MEL"].tolist() == [0.1, 0.7]


def test_other_sources_stay_as_they_are():
    own = SUBMISSION.assign(prediction=0.5)
    truth = class_truth.ClassTruth(ClassSet(("MEL", "NV"), ("MEL",)), LABELS, "")
    assert class_predictions.convert_source(own, "own", truth) is own
    assert class_predictions.convert_source(SUBMISSION, "own", None) is SUBMISSION


def test_probabilities_and_true_classes_are_in_one_order():
    table = pd.DataFrame({"patient": [0, 1], "truth_MEL": [1, 0], "truth_NV": [0, 1]})
    assert class_predictions.select_predictions(table, ClassSet(("MEL", "NV"), ("MEL",))) is None
    table = table.assign(probability_NV=[0.2, 0.6], probability_MEL=[0.8, 0.4])
    found = class_predictions.select_predictions(table, ClassSet(("MEL", "NV"), ("MEL",)))
    assert found.names == ["NV", "MEL"]
    assert found.truth.tolist() == [[False, True], [True, False]]
    assert found.probabilities.tolist() == [[0.2, 0.8], [0.6, 0.4]]
