"""Classes of the user's own table: trained on, resumed, predicted, explained and exported."""

import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import RECIPE, interrupt_second_epoch, predicted, tiny_trunk

from isic_tf.artifacts import prediction_files
from isic_tf.models import backbones
from isic_tf.serving import export_run
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig
from isic_tf.visualization import grad_cam_sheet
from tfrecord_tools.io import record_index

CLASSES = ("BCC", "MEL", "NV")
COLUMNS = [f"probability_{name}" for name in CLASSES]
LABELS = {"target": "columns:MEL,Ulcer", "positive_classes": "MEL,Ulcer"}


@pytest.fixture(autouse=True, scope="module")
def tiny_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        yield


@pytest.fixture(scope="module")
def table(record_set, tmp_path_factory):
    """A table of three classes, which the target of the records does not give, and of two labels."""
    names = record_index.read_index(str(record_set), "train")["image_name"]
    places = np.arange(len(names)) % 3
    rows = {"image": names + ".jpg", "dx": np.array(CLASSES)[places], "MEL": (places == 1) * 1, "Ulcer": places % 2}
    path = tmp_path_factory.mktemp("table") / "own.csv"
    pd.DataFrame(rows)[::-1].to_csv(path, index=False)
    return path


def train(record_set, workdir, table, **changes):
    options = {"target": "column:dx", "positive_classes": "MEL,BCC", "epochs": 1, "strategy": "default"}
    options |= {"augment_policy": "none", "dropout": 0.0}
    given = {"data_dir": str(record_set), "workdir": str(workdir), "table": str(table), **RECIPE, **options, **changes}
    loop.train(TrainConfig(**given))
    return pd.read_csv(workdir / "fold0" / "oof.csv").set_index("image_name")


FOLDS = {"fold": "all", "epochs": 2, "metadata": "sex", "malignant_oversampling": 2}


@pytest.fixture(scope="module")
def run(record_set, table, tmp_path_factory):
    """A run of two folds on two devices, which was interrupted, and went on with the table in another place."""
    workdir = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_second_epoch(patch)
        train(record_set, workdir, table, **FOLDS, strategy="mirrored")
    moved = tmp_path_factory.mktemp("moved") / "own.csv"
    moved.write_bytes(table.read_bytes())
    train(record_set, workdir, moved, **FOLDS, strategy="mirrored")
    return workdir


def read_flags(workdir):
    return (workdir / "flags.txt").read_text().splitlines()


def test_out_of_fold_predictions_hold_a_probability_for_each_class(run, table):
    oof = pd.read_csv(run / "oof.csv")
    assert list(oof) == ["image_name", "prediction", *COLUMNS, "fold", "target"]
    assert oof[COLUMNS].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    assert oof["prediction"].to_numpy() == pytest.approx((oof["probability_MEL"] + oof["probability_BCC"]), abs=1e-6)
    own = pd.read_csv(table).assign(image_name=lambda rows: rows["image"].str.removesuffix(".jpg"))
    expected = own.set_index("image_name").loc[oof["image_name"], "dx"] != "NV"
    assert oof["target"].tolist() == expected.astype(int).tolist()
    facts = json.loads((run / "oof.csv.json").read_text())
    assert facts["classes"] == list(CLASSES)
    assert facts["positive_classes"] == ["BCC", "MEL"]
    assert facts["multi_label"] is False
    assert facts["target"] == "column:dx"
    assert {"--classes=BCC,MEL,NV", "--positive_classes=BCC,MEL"} <= set(read_flags(run))


def test_records_are_predicted_as_in_training_with_the_table_gone(run, record_set, tmp_path):
    found = predicted(run, tmp_path / "again.csv", records=f"{record_set}/train*.tfrec", out_of_fold=True)
    oof = pd.read_csv(run / "oof.csv").set_index("image_name").loc[found.index]
    assert list(found) == ["prediction", *COLUMNS, "fold", "target"]
    # The index of the records does not know which classes are positive.
    assert found["target"].tolist() == oof["target"].tolist()
    assert np.abs(found[["prediction", *COLUMNS]] - oof[["prediction", *COLUMNS]]).max().max() < 1e-6
    table = predicted(run, tmp_path / "tta.csv", records=f"{record_set}/test*.tfrec", tta=3)
    assert table[COLUMNS].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    assert table["prediction"].to_numpy() == pytest.approx(
        table["probability_MEL"] + table["probability_BCC"], abs=1e-6
    )
    facts = json.loads((tmp_path / "tta.csv.json").read_text())
    assert facts["classes"] == list(CLASSES)
    assert facts["target"] == "column:dx"
    kept = prediction_files.read_prediction_file(str(tmp_path / "tta.csv"), with_classes=True)
    assert list(kept) == ["image_name", "prediction", *COLUMNS]


def test_a_run_goes_on_with_the_same_classes_only(run, record_set, table, tmp_path):
    with pytest.raises(ValueError, match="holds a run of another configuration .*positive_classes was BCC,MEL, is MEL"):
        train(record_set, run, table, **FOLDS, positive_classes="MEL")
    renamed = tmp_path / "renamed.csv"
    renamed.write_text(table.read_text().replace("NV", "nevus"))
    with pytest.raises(
        ValueError, match="another configuration .classes was BCC,MEL,NV, is BCC,MEL,nevus, data_sha256"
    ):
        train(record_set, run, renamed, **FOLDS)


def test_two_devices_learn_several_labels_as_one(record_set, table, tmp_path):
    options = {"learning_rate": 1e-3, "loss": "focal", **LABELS}
    one = train(record_set, tmp_path / "one", table, **options)
    two = train(record_set, tmp_path / "two", table, strategy="mirrored", **options)
    assert np.abs(one - two).max().max() < 1e-4
    assert list(one) == ["prediction", "probability_MEL", "probability_Ulcer", "fold", "target"]
    assert one["prediction"].tolist() == one[["probability_MEL", "probability_Ulcer"]].max(axis=1).tolist()


def test_patient_context_corrects_the_score_and_the_classes_follow(record_set, table, tmp_path):
    oof = train(record_set, tmp_path / "run", table, context="set", bag_size=4, global_batch_size=8)
    assert oof["prediction"].to_numpy() == pytest.approx(oof["probability_MEL"] + oof["probability_BCC"], abs=1e-6)
    found = predicted(tmp_path / "run", tmp_path / "again.csv", records=f"{record_set}/train*.tfrec").loc[oof.index]
    assert np.abs(found[["prediction", *COLUMNS]] - oof[["prediction", *COLUMNS]]).max().max() < 1e-5


def test_a_class_is_explained(run, record_set, tmp_path):
    options = {"workdir": str(run), "records": f"{record_set}/train*.tfrec", "images": 2}
    for name in ("", "nv"):
        output = str(tmp_path / f"sheet{name}.png")
        grad_cam_sheet.explain(grad_cam_sheet.ExplainConfig(**options, output=output, class_=name))
    assert (tmp_path / "sheet.png").read_bytes() != (tmp_path / "sheetnv.png").read_bytes()
    with pytest.raises(
        ValueError, match="expected one of the classes of the run .BCC, MEL, NV., got 'SCC'; name another"
    ):
        grad_cam_sheet.explain(grad_cam_sheet.ExplainConfig(**options, output=output, class_="SCC"))


def test_an_exported_model_returns_the_probability_of_each_class(run, record_set, tmp_path, capsys):
    records = f"{record_set}/test*.tfrec"
    for form in ("saved_model", "tflite"):
        config = {"workdir": str(run), "output": str(tmp_path / form), "records": records, "format": form}
        result = export_run.export(export_run.ExportConfig(**config))
        assert result.comparison["difference"].max() < 1e-5
        card = " ".join((tmp_path / form / "model_card.md").read_text().split())
        assert "3 classes of its own (BCC, MEL, NV); the prediction is that of BCC or MEL" in card
        assert (
            "`probabilities` is float32 [n, 3]: the mean probability of each class, in the order BCC, MEL, NV." in card
        )
    outputs = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"].structured_outputs
    assert {name: spec.shape.rank for name, spec in outputs.items()} == {"prediction": 1, "probabilities": 2}


def test_a_table_that_leaves_an_image_out_is_refused_before_anything_is_written(record_set, table, tmp_path):
    rows = pd.read_csv(table)
    rows.iloc[1:].to_csv(tmp_path / "less.csv", index=False)
    name = rows["image"].iloc[0].removesuffix(".jpg")
    message = f"one of the classes BCC, MEL, NV in the column dx .* got 1 blank or not in the table .first: {name}."
    with pytest.raises(ValueError, match=message):
        train(record_set, tmp_path / "run", tmp_path / "less.csv")
    with pytest.raises(ValueError, match="expected --table=FILE.csv with --target=column:dx"):
        loop.train(TrainConfig(data_dir=str(record_set), workdir="w", target="column:dx", **RECIPE))
    assert not (tmp_path / "run").exists()
