import json
import re

import pytest
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.patient_context import second_stage
from isic_tf.serving import model_card, run_parts
from tfrecord_tools.io import atomic_write, record_index

FLAGS = {
    "backbone": "efficientnet-b0",
    "image_size": 64,
    "metadata": "age,sex,site",
    "pooling": "gem",
    "target": "diagnosis",
    "data_dir": "records",
    "keep_weights": "best",
}
METRICS = {"images": 30, "malignant": 4, "patients": 9, "auc": 0.8125, "partial_auc": 0.1}
INTERVAL = {"auc_low": 0.75, "auc_high": 0.875}
NO_INTERVAL = {"auc_low": None, "auc_high": None}


@pytest.fixture
def run(tmp_path):
    """A run of two folds, the first without an interval; its weights are empty files."""
    lines = "".join(f"--{name}={value}\n" for name, value in FLAGS.items())
    atomic_write.write_text(str(tmp_path / "flags.txt"), f"# data_sha256=abc\n{lines}")
    for fold, interval in enumerate((NO_INTERVAL, INTERVAL)):
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "best.weights.h5"), "")
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "metrics.json"), json.dumps({**METRICS, **interval}))
    return tmp_path


def card(workdir, format="saved_model", lines=(("form",), ("float32",)), images=0, parts=run_parts.NOTHING, **flags):
    paths = run_directory.trained_folds(str(workdir))
    found = {**run_directory.read_network(str(workdir)), **flags}
    return model_card.render(model_card.collect(str(workdir), paths, 1234, found, format, lines, images, parts))


def test_the_card_describes_the_run_and_its_metrics(run):
    text = card(run)
    assert "not a medical device" in text
    assert "| Network | efficientnet-b0, 1,234 parameters per fold, images of 64 x 64 px |" in text
    assert "| Folds averaged | fold0, fold1 |" in text
    assert "| fold0 | 30 | 4 | 9 | 0.8125 | no interval: too few patients | 0.1000 |" in text
    assert "| fold1 | 30 | 4 | 9 | 0.8125 | 0.7500 to 0.8750 | 0.1000 |" in text
    assert "all together" not in text
    assert "so the metrics are slightly optimistic" in text
    assert '| `sex` | string \\[n\\]: male, female, or "" where unknown |' in text
    assert 'age_approx=tf.constant([55], tf.int64), sex=tf.constant(["male"])' in text
    assert "| pooling | gem |" in text
    assert "CC BY-NC 4.0" in text
    assert "Not measured: no records were given" in text
    assert "build`: unknown. The" in text
    assert "| `sex` | int32 [1]: 0 male, 1 female, or -1 where unknown |" in card(run, "tflite")
    assert f"| Made with | isic-tf, TensorFlow {tf.__version__} |" in text
    assert re.search(r"^\| Exported \| \d{4}-\d\d-\d\d \(UTC\), as saved\\_model: float32 \|$", text, re.MULTILINE)
    assert "| data\\_sha256 | abc |" in text


def test_the_card_describes_the_inputs_of_a_patient(run):
    numbers = {"width (mm)": [2.0, 1.0]}
    stage = second_stage.Stage("boost", 1, False, True, [], None, None, numbers)
    text = card(run, metadata="sex", parts=run_parts.RunParts(stage=stage))
    assert "The signature `patient` takes the files of one patient's images, `patient_pixels` prepared images." in text
    assert "what a patient-context model (boost) says of each image beside the\nothers, a probability" in text
    assert "| `age_approx` | int64 \\[n\\]: the age in years, 0 to 120, or -1 where unknown |" in text
    assert "| `width__mm_` | float64 \\[n\\]: the number in the column width (mm), as in the table" in text
    rank = card(run, metadata="", parts=run_parts.RunParts(stage=stage._replace(method="rank", numbers={})))
    assert (
        "a number from 0 to 1\nthat only ranks the images of one patient. Besides the images they take nothing." in rank
    )
    assert "context_probability" not in card(run)


def test_values_cannot_break_the_card(run):
    text = card(run, data_dir="<script>alert(1)</script>|a`b\n# c&")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|a\\`b \\# c&amp; |" in text


AWKWARD = 'a|b: "c" #<script>'


def test_the_hub_reads_the_metadata_of_the_card(run, tmp_path):
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    from huggingface_hub import repocard_data

    (run / "metrics.json").write_text(json.dumps({"folds": 2, **METRICS, **INTERVAL, "auc": 0.8}))
    own = {"target": "column:dx", "classes": f"{AWKWARD},nv", "positive_classes": AWKWARD, "data_dir": AWKWARD}
    text = card(run, **own)
    (tmp_path / "README.md").write_text(text)
    found = hub.ModelCard.load(tmp_path / "README.md")
    assert found.text.lstrip().startswith("# Model card: efficientnet-b0")
    assert (found.data.license, found.data.library_name) == ("unknown", "tf-keras")
    assert (found.data.pipeline_tag, found.data.metrics) == ("image-classification", ["roc_auc"])
    [result] = found.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_name) == ("roc_auc", 0.8, AWKWARD)
    assert result.metric_name.endswith("all together, 95 % interval over patients 0.7500 to 0.8750")
    assert AWKWARD in result.task_name
    written = hub.metadata_load(tmp_path / "README.md")
    assert written["model-index"] == repocard_data.eval_results_to_model_index(found.data.model_name, [result])
    assert hub.ModelCardData(**written).to_dict() == written


def test_names_of_classes_and_columns_cannot_break_the_card(run):
    own = {"target": "column:dx", "classes": f"{AWKWARD},nv", "positive_classes": AWKWARD}
    text = card(run, metadata=f"sex,{AWKWARD}", **own).split("---\n", 2)[2]
    assert "<script>" not in text
    escaped = 'a\\|b: "c" \\#&lt;script&gt;'
    assert f"2 classes of its own ({escaped}, nv); the prediction is that of {escaped} |" in text
    assert f"float32 \\[n\\]: the number in the column {escaped}, as in the table of the training" in text


def test_figures_by_group_are_tables(run):
    (run / "metrics.json").write_text(json.dumps({"folds": 2, **METRICS, **INTERVAL}))
    row = {"images": 20, "malignant": 3, "patients": 8, "note": "", **INTERVAL, "auc": 0.75}
    groups = [{"by": "source", "rows": [{"group": "a|b", **row}]}, {"by": "name", "rows": [{"group": "Jane", **row}]}]
    shortcuts = {"rows": [{"shortcut": "image size", **row}]}
    figures = {"summary": METRICS, "groups": groups, "shortcuts": shortcuts}
    assert "Figures by group are not known here" in card(run)
    (run / "evaluation.json").write_text(json.dumps({"files": [figures]}))
    text = card(run)
    assert "| source | a\\|b | 20 | 3 | 8 | 0.7500 | 0.7500 to 0.8750 |" in text
    assert "| image size | 0.7500 | 0.7500 to 0.8750 |" in text
    assert "Jane" not in text
    assert "Figures by group are not known here" not in text


def test_training_records_are_counted(run, record_set):
    assert re.search(
        r"Their training records \| \d+ images, \d+ malignant, \d+ patients \|", card(run, data_dir=str(record_set))
    )
    assert "Their training records | not counted: the records are elsewhere |" in card(run)


def test_no_name_of_a_patient_or_an_image_is_in_the_card(run, record_set):
    text = card(run, data_dir=str(record_set), images=5)
    index = record_index.read_index(str(record_set), "train")
    names = {*index["image_name"], *index["patient_id"]}
    assert len(names) > 10
    assert not [name for name in names if name in text]


def test_the_card_names_no_directory_of_the_training_machine(run):
    paths = {"data_dir": "/home/jane/sets/ham,/home/jane/isic", "init_from": "/home/jane/runs/b0", "cache": "~/jane/c"}
    text = card(run, **paths, augment_policy="/home/jane/strong.json")
    assert "jane" not in text
    assert "| Record sets | ham,isic |" in text
    assert "| Initial weights | b0 |" in text


def test_the_card_describes_how_the_training_images_were_made(run, record_set):
    text = card(run, data_dir=str(record_set))
    assert "resize=stretch, trim\\_border=False, color\\_constancy=none" in text
    assert "build`: resize=crop. The" in card(run, data_dir=str(record_set), resize="crop")


def test_the_metrics_of_several_folds_together_have_a_row(run):
    (run / "metrics.json").write_text(json.dumps({"folds": 2, **METRICS, **INTERVAL, "auc": 0.8}))
    assert "| all together | 30 | 4 | 9 | 0.8000 | 0.7500 to 0.8750 | 0.1000 |" in card(run)


def test_folds_without_metrics_are_listed(run):
    for fold in (0, 1):
        (run / f"fold{fold}" / "metrics.json").unlink()
    text = card(run)
    assert "None: nothing was held out, or no fold is trained to the end." in text
    assert "Still in training when exported: fold0, fold1." in text
    # A run that holds nothing out has metrics without a ROC AUC.
    (run / "fold0" / "metrics.json").write_text(json.dumps({"epochs": 2, "loss": 0.25}))
    text = card(run)
    assert "None: nothing was held out, or no fold is trained to the end." in text
    assert "Still in training when exported: fold1." in text


@pytest.mark.parametrize("content", ["[", "[]", b"\xff"])
def test_damaged_metrics_are_refused(run, content):
    path = run / "fold1" / "metrics.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match="fold1/metrics.json does not hold the metrics of a fold .*; restore it"):
        card(run)


def test_only_the_weights_of_the_best_epoch_make_the_metrics_optimistic(run):
    assert "optimistic" not in card(run, keep_weights="last")


def test_a_comparison_is_a_table(run):
    lines = [["form", "size, MB"], ["run", ""], ["float32", "1.5"], ["int8", "0.4"]]
    text = card(run, "tflite", lines, 12)
    assert "Measured on 12 records." in text
    assert "| form | size, MB |\n|---|---|\n| run |  |\n| float32 | 1.5 |\n| int8 | 0.4 |\n" in text
    assert "as tflite: float32, int8 |" in text


def test_the_card_is_written_beside_the_model(run, tmp_path):
    paths = run_directory.trained_folds(str(run))
    found = run_directory.read_network(str(run))
    facts = model_card.collect(str(run), paths, 7, found, "tflite", [["form"], ["int8"]], 0)
    model_card.write(str(tmp_path / "out"), facts)
    assert (tmp_path / "out" / "model_card.md").read_text() == model_card.render(facts)
