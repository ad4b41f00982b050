import json
import logging

import pandas as pd
import pytest

from isic_tf.data.targets import diagnosis_classes
from isic_tf.evaluation.classes import class_truth
from tfrecord_tools import errors

NAMES = ["a", "b", "c", "d"]
PREDICTIONS = pd.DataFrame(
    {
        "image_name": NAMES,
        "prediction": [0.9, 0.2, 0.1, 0.6],
        "probability_MEL": [0.7, 0.1, 0.1, 0.2],
        "probability_BCC": [0.2, 0.1, 0.0, 0.4],
        "probability_NV": [0.1, 0.8, 0.9, 0.4],
    }
)
LABELS = pd.DataFrame(
    {
        "image_name": NAMES,
        "patient_id": ["p", "p", "q", "r"],
        "target": [1, 0, 0, 0],
        "dx": ["mel", "nv", "nv", "bcc"],
        "MEL": [1, 0, 0, 0],
        "BCC": [0, 0, 0, 1],
        "NV": [0, 1, 1, 0],
    }
)


def find(labels=LABELS, predictions=PREDICTIONS, positive=("MEL",), **options):
    return class_truth.find([predictions], ["scores.csv"], labels, positive_classes=positive, **options)


def truths(found):
    return found.labels.filter(like="truth_").to_numpy().tolist()


ONE_HOT = [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize(
    ("options", "described"),
    [
        ({}, "the columns of the classes of the labels"),
        ({"target": "column:DX"}, "the column DX of the labels"),
        ({"target": "columns:NV,mel,BCC"}, "the columns of the classes of the labels"),
    ],
)
def test_true_classes_come_from_a_column_or_from_columns_named_like_them(options, described):
    found = find(**options)
    assert truths(found) == ONE_HOT
    assert found.described == described
    assert found.classes.multi_label == ("columns" in options.get("target", ""))
    assert found.labels["target"].tolist() == [1, 0, 0, 0]


def test_the_target_is_that_of_the_positive_classes(caplog):
    caplog.set_level(logging.INFO)
    found = find(positive=("MEL", "BCC"))
    assert found.labels["target"].tolist() == [1, 0, 0, 1]
    assert "evaluated against the positive classes MEL, BCC: 2 images" in caplog.text
    assert "1 images of the labels have another target than the positive classes MEL, BCC say" in caplog.text


def test_the_sidecar_says_which_classes_are_positive_and_whether_they_exclude_each_other(tmp_path):
    path = str(tmp_path / "scores.csv")
    PREDICTIONS.to_csv(path, index=False)
    facts = {"classes": ["MEL", "BCC", "NV"], "positive_classes": ["BCC"], "multi_label": True}
    (tmp_path / "scores.csv.json").write_text(json.dumps({"patient_context": False, "made_by": "test", **facts}))
    found = class_truth.find([path], [path], LABELS.assign(NV=1))
    assert found.classes.positive == ("BCC",)
    assert found.classes.multi_label
    assert found.labels["truth_NV"].tolist() == [1, 1, 1, 1]


def test_the_sidecar_names_the_column_that_the_network_was_trained_on(tmp_path):
    path = str(tmp_path / "scores.csv")
    PREDICTIONS.to_csv(path, index=False)
    facts = {"classes": ["MEL", "BCC", "NV"], "positive_classes": ["MEL"], "multi_label": False, "target": "column:dx"}
    (tmp_path / "scores.csv.json").write_text(json.dumps({"patient_context": False, "made_by": "test", **facts}))
    labels = LABELS.drop(columns=["MEL", "BCC", "NV"])
    found = class_truth.find([path], [path], labels)
    assert truths(found) == truths(find())
    # Columns of the classes come first; without either, the classes are not evaluated.
    assert truths(class_truth.find([path], [path], LABELS.assign(dx="nv"))) == truths(find())
    assert class_truth.find([path], [path], labels.drop(columns="dx")) is None


def test_diagnoses_are_the_classes_of_that_target():
    names = list(diagnosis_classes.CLASSES)
    predictions = PREDICTIONS[["image_name", "prediction"]].assign(**{f"probability_{name}": 0.1 for name in names})
    labels = LABELS[["image_name", "patient_id", "target"]]
    found = find(labels.assign(diagnosis=["melanoma", "nevus", "lentigo NOS", ""]), predictions, ())
    assert found.labels.filter(like="truth_").to_numpy().argmax(axis=1).tolist() == [
        names.index(name) for name in ("melanoma", "nevus", "benign keratosis", "unknown")
    ]
    assert found.labels["target"].tolist() == [1, 0, 0, 0]
    assert find(labels, predictions, ()) is None


def test_a_single_prediction_needs_no_classes():
    assert find(predictions=PREDICTIONS[["image_name", "prediction"]], positive=()) is None


def test_probabilities_without_true_classes_are_not_evaluated_and_a_note_says_so(caplog):
    assert find(LABELS[["image_name", "patient_id", "target"]], positive=()) is None
    assert "the probabilities of 3 classes are not evaluated" in caplog.text
    assert "--target=column:NAME" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"target": "column:histology"},
            r"expected the column histology \(--target\) in the labels, .*has only image_name",
        ),
        ({"target": "columns:MEL,NV"}, "name the predicted classes MEL, BCC, NV, got MEL, NV"),
        ({"target": "dx"}, "binary, diagnosis, column:NAME or columns:A,B"),
        ({"positive": ("SCC",)}, "some of the classes MEL, BCC, NV, got SCC"),
        ({"labels": LABELS.assign(dx="SCC"), "target": "column:dx"}, "got 4 'SCC'"),
        ({"predictions": PREDICTIONS.iloc[:, :2], "target": "column:dx"}, r"columns probability_CLASS\) with --target"),
        ({"predictions": PREDICTIONS.iloc[:, :2]}, "with --positive_classes, got scores.csv without"),
        ({"labels": pd.concat([LABELS, LABELS])}, "the labels must label every image once"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(errors.IsicError, match=message):
        find(**options)


def test_files_of_other_classes_are_not_evaluated_together():
    other = PREDICTIONS.rename(columns={"probability_NV": "probability_BKL"})
    with pytest.raises(errors.ConfigError, match="same classes, got MEL, BCC, NV in one and MEL, BCC, BKL in two"):
        class_truth.find([PREDICTIONS, other], ["one", "two"], LABELS)


def test_labels_need_no_patients_but_a_note_says_what_that_means(caplog):
    found = find(LABELS[["image_name", "MEL", "BCC", "NV"]].rename(columns={"image_name": "image"}))
    assert found.labels["patient_id"].tolist() == [""] * 4
    assert "each image counts as one of a patient of its own" in caplog.text


@pytest.mark.realdata
def test_the_lesions_of_milk10k_give_their_classes_to_both_images(real_data):
    tables = [f"{real_data}/tables/MILK10k_Training_{name}.csv" for name in ("GroundTruth", "Metadata")]
    truth = pd.read_csv(tables[0])
    names = list(truth.columns[1:])
    images = pd.read_csv(tables[1])["isic_id"]
    predictions = pd.DataFrame({"image_name": images, **{f"probability_{name}": 0.0 for name in names}})
    found = class_truth.find([predictions], ["own"], ",".join(tables), positive_classes=("MEL",))
    assert found.labels["target"].sum() == 2 * 450
    assert found.labels.filter(like="truth_").sum().tolist() == (2 * truth[names].sum()).tolist()
