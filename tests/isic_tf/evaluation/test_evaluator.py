import json
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from isic_tf.evaluation import evaluator, text_report


@pytest.fixture(scope="module")
def table():
    """800 images of 80 patients with all columns."""
    rng = np.random.default_rng(0)
    targets = (rng.random(800) < 0.3).astype(int)
    columns = {"image_name": [f"i{number}" for number in range(800)], "target": targets}
    columns["patient_id"] = [f"p{number % 80}" for number in range(800)]
    columns["prediction"] = np.round(1 / (1 + np.exp(1 - 2 * targets - rng.normal(size=800))), 3)
    columns["fold"] = [str(number % 80 % 4) for number in range(800)]
    for name, values in {"source": ["x", "y"], "sex": ["male", "female", ""], "age_approx": ["30", "60", ""]}.items():
        columns[name] = rng.choice(values, 800)
    columns["anatom_site_general_challenge"] = rng.choice(["torso", "head/neck"], 800)
    sizes = rng.integers(0, 2, 800)
    columns |= {"width": np.array([6000, 640])[sizes], "height": np.array([4000, 480])[sizes]}
    return pd.DataFrame({**columns, "bytes": rng.integers(10_000, 90_000, 800)})


@pytest.fixture(scope="module")
def found(table):
    return evaluator.assess(table, resamples=100)


def test_the_summary_equals_scikit_learns(table, found):
    summary = found["summary"]
    assert summary["auc"] == pytest.approx(roc_auc_score(table["target"], table["prediction"]), abs=1e-12)
    expected = average_precision_score(table["target"], table["prediction"])
    assert summary["average_precision"] == pytest.approx(expected, abs=1e-12)
    for name in ("auc", "auc_delong", "partial_auc", "average_precision"):
        value = summary.get(name, summary["auc"])
        assert summary[f"{name}_low"] < value < summary[f"{name}_high"]
    assert (summary["images"], summary["patients"], summary["resamples"]) == (800, 80, 100)
    assert summary["prevalence"] == table["target"].mean()


def test_all_parts_are_plain_values(found):
    assert list(found) == [
        *("summary", "calibration", "operating_points", "confusion", "folds", "groups", "patients", "shortcuts")
    ]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    kinds = ["source", "sex", "age", "site", "image size", "images of the patient"]
    assert [group["by"] for group in found["groups"]] == kinds
    # Every image is in one group of each kind.
    assert {sum(row["images"] for row in group["rows"]) for group in found["groups"]} == {800}
    assert [row["shortcut"] for row in found["shortcuts"]["rows"]] == ["image size", "file size", "metadata"]
    assert len(found["folds"]["rows"]) == 4


def test_the_result_does_not_depend_on_the_names_of_patients(table, found):
    named = table.assign(patient_id=table["patient_id"].map(lambda name: f"{name} other"))
    assert evaluator.assess(named, resamples=100) == found


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, "at least 90 % sensitivity on these images"),
        ({"specificity": 0.975}, "at least 97.5 % specificity on these images"),
        ({"threshold": 0.25}, "as given"),
    ],
)
def test_the_threshold_is_chosen_as_wanted(table, options, chosen):
    confusion = evaluator.assess(table, resamples=20, **options)["confusion"]
    assert confusion["chosen"] == chosen
    assert confusion["sensitivity"] >= 0.9 or options
    assert confusion["specificity"] >= options.get("specificity", 0)
    assert confusion["threshold"] == options.get("threshold", confusion["threshold"])


def test_one_class_is_refused(table):
    with pytest.raises(ValueError, match="ROC AUC needs benign and malignant images, all 800 have target 0"):
        evaluator.assess(table.assign(target=0))


def test_four_images_have_the_figures_that_can_be_computed():
    table = {"image_name": list("abcd"), "patient_id": list("ppqr"), "target": [0, 1, 0, 1]}
    found = evaluator.assess(pd.DataFrame({**table, "prediction": [0.1, 0.4, 0.3, 0.2]}))
    assert found["summary"]["auc"] == 0.75
    assert found["summary"]["auc_low"] is None
    assert found["folds"] is None
    assert found["groups"][0]["rows"][0]["note"].startswith("too small")
    assert found["patients"]["note"].startswith("too few")
    text = text_report.write(found)
    assert "too small: 1 malignant images, 10 needed" in text
    assert "not known" in text


def test_the_text_is_aligned_and_holds_every_group(found):
    lines = text_report.write(found).splitlines()
    assert all(line == line.rstrip() for line in lines)
    start = next(number for number, line in enumerate(lines) if line.startswith("Groups"))
    heading, *rows = lines[start + 1 : start + 20]
    end = heading.index("images") + len("images")
    counted = [row for row in rows if row[end - 1 : end].isdigit()]
    assert len(counted) == 4 + 2 + 3 + 3 + 2 + 2 + 1
    assert f"mean of the folds {found['folds']['mean_auc']:.4f}, all images together" in "\n".join(lines)
    for row in found["shortcuts"]["rows"]:
        assert any(line.startswith(f"  {row['shortcut']}") and f"{row['auc']:.4f}" in line for line in lines)


def test_small_thresholds_can_be_used_as_printed(table):
    table = table.assign(prediction=table["prediction"] * 1e-5)
    found = evaluator.assess(table, resamples=20)
    printed = re.search(r"^At threshold (\S+) ", text_report.write(found), re.MULTILINE)[1]
    assert "e-0" in printed
    again = evaluator.assess(table, float(printed), resamples=20)["confusion"]["sensitivity"]
    assert again == found["confusion"]["sensitivity"]


def test_a_warning_names_the_shortcut(found):
    rows = [{**row, "warning": row["shortcut"] == "file size", "share": 0.7} for row in found["shortcuts"]["rows"]]
    text = text_report.write({**found, "shortcuts": {**found["shortcuts"], "rows": rows}})
    assert text.count("WARNING") == 1
    assert "WARNING: file size alone gives ROC AUC" in text


@pytest.mark.realdata
def test_a_real_competitors_predictions_have_the_published_figures(real_data):
    table = pd.read_csv(real_data / "predictions" / "oof" / "model_b.csv")
    labels = pd.read_csv(real_data / "isic2020" / "train_cdeotte.csv", keep_default_na=False).drop(columns="target")
    table = table.merge(labels.astype({"age_approx": str}), on="image_name")
    found = evaluator.assess(table.assign(fold=table["fold"].astype(int).astype(str)), resamples=100)
    assert round(found["summary"]["auc"], 4) == 0.8967
    folds = found["folds"]["rows"]
    assert [round(row["auc"], 4) for row in folds] == [0.8958, 0.8779, 0.8969, 0.8950, 0.9156]
    assert found["folds"]["mean_auc"] == pytest.approx(0.8962, abs=1e-4)
    # The size of the image tells most of it, and where it cannot the model knows less.
    size, _, metadata = found["shortcuts"]["rows"]
    assert size["warning"]
    assert 0.65 < size["share"] < 0.75
    assert 0.84 < size["model_within"] < 0.85
    assert not metadata["warning"]
    sizes = next(group["rows"] for group in found["groups"] if group["by"] == "image size")
    assert (sizes[0]["group"], sizes[0]["images"], sizes[0]["malignant"]) == ("6000x4000", 14277, 21)
    # Scores of 0.16 on average where 0.018 are malignant are no probabilities.
    assert found["calibration"]["in_the_large"] < -2
