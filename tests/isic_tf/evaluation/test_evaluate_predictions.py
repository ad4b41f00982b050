import dataclasses
import html.parser
import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from harness import ENVIRONMENT

import isic_tf
from isic_tf.evaluation import Evaluation, evaluate, evaluate_files, joined_tables

EVIL = '<script>alert("run")</script>'


@pytest.fixture(scope="module")
def tables():
    """Labels of 120 images and two DataFrames of predictions, one in another order."""
    names = [f"i{number}" for number in range(120)]
    labels = pd.DataFrame({"image_name": names, "patient_id": [f"p{number // 3}" for number in range(120)]})
    labels["target"] = np.arange(120) % 2
    labels["sex"] = ["male", "female", None] * 40
    labels["age_approx"] = [45.0, np.nan, 60.0] * 40
    score = np.arange(120) * 37 % 100
    first = pd.DataFrame({"image_name": names, "prediction": (score + np.arange(120) % 2 * 40) / 150})
    first["fold"] = np.arange(120) // 60
    second = first.assign(prediction=(score + np.arange(120) % 2 * 20) / 150).sample(frac=1, random_state=0)
    return labels, first, second


@pytest.fixture(scope="module")
def evaluation(tables):
    labels, first, second = tables
    return evaluate([first, second], labels, threshold=0.4)


@pytest.fixture(scope="module")
def files(tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, table in zip(("labels", "first", "second"), tables, strict=True):
        table.to_csv(folder / f"{name}.csv", index=False)
    return folder


def without_names(figures):
    return {name: value for name, value in figures.items() if name not in ("path", "patient_context")}


def test_it_is_the_public_function():
    assert isic_tf.evaluate is evaluate
    assert isic_tf.Evaluation is Evaluation


def test_dataframes_and_their_files_have_the_same_figures(tables, files, evaluation):
    labels, _, second = tables
    of_files = evaluate([files / "first.csv", str(files / "second.csv")], files / "labels.csv", threshold=0.4)
    assert [without_names(file) for file in of_files.files] == [without_names(file) for file in evaluation.files]
    assert of_files.figures["path"] == str(files / "first.csv")
    assert [file["path"] for file in evaluation.files] == ["predictions", "predictions 2"]
    mixed = evaluate([files / "first.csv", second], labels, threshold=0.4)
    assert mixed.comparisons[0]["second"] == "predictions 2"
    assert mixed.comparisons[0]["difference"] == evaluation.comparisons[0]["difference"]


def test_the_figures_are_those_that_the_command_writes(files, tmp_path):
    paths = [str(files / name) for name in ("first.csv", "second.csv")]
    config = evaluate_files.EvaluateConfig(
        predictions=paths, labels=str(files / "labels.csv"), output=str(tmp_path / "metrics.json"), specificity=0.9
    )
    returned = evaluate_files.evaluate_files(config)
    written = json.loads((tmp_path / "metrics.json").read_text())
    found = evaluate(paths, files / "labels.csv", specificity=0.9)
    assert found.to_dict() == returned.to_dict() == written
    assert found.figures == written["files"][0]
    assert found.comparisons == written["comparisons"]


def test_files_that_say_how_unlike_their_images_are_have_a_section_of_their_own(tables):
    labels, first, second = tables
    # Every tenth image is unlike the training images.
    known = first.assign(unlike=np.where(np.arange(120) % 10 == 3, 1.5, 0.5))
    found = evaluate([known, second], labels.assign(clinic=["north", "south"] * 60), groups=["clinic"], threshold=0.4)
    figures = found.figures["unlike"]
    assert (figures["images"], figures["flagged"]) == (120, 12)
    (clinic,) = (group["rows"] for group in figures["groups"] if group["by"] == "clinic")
    assert [(row["group"], row["flagged"]) for row in clinic] == [("north", 0), ("south", 12)]
    assert [group["by"] for group in figures["groups"]] == [group["by"] for group in found.figures["groups"]]
    assert "unlike" not in found.files[1]
    assert str(found).count("Images unlike the training images (unlike above 1)") == 1
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_roc_auc_and_its_interval_are_numbers(evaluation):
    # Malignant scores are higher by 40 of a range of 100: pairs are lost where the benign score is higher by over 40.
    assert 0.75 < evaluation.roc_auc < 0.9
    low, high = evaluation.roc_auc_interval
    assert low < evaluation.roc_auc < high
    assert evaluation.figures["summary"]["auc"] == evaluation.roc_auc


def test_few_patients_have_no_interval():
    names = ["a", "b", "c", "d"]
    labels = pd.DataFrame({"image_name": names, "patient_id": ["p", "p", "q", None], "target": [False, True, 0, 1]})
    found = evaluate(pd.DataFrame({"image_name": names, "prediction": [0.1, 0.8, 0.3, 0.2]}), labels)
    assert found.roc_auc == 0.75
    assert found.roc_auc_interval == (None, None)
    assert found.figures["summary"]["patients"] == 3
    assert found.comparisons == []


def test_the_text_is_what_the_command_prints(files, capsys):
    paths = [str(files / name) for name in ("first.csv", "second.csv")]
    config = evaluate_files.EvaluateConfig(predictions=paths, labels=str(files / "labels.csv"))
    text = str(evaluate_files.evaluate_files(config))
    assert capsys.readouterr().out == f"{text}\n"
    assert text.startswith(f"{paths[0]}: ROC AUC 0.")
    assert text.index(f"\n{paths[1]}: ROC AUC 0.") < text.index(f"{paths[0]} minus {paths[1]}, on the same images")


def test_patient_context_is_read_from_the_sidecar(files, tmp_path):
    path = tmp_path / "context.csv"
    path.write_text((files / "first.csv").read_text())
    (tmp_path / "context.csv.json").write_text('{"patient_context": true}')
    found = evaluate(path, files / "labels.csv")
    assert found.figures["patient_context"] is True
    assert f"In {path} the patients' other images had a part, which some rules forbid." in str(found)


def test_the_representation_is_one_line(evaluation):
    assert repr(evaluation).startswith("<Evaluation of predictions: ROC AUC 0.")
    assert repr(evaluation).endswith("120 images, 60 malignant, 40 patients>")
    assert "\n" not in repr(evaluation)


def test_an_evaluation_cannot_be_changed(evaluation):
    with pytest.raises(dataclasses.FrozenInstanceError):
        evaluation.files = []


def test_a_notebook_shows_three_curves_as_text_free_of_markup(tables):
    labels, first, _ = tables
    shown = evaluate(first, labels)._repr_html_()
    assert shown.count("<svg") == 3
    assert "ROC AUC 0." in shown
    assert "120 images, 60 malignant, 40 patients" in shown
    assert "<script" not in shown


def test_names_are_escaped_in_a_notebook(tables, evaluation):
    files = [{**file, "path": EVIL} for file in evaluation.files]
    shown = dataclasses.replace(evaluation, files=files)._repr_html_()
    assert "<script" not in shown
    assert shown.count("&lt;script&gt;") == 2
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(shown)
    assert set(tags) <= {"div", "style", "p", "strong", "span", "figure", "figcaption", "svg", "path", "text", "circle"}


def test_the_report_is_written_and_its_path_returned(evaluation, tmp_path):
    path = evaluation.write_report(tmp_path / "report.html")
    text = pathlib.Path(path).read_text()
    assert path == str(tmp_path / "report.html")
    assert "<h1>Evaluation of predictions</h1>" in text
    assert '<th class="wrap" scope="row">predictions 2</th>' in text


def test_a_report_of_no_run_is_refused(evaluation, tmp_path):
    with pytest.raises(isic_tf.IsicError, match="flags.txt"):
        evaluation.write_report(tmp_path / "report.html", workdir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_values_keep_all_their_digits():
    table = pd.DataFrame({"image_name": ["a", "b", "c"], "prediction": np.float32([0.1, 1 / 3, 1e-9])})
    table["fold"] = [0.0, np.nan, 2.0]
    found = joined_tables.read_predictions(table)
    assert found["prediction"].tolist() == [float(value) for value in table["prediction"]]
    assert found["fold"].tolist() == ["0", "", "2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.5, "specificity": 0.9}, "threshold and specificity are mutually exclusive, got both"),
        ({"threshold": 1.5}, "expected a threshold from 0 to 1, got 1.5"),
        ({"specificity": -0.1}, "expected a specificity from 0 to 1, got -0.1"),
        ({"predictions": []}, "expected one or more prediction files"),
    ],
)
def test_options_that_do_not_fit_are_refused(tables, options, message):
    labels, first, _ = tables
    with pytest.raises(isic_tf.ConfigError, match=message):
        evaluate(**{"predictions": first, "labels": labels, **options})


def test_tables_that_do_not_fit_are_refused_by_name(tables):
    labels, first, second = tables
    with pytest.raises(ValueError, match="predictions: .* prediction.* 0 to 1"):
        evaluate(first.assign(prediction=2.0), labels)
    with pytest.raises(ValueError, match=r"1 images of predictions have no label in the labels \(first: i0\)"):
        evaluate(first, labels[1:])
    with pytest.raises(ValueError, match="labels needs the columns image_name, patient_id, target"):
        evaluate(first, labels.drop(columns="target"))
    with pytest.raises(ValueError, match=r"1 only in predictions \(i0\); evaluate one at a time"):
        evaluate([first, second[second["image_name"] != "i0"]], labels)


def test_neither_figures_nor_curves_need_tensorflow(files):
    code = f"""
import sys
import isic_tf
from isic_tf.evaluation import evaluate_files
labels, predictions = {str(files / "labels.csv")!r}, {str(files / "first.csv")!r}
evaluate_files.evaluate_files(evaluate_files.EvaluateConfig(predictions=predictions, labels=labels))
isic_tf.evaluate(predictions, labels)._repr_html_()
sys.exit("tensorflow" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


def test_images_without_a_prediction_are_counted_in_the_figures_and_the_text():
    names = list("abcdef")
    labels = pd.DataFrame({"image_name": names, "patient_id": names, "target": [0, 1, 0, 1, 0, 1]})
    predictions = pd.DataFrame({"image_name": names[:4], "prediction": [0.1, 0.4, 0.3, 0.2]})
    found = evaluate(predictions, labels, allow_missing=True)
    assert found.to_dict()["files"][0]["unpredicted"] == 2
    assert "2 images have a label but no prediction and are not evaluated." in str(found)
    whole = evaluate(predictions, labels[:4])
    assert whole.figures["unpredicted"] == 0
    assert "no prediction" not in str(whole)
