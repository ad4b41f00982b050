"""Predictions of several classes from the files to the figures, the text and the report."""

import html.parser
import io
import json

import numpy as np
import pandas as pd
import pytest

from isic_tf.evaluation import evaluate_files, evaluate_predictions
from tfrecord_tools import errors

EVIL = '<script>alert("run")</script>'
NAMES = ["MEL", EVIL, "BCC"]


def make(images=240, names=NAMES):
    """Predictions and labels of 60 patients with two lesions of two images each."""
    rng = np.random.default_rng(0)
    numbers = np.arange(images)
    place = numbers // 2 % len(names)
    truth = np.eye(len(names))[place]
    values = np.round(rng.dirichlet(np.full(len(names), 0.6), images) * 0.6 + truth * 0.4, 2)
    columns = {f"probability_{name}": values[:, number] for number, name in enumerate(names)}
    image_names = [f"i{number}" for number in numbers]
    predictions = pd.DataFrame({"image_name": image_names, "prediction": values[:, 0].clip(0, 1), **columns})
    labels = pd.DataFrame({"image_name": image_names, "patient_id": [f"p{number // 4}" for number in numbers]})
    labels["lesion_id"] = [f"l{number // 2}" for number in numbers]
    labels["dx"] = np.array(names, dtype=object)[place]
    labels["clinic"] = np.array(["north", "south", EVIL], dtype=object)[numbers // 4 % 3]
    return predictions, labels


def evaluate(predictions, labels, **options):
    return evaluate_predictions.evaluate(predictions, labels, target="column:dx", positive_classes=("MEL",), **options)


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(*make(), groups=["clinic"])


def test_the_command_writes_what_the_function_returns(evaluation, tmp_path):
    predictions, labels = make()
    predictions.to_csv(tmp_path / "p.csv", index=False)
    labels.to_csv(tmp_path / "labels.csv", index=False)
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(
            predictions=[str(tmp_path / "p.csv")],
            labels=str(tmp_path / "labels.csv"),
            output=str(tmp_path / "m.json"),
            target="column:dx",
            positive_classes=["MEL"],
            groups=["clinic"],
        )
    )
    (written,) = json.loads((tmp_path / "m.json").read_text())["files"]
    assert {**written["classes"], "truth": ""} == {**evaluation.figures["classes"], "truth": ""}
    assert written["classes"]["truth"] == "the column dx of labels.csv"
    assert written["groups"][-1] == evaluation.figures["groups"][-1]


def test_a_prediction_that_is_not_that_of_the_positive_classes_is_noted(caplog):
    predictions, labels = make(images=48)
    evaluate(predictions.assign(prediction=predictions["probability_BCC"]), labels)
    assert "images of predictions have another prediction than the sum of the probabilities of MEL" in caplog.text


def test_figures_of_classes_stand_beside_those_of_the_single_prediction(evaluation):
    figures = evaluation.figures
    assert figures["summary"]["malignant"] == figures["classes"]["rows"][0]["images"] == 80
    # The single prediction is that of the class.
    for name in ("auc", "auc_low", "auc_high", "average_precision"):
        assert figures["summary"][name] == pytest.approx(figures["classes"]["rows"][0][name])
    assert figures["classes"]["challenge"]["balanced_accuracy"] == figures["classes"]["balanced_accuracy"]
    assert np.sum(figures["classes"]["confusion"]) == 240
    assert figures["groups"][-1]["by"] == "clinic"
    text = str(evaluation)
    assert "3 classes, 95 % intervals over 1000 resamples of the patients" in text
    assert "clinic: largest gap" in text


def test_the_report_shows_classes_and_groups_as_text(evaluation, tmp_path):
    parser = html.parser.HTMLParser()
    seen = {"tags": [], "text": []}
    parser.handle_starttag = lambda tag, attributes: seen["tags"].append((tag, dict(attributes)))
    parser.handle_data = seen["text"].append
    path = evaluation.write_report(str(tmp_path / "report.html"))
    with open(path) as file:
        parser.feed(file.read())
    assert "script" not in [tag for tag, _ in seen["tags"]]
    text = " ".join("".join(seen["text"]).split())
    # In the table, twice in the matrix, at a curve; as a group and perhaps in the gap.
    assert text.count(EVIL) >= 5
    for title in ("Each class against the rest", "Confusion matrix", "ROC curve of each class", "the largest gap is"):
        assert title in text
    counts = evaluation.figures["classes"]["confusion"]
    cells = [attributes for tag, attributes in seen["tags"] if tag == "td" and attributes.get("class") == "own"]
    share = round(60 * counts[0][0] / sum(counts[0]), 1)
    assert len(cells) == 3
    assert cells[0]["style"] == f"background:rgb(63 120 181/{share}%)"
    assert f"{counts[0][0]}{100 * counts[0][0] / sum(counts[0]):.0f}\N{NO-BREAK SPACE}%" in "".join(seen["text"])


def test_a_report_without_classes_has_no_such_section(tmp_path):
    predictions, labels = make()
    labels = labels.assign(target=(labels["dx"] == "MEL").astype(int))
    evaluation = evaluate_predictions.evaluate(predictions.iloc[:, :2], labels)
    assert "classes" not in evaluation.figures
    evaluation.write_report(tmp_path / "report.html")
    assert 'id="classes"' not in (tmp_path / "report.html").read_text()


def test_lesions_are_evaluated_with_the_mean_or_the_maximum_of_their_images():
    predictions, labels = make()
    means = evaluate(predictions, labels, unit="lesion")
    assert means.figures["lesions"] == {"join": "mean", "images": 240, "lesions": 120}
    assert means.figures["unpredicted"] == 0
    assert means.figures["classes"]["images"] == means.figures["summary"]["images"] == 120
    joined = predictions.groupby(labels["lesion_id"], sort=False)["prediction"]
    assert means.tables[0]["prediction"].tolist() == pytest.approx(joined.mean().tolist())
    assert "Each of the 120 lesions counts once, with the mean" in str(means)
    highest = evaluate(predictions, labels, unit="lesion", join="max")
    assert highest.tables[0]["prediction"].tolist() == joined.max().tolist()


def test_images_without_a_class_are_left_out_where_allowed():
    predictions, labels = make()
    labels.loc[labels.index[:4], "dx"] = ["", "other", "", ""]
    with pytest.raises(errors.IsicError, match=r"got 3 blank, 1 'other' \(first: i0\); correct these rows"):
        evaluate(predictions, labels)
    assert evaluate(predictions, labels, allow_missing=True).figures["classes"]["images"] == 236


def test_files_in_the_format_of_a_challenge_have_its_scores(tmp_path, monkeypatch):
    pytest.importorskip("isic_challenge_scoring")
    classification = pytest.importorskip("isic_challenge_scoring.classification")
    if not hasattr(pd.DataFrame, "applymap"):
        # Renamed in pandas 2.1 and gone in 3.
        monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)
    names = ["MEL", "NV", "BCC"]
    predictions, labels = make(names=names)
    submission = predictions.drop(columns="prediction").set_axis(["image", *names], axis=1)
    truth = pd.DataFrame(np.eye(3)[labels["dx"].map(names.index)], columns=names)
    truth.insert(0, "image", submission["image"])
    truth = truth.assign(score_weight=[1.0] * 230 + [0.0] * 10, validation_weight=1.0)
    # The official scorer sorts images but not their weights: only a truth in order of the names is scored right.
    files = {"truth": truth.sort_values("image"), "own": submission.sample(frac=1, random_state=0)}
    for name, table in files.items():
        table.to_csv(tmp_path / f"{name}.csv", index=False)
    evaluation = evaluate_predictions.evaluate(tmp_path / "own.csv", tmp_path / "truth.csv", positive_classes=("MEL",))
    texts = [io.StringIO((tmp_path / f"{name}.csv").read_text()) for name in files]
    official = classification.ClassificationScore.from_stream(
        *texts, classification.ClassificationMetric.BALANCED_ACCURACY
    )
    found = evaluation.figures["classes"]
    assert found["images"] == 230
    assert found["balanced_accuracy"] == pytest.approx(official.overall, abs=1e-9)
    assert found["macro_auc"] == pytest.approx(official.macro_average["auc"], abs=1e-9)
    assert found["challenge"]["macro_average"] == pytest.approx(official.macro_average.to_dict(), abs=1e-9)
