import pandas as pd
import pytest

from isic_tf.artifacts import prediction_sidecar
from isic_tf.data.targets import class_set
from isic_tf.evaluation.classes import predicted_classes
from tfrecord_tools import errors

TABLE = pd.DataFrame(
    {
        "image_name": ["a", "b"],
        "prediction": [0.75, 0.25],
        "probability_MEL": [0.5, 0.125],
        "probability_BCC": [0.25, 0.125],
        "probability_NV": [0.25, 0.75],
    }
)
CLASSES = class_set.ClassSet(("MEL", "BCC", "NV"), ("MEL", "BCC"))
FACTS = {"classes": ["MEL", "BCC", "NV"], "positive_classes": ["MEL", "BCC"], "multi_label": False}


def write(folder, name, **facts):
    path = str(folder / name)
    TABLE.to_csv(path, index=False)
    prediction_sidecar.write_sidecar(path, patient_context=False, made_by="test", **{**FACTS, **facts})
    return path


def find(paths, positive=()):
    return predicted_classes.find(paths, paths, positive)


def test_a_sidecar_of_any_file_says_what_the_single_prediction_is_of(tmp_path):
    path = write(tmp_path, "one.csv")
    found = predicted_classes.find([TABLE, path], ["table", path])
    assert found == predicted_classes.PredictedClasses(("MEL", "BCC", "NV"), ("MEL", "BCC"), False)
    # The same ones, in another order and case.
    assert find([path], ("bcc", "mel")).positive == ("bcc", "mel")
    assert predicted_classes.find([TABLE], ["table"]).positive == ()
    assert predicted_classes.find([TABLE.iloc[:, :2]], ["table"]) is None


def test_a_submission_of_a_challenge_has_classes():
    assert predicted_classes.list_classes(pd.DataFrame(columns=["image", "MEL", "NV"])) == ["MEL", "NV"]


@pytest.mark.parametrize(
    ("facts", "positive", "message"),
    [
        ({}, ("NV",), r"--positive_classes=MEL,BCC, the classes .* of .*one.csv is of .*, got NV; omit the option"),
        ({"positive_classes": ["MEL"]}, (), "got MEL, BCC in .*one.csv and MEL in .*two.csv; evaluate one at a time"),
        ({"classes": ["MEL", "NV"]}, (), "two.csv.json to name the classes MEL, BCC, NV of its file, got MEL, NV"),
    ],
)
def test_sidecars_that_do_not_fit_are_refused(tmp_path, facts, positive, message):
    paths = [write(tmp_path, "one.csv"), write(tmp_path, "two.csv", **facts)]
    with pytest.raises(errors.ConfigError, match=message):
        find(paths, positive)


def test_predictions_that_do_not_fit_the_classes_are_noted(caplog):
    predicted_classes.note_misfits(TABLE, "own.csv", CLASSES)
    predicted_classes.note_misfits(TABLE[["image_name", "prediction"]], "own.csv", CLASSES)
    assert not caplog.text
    predicted_classes.note_misfits(TABLE.assign(prediction=[0.75, 0.5]), "own.csv", CLASSES)
    assert (
        "1 of 2 images of own.csv have another prediction than the sum of the probabilities of MEL, BCC" in caplog.text
    )
    assert "(first: b)" in caplog.text
    predicted_classes.note_misfits(TABLE.assign(probability_NV=0.25), "own.csv", CLASSES)
    assert "1 of 2 images of own.csv have probabilities of the classes that do not add up to 1" in caplog.text


def test_the_prediction_of_several_labels_is_the_largest(caplog):
    labels = class_set.ClassSet(CLASSES.names, CLASSES.positive, multi_label=True)
    predicted_classes.note_misfits(TABLE.assign(prediction=[0.5, 0.125]), "own.csv", labels)
    assert not caplog.text
    predicted_classes.note_misfits(TABLE, "own.csv", labels)
    assert "2 of 2 images of own.csv have another prediction than the largest of" in caplog.text
