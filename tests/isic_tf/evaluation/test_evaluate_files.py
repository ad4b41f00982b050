import json
import re
import subprocess
import sys

import pandas as pd
import pytest
from harness import ENVIRONMENT

from isic_tf import evaluation
from isic_tf.data import label_tables
from isic_tf.evaluation import evaluate_files, html_report, joined_tables, report_plots

LABELS = "image_name,patient_id,target\na,p,0\nb,p,1\nc,q,0\nd,,1\n"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "one.csv").write_text("image_name,prediction\nd,0.9\nc,0.2\nb,0.1\na,0.15\n")
    (tmp_path / "two.csv").write_text("image_name,prediction,fold\na,0.15,0\nb,0.5,0\n")
    return tmp_path


def test_each_file_gets_its_line_joined_by_name(files, capsys):
    for name in ("one.csv", "two.csv"):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(predictions=[str(files / name)], labels=str(files / "labels.csv"))
        )
    first, second = (line for line in capsys.readouterr().out.splitlines() if ".csv: " in line)
    # d beats both benign images, b neither: 2 of 4 pairs.
    assert "one.csv: ROC AUC 0.5000" in first
    assert "4 images, 2 malignant, 3 patients" in first
    assert "two.csv: ROC AUC 1.0000" in second


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + "a,p,0\n", "must label every image once, but repeats 1, for example a"),
        (LABELS.replace("a,p,0", "a,p,"), "must label every image, the target of a is blank"),
        (LABELS.replace("a,p,0", "a,p,benign"), "target must be 0 or 1, got 'benign'"),
        (
            LABELS.replace("a,p,0\n", ""),
            r"1 images of .*one.csv have no label in .*labels.csv \(first: a\); add their labels",
        ),
        ("image_name,target\na,1\n", "needs the columns image_name, patient_id, target"),
    ],
)
def test_labels_that_do_not_fit_are_refused(files, labels, message):
    (files / "labels.csv").write_text(labels)
    with pytest.raises(ValueError, match=message):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(predictions=[str(files / "one.csv")], labels=str(files / "labels.csv"))
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Directory with labels of 120 images and two prediction files of them, one in another order."""
    folder = tmp_path_factory.mktemp("made")
    names = [f"i{number}" for number in range(120)]
    labels = {"image_name": names, "patient_id": [f"p{number // 3}" for number in range(120)]}
    labels = pd.DataFrame({**labels, "target": [number % 2 for number in range(120)]})
    labels.assign(sex=["male", "female", ""] * 40).to_csv(folder / "labels.csv", index=False)
    first = pd.DataFrame(
        {"image_name": names, "prediction": [(number * 37 % 100 + number % 2 * 40) / 150 for number in range(120)]}
    )
    first.assign(fold=[number // 60 for number in range(120)]).to_csv(folder / "first.csv", index=False)
    second = first.assign(prediction=[(number * 37 % 100 + number % 2 * 20) / 150 for number in range(120)])
    second.sample(frac=1, random_state=0).to_csv(folder / "second.csv", index=False)
    return folder


def test_two_files_are_evaluated_and_compared_and_all_figures_written(made, tmp_path, capsys):
    paths = [str(made / name) for name in ("first.csv", "second.csv")]
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(
            predictions=paths, labels=str(made / "labels.csv"), output=str(tmp_path / "metrics.json"), threshold=0.4
        )
    )
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert [file["path"] for file in written["files"]] == paths
    first, second = (file["summary"]["auc"] for file in written["files"])
    for path, auc in zip(paths, (first, second), strict=True):
        assert f"{path}: ROC AUC {auc:.4f} [" in printed
    (comparison,) = written["comparisons"]
    assert comparison["difference"] == pytest.approx(first - second)
    assert f"{paths[0]} minus {paths[1]}, on the same images" in printed
    assert f"{first - second:+.4f}" in printed
    assert "DeLong, p " in printed
    assert written["files"][0]["confusion"]["threshold"] == 0.4
    assert "At threshold 0.4 (as given)" in printed
    assert [row["group"] for row in written["files"][0]["folds"]["rows"]] == ["0", "1"]
    assert written["files"][1]["folds"] is None


def test_file_sizes_come_from_records(made, record_set, made_up, tmp_path, capsys):
    table = pd.read_csv(made_up / "train.csv")[["image_name"]].assign(prediction=0.5)
    table.to_csv(tmp_path / "p.csv", index=False)
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(
            predictions=[str(tmp_path / "p.csv")],
            labels=str(made_up / "train.csv"),
            records=str(record_set / "train*.tfrec"),
        )
    )
    printed = capsys.readouterr().out
    assert "file size   " in printed
    # Known, but of too few images; without records there is none.
    assert "file size   not known" not in printed
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(predictions=[str(tmp_path / "p.csv")], labels=str(made_up / "train.csv"))
    )
    assert "file size   not known" in capsys.readouterr().out


def cells(text, heading):
    """Returns the cells of the rows that begin with a heading in any table of a report."""
    rows = re.findall(rf"<tr><th[^>]*>{re.escape(heading)}</th>(.*?)</tr>", text, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]


def test_the_report_shows_each_file_with_its_own_figures_and_differences(made, tmp_path):
    paths = [str(made / name) for name in ("first.csv", "second.csv")] + [str(tmp_path / "third.csv")]
    table = pd.read_csv(paths[0])
    table.assign(prediction=1 - table["prediction"]).to_csv(paths[2], index=False)
    labels = pd.read_csv(made / "labels.csv", keep_default_na=False)
    labels.assign(diagnosis=["seborrheic keratosis", "melanoma"] * 60).to_csv(tmp_path / "labels.csv", index=False)
    file, output = tmp_path / "report.html", tmp_path / "metrics.json"
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(
            predictions=paths, labels=str(tmp_path / "labels.csv"), output=str(output), report=str(file)
        )
    )
    text, written = file.read_text(), json.loads(output.read_text())
    shown = html_report.shorten_paths(paths)
    assert f"<h1>Evaluation of {shown[0]}</h1>" in text
    aucs = [file["summary"]["auc"] for file in written["files"]]
    assert len({round(auc, 2) for auc in aucs}) == 3
    for path, auc in zip(shown[1:], aucs[1:], strict=True):
        ((own, difference, *_),) = cells(text, path)
        assert own == f"{auc:.3f}"
        assert difference == f"{aucs[0] - auc:.4f}"
    joined = [
        joined_tables.join(path, "labels", label_tables.read_labels(str(tmp_path / "labels.csv"))) for path in paths
    ]
    curves = [
        shape
        for shape in report_plots.plot_predictions(written["files"][0], joined)["roc"]["shapes"]
        if "series" in shape["style"]
    ]
    assert len({shape["path"] for shape in curves}) == 3
    assert all(f'<path class="{shape["style"]}" d="{shape["path"]}"/>' in text for shape in curves)
    # Of the worst errors.
    assert "seborrheic keratosis" in text


def test_a_directory_without_a_run_is_refused_before_any_figure_is_computed(made, tmp_path, capsys):
    flags = {"report": str(tmp_path / "r.html"), "workdir": str(tmp_path)}
    with pytest.raises(ValueError, match="expected a run in .*, found no flags.txt"):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(
                predictions=[str(made / "first.csv")], labels=str(made / "labels.csv"), **flags
            )
        )
    (tmp_path / "flags.txt").write_text("--backbone=efficientnet-b0\n--image_size=32\n")
    with pytest.raises(ValueError, match=r"expected a trained fold in .*, found no fold\*/best.weights.h5"):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(
                predictions=[str(made / "first.csv")], labels=str(made / "labels.csv"), records="train*.tfrec", **flags
            )
        )
    assert "ROC AUC" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"threshold": 0.5, "specificity": 0.9},
            "threshold and specificity are mutually exclusive, got both; give one",
        ),
        ({"workdir": "run"}, "--workdir is shown in the report only; add --report, or remove --workdir"),
        ({"predictions": []}, r"expected one or more prediction files \(--predictions\), got none"),
        ({"output": "."}, "expected a file's path for --output, got the directory .; add a file name"),
        ({"records": "nothing*.tfrec"}, "no shards match 'nothing.*.tfrec'"),
    ],
)
def test_flags_that_do_not_fit_are_refused(made, change, message):
    with pytest.raises(ValueError, match=message):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(
                **{"predictions": [str(made / "first.csv")], "labels": str(made / "labels.csv"), **change}
            )
        )


def test_files_of_other_images_are_not_compared(files):
    with pytest.raises(
        ValueError, match=r"on the same images only: 2 only in .*one.csv \(c, d\); evaluate one at a time"
    ):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(
                predictions=[str(files / "one.csv"), str(files / "two.csv")], labels=str(files / "labels.csv")
            )
        )


def test_one_class_is_refused(files):
    (files / "two.csv").write_text("image_name,prediction\nb,0.1\nd,0.2\n")
    with pytest.raises(ValueError, match="ROC AUC needs benign and malignant images, all 2 have target 1"):
        evaluate_files.evaluate_files(
            evaluate_files.EvaluateConfig(
                predictions=[str(files / "two.csv")], labels=str(files / "labels.csv"), allow_missing=True
            )
        )


def test_the_command_starts_without_tensorflow():
    code = "import sys; import isic_tf.evaluate; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


@pytest.mark.parametrize("workdir", [None, "run"])
def test_what_libraries_write_while_the_report_is_imported_is_hidden(workdir, files, monkeypatch, capfd):
    lines = ["import os", "os.write(2, b'banner')", "check = write = lambda *_, **__: None"]
    (files / "html_report.py").write_text("\n".join(lines))
    monkeypatch.setattr(evaluation, "__path__", [str(files), *evaluation.__path__])
    monkeypatch.delitem(sys.modules, html_report.__name__)
    monkeypatch.delattr(evaluation, "html_report")
    names = {name: str(files / f"{name}.csv") for name in ("one", "labels")}
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(
            predictions=(names["one"],), labels=names["labels"], report=str(files / "r.html"), workdir=workdir
        )
    )
    assert capfd.readouterr().err == ""
    assert sys.modules[html_report.__name__].__file__ == str(files / "html_report.py")
