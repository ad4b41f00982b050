import json

import numpy as np
import pandas as pd
import pytest

from isic_tf.postprocessing import calibrate_run, class_calibration
from tfrecord_tools.io import atomic_write

COUNT = 400


def make_run(folder, target, names, positive, probabilities, truth, table):
    """A run whose out-of-fold predictions are given, and its table."""
    places = [names.index(name) for name in positive]
    is_softmax = not target.startswith("columns")
    chosen = probabilities[:, places]
    images = pd.DataFrame({"image_name": [f"i{number}" for number in range(len(truth))]})
    oof = images.assign(prediction=chosen.sum(axis=1) if is_softmax else chosen.max(axis=1))
    oof[[f"probability_{name}" for name in names]] = probabilities
    oof["fold"] = np.arange(len(truth)) % 3
    oof["target"] = truth[:, places].max(axis=1)
    oof.to_csv(folder / "oof.csv", index=False)
    # Other images too, and another order.
    other = images.assign(**table)[::-1]
    other.to_csv(folder / "table.csv", index=False)
    flags = {"target": target, "positive_classes": ",".join(positive), "table": str(folder / "table.csv")}
    if target.startswith("column:"):
        flags["classes"] = ",".join(names)
    atomic_write.write_text(str(folder / "flags.txt"), "".join(f"--{name}={text}\n" for name, text in flags.items()))


def calibrate(folder, **options):
    config = {"workdir": str(folder), "method": "temperature", **options}
    result = calibrate_run.calibrate(calibrate_run.CalibrateConfig(**config))
    saved = json.loads((folder / "calibration.json").read_text())
    assert saved.get("classes") == result.calibration.get("classes")
    return saved


@pytest.fixture
def softmax(tmp_path):
    """A run of three classes whose logits are twice as far apart as they should be."""
    rng = np.random.default_rng(0)
    right = rng.dirichlet(np.ones(3), COUNT)
    codes = (right.cumsum(axis=1) > rng.random((COUNT, 1))).argmax(axis=1)
    wrong = right**2 / (right**2).sum(axis=1, keepdims=True)
    names = ["bcc", "mel", "nv"]
    make_run(tmp_path, "column:dx", names, ["bcc", "mel"], wrong, np.eye(3)[codes], {"dx": np.array(names)[codes]})
    return tmp_path


def test_a_temperature_is_fitted_to_the_true_classes(softmax, capsys):
    classes = calibrate(softmax)["classes"]
    assert classes["names"] == ["bcc", "mel", "nv"]
    assert classes["temperature"] == pytest.approx(2, rel=0.15)
    assert classes["nested"]["calibrated"] < classes["nested"]["none"] - 0.1
    out = capsys.readouterr().out
    assert "3 classes: temperature " in out
    assert "note: the uncalibrated classes" not in out


def test_a_calibration_that_is_no_better_is_noted(softmax, capsys):
    table = pd.read_csv(softmax / "oof.csv")
    columns = ["probability_bcc", "probability_mel", "probability_nv"]
    # Right for the classes, and nonsense for the single prediction.
    table[columns] = pd.read_csv(softmax / "table.csv")[::-1]["dx"].to_numpy()[:, None] == ["bcc", "mel", "nv"]
    table.astype(dict.fromkeys(columns, float)).assign(prediction=0.5).to_csv(softmax / "oof.csv", index=False)
    calibrate(softmax)
    assert "note: the uncalibrated classes have the lower log loss" in capsys.readouterr().out


def test_another_table_can_be_named(softmax):
    expected = calibrate(softmax)["classes"]
    (softmax / "table.csv").rename(softmax / "other.csv")
    assert calibrate(softmax, table=str(softmax / "other.csv"))["classes"] == expected


def test_without_the_true_classes_only_the_single_prediction_is_calibrated(softmax, capsys):
    (softmax / "table.csv").unlink()
    assert "classes" not in calibrate(softmax)
    assert "name the CSV file that has the column dx with --table" in capsys.readouterr().out
    (softmax / "table.csv").write_text("image_name,other\ni0,1\n")
    assert "classes" not in calibrate(softmax)


def test_each_of_several_labels_is_calibrated(tmp_path, capsys):
    rng = np.random.default_rng(1)
    right = rng.random((COUNT, 2))
    truth = (rng.random((COUNT, 2)) < right).astype(int)
    # All logits of B are 2 too high; C is never there.
    wrong = np.stack([right[:, 0], 1 / (1 + np.exp(-2) * (1 / right[:, 1] - 1)), np.full(COUNT, 0.1)], axis=1)
    truth = np.column_stack([truth, np.zeros(COUNT, int)])
    make_run(
        tmp_path, "columns:A,B,C", ["A", "B", "C"], ["A", "B"], wrong, truth, dict(zip("ABC", truth.T, strict=True))
    )
    classes = calibrate(tmp_path, method="platt")["classes"]
    first, second, third = classes["each"]
    assert (first["slope"], first["intercept"]) == (pytest.approx(1, abs=0.2), pytest.approx(0, abs=0.2))
    assert (second["slope"], second["intercept"]) == (pytest.approx(1, abs=0.2), pytest.approx(-2, abs=0.3))
    assert third["method"] == "none"
    assert "note: C is not calibrated" in capsys.readouterr().out
    assert classes["nested"]["calibrated"] < classes["nested"]["none"] - 0.1
    chosen = calibrate(tmp_path, method="all")["classes"]["each"]
    assert chosen[0]["method"] in ("none", "temperature", "platt")
    assert chosen[1]["method"] == "platt"


def test_diagnoses_come_from_the_labels(tmp_path):
    names = [*class_calibration.targets.CLASSES]
    rng = np.random.default_rng(2)
    codes = rng.choice([0, 1, 3], COUNT)
    probabilities = (np.eye(9)[codes] + 0.2) / 2.8
    labels = {"diagnosis": np.array(names)[codes], "patient_id": np.arange(COUNT), "target": (codes == 1).astype(int)}
    make_run(tmp_path, "diagnosis", names, ["melanoma"], probabilities, np.eye(9)[codes], labels)
    assert "classes" not in calibrate(tmp_path)
    assert calibrate(tmp_path, labels=str(tmp_path / "table.csv"))["classes"]["temperature"] < 0.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("i5,", "i5,x", r"expected one of the classes bcc, mel, nv .* got 1 'x.*first: i5"),
        ("i5,", "", "1 blank or not in the table"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(softmax, old, new, message):
    lines = (softmax / "table.csv").read_text().splitlines()
    lines = [line.replace(old, new) if line.startswith(old) else line for line in lines]
    (softmax / "table.csv").write_text("\n".join(line for line in lines if "," in line) + "\n")
    with pytest.raises(ValueError, match=message):
        calibrate(softmax)


def test_other_targets_and_other_classes_are_refused(softmax):
    table = pd.read_csv(softmax / "table.csv")
    table.assign(dx=table["dx"].replace("mel", "nv")).to_csv(softmax / "table.csv", index=False)
    with pytest.raises(ValueError, match="for the positive classes bcc, mel of the run, but those of .* differ from"):
        calibrate(softmax)
    oof = pd.read_csv(softmax / "oof.csv")
    oof.rename(columns={"probability_nv": "probability_x"}).to_csv(softmax / "oof.csv", index=False)
    with pytest.raises(ValueError, match="expected the classes bcc, mel, nv of the run, got bcc, mel, x"):
        calibrate(softmax)
    oof[["image_name", "prediction", "fold", "target"]].to_csv(softmax / "oof.csv", index=False)
    assert "classes" not in calibrate(softmax)
    with pytest.raises(ValueError, match="--table only with predictions of several classes"):
        calibrate(softmax, table="table.csv")
