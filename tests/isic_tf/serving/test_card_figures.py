import json

import pytest

from isic_tf.serving import card_figures
from tfrecord_tools import errors
from tfrecord_tools.io import record_index

METRICS = {"images": 30, "auc": 0.8125}
ROW = {"images": 20, "malignant": 3, "patients": 8, "auc": 0.75, "auc_low": 0.5, "auc_high": 1.0, "note": ""}
SMALL = {"images": 2, "malignant": 0, "patients": 2, "auc": None, "auc_low": None, "auc_high": None}


def write(folder, **changes):
    """Writes the figures of `isic_tf.evaluate --output`, as far as the card reads them."""
    groups = [
        {"by": "sex", "rows": [{"group": "female", **ROW}, {"group": "male", **SMALL, "note": "too few images"}]},
        {"by": "patient_id", "rows": [{"group": "Jane Doe", **ROW}], "gap": {}},
        {"by": "source", "rows": [{"group": "/home/jane/ham", **ROW}]},
    ]
    shortcuts = {"rows": [{"shortcut": "image size", **ROW}]}
    figures = {"summary": METRICS, "groups": groups, "shortcuts": shortcuts, **changes}
    (folder / "evaluation.json").write_text(json.dumps({"files": [figures], "comparisons": []}))


def test_groups_and_shortcuts_have_figures_and_no_names_of_people(tmp_path):
    write(tmp_path)
    found = card_figures.read_evaluation(str(tmp_path), METRICS)
    rows = [[row["by"], row["name"], row["images"], row["auc"], row["interval"]] for row in found["groups"]]
    assert rows == [
        ["sex", "female", 20, "0.7500", "0.5000 to 1.0000"],
        ["sex", "male", 2, "?", "too few images"],
        ["source", "ham", 20, "0.7500", "0.5000 to 1.0000"],
    ]
    assert [(row["name"], row["auc"]) for row in found["shortcuts"]] == [("image size", "0.7500")]


@pytest.mark.parametrize("summary", [{"images": 31, "auc": 0.8125}, {"images": 30, "auc": 0.8126}])
def test_an_evaluation_of_other_predictions_is_left_out_with_a_note(tmp_path, capsys, caplog, summary):
    write(tmp_path, summary=summary)
    with caplog.at_level("WARNING"):
        assert card_figures.read_evaluation(str(tmp_path), METRICS) == {"groups": [], "shortcuts": []}
    assert "evaluation.json is not of this run's out-of-fold predictions" in caplog.text + capsys.readouterr().out


def test_a_run_without_an_evaluation_has_no_groups(tmp_path):
    assert card_figures.read_evaluation(str(tmp_path), METRICS) == {"groups": [], "shortcuts": []}


@pytest.mark.parametrize("content", ["[", "[]", "{}", '{"files": []}', '{"files": [{"summary": 1}]}', "\udcff"])
def test_a_damaged_evaluation_is_refused(tmp_path, content):
    (tmp_path / "evaluation.json").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(errors.CorruptRecordError, match="evaluation.json does not hold what isic_tf.evaluate --output"):
        card_figures.read_evaluation(str(tmp_path), METRICS)


def test_training_records_are_counted_where_they_are(record_set, tmp_path):
    index = record_index.read_index(str(record_set), "train")
    malignant, patients = (index["target"] == 1).sum(), index["patient_id"].nunique()
    assert malignant > 0
    text = f"{len(index)} images, {malignant} malignant, {patients} patients"
    assert card_figures.count_records(str(record_set)) == text
    assert card_figures.count_records(f"{record_set},{tmp_path}") == ""
    assert card_figures.count_records("") == ""
