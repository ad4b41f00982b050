"""Numeric columns of the user's own table: standardized by each fold's training images, whatever is done with a run."""

import numpy as np
import pandas as pd
import pytest
from harness import RECIPE, interrupt_second_epoch, make_config, predicted, tiny_trunk

from isic_tf.evaluation import failure_cases
from isic_tf.models import backbones, classifiers, standardization
from isic_tf.models.config import read_model_config
from isic_tf.patient_context import lesion_features, second_stage
from isic_tf.serving import export_run
from isic_tf.training import config_checks, loop
from isic_tf.training.config import TrainConfig
from isic_tf.visualization import grad_cam_sheet
from tfrecord_tools.io import record_index

COLUMNS = ["tbp_lv_areaMM2", "tbp_lv_H"]
METADATA = "tbp_lv_areaMM2,sex,tbp_lv_H"


@pytest.fixture(autouse=True, scope="module")
def tiny_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        yield


@pytest.fixture(scope="module")
def table(record_set, tmp_path_factory):
    """Numbers of all images, with every fifth area unknown, and no row of the last test image."""
    names = [*record_index.read_index(str(record_set), "train")["image_name"]]
    test = [*record_index.read_index(str(record_set), "test")["image_name"]]
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"isic_id": [*names, *test[:-1]]})
    rows["tbp_lv_H"] = rng.normal(0.5, 0.1, len(rows))
    rows["tbp_lv_areaMM2"] = np.where(rows.index % 5 == 0, np.nan, rng.normal(2000, 500, len(rows)))
    path = tmp_path_factory.mktemp("table") / "own.csv"
    rows[::-1].to_csv(path, index=False)
    return path


def train(record_set, workdir, table, **changes):
    options = {"metadata": METADATA, "epochs": 2, "strategy": "default", "dropout": 0.0, "augment_policy": "none"}
    given = {"data_dir": str(record_set), "workdir": str(workdir), "table": str(table), **RECIPE, **options, **changes}
    loop.train(TrainConfig(**given))
    return pd.read_csv(workdir / "oof.csv").set_index("image_name")


@pytest.fixture(scope="module")
def run(record_set, table, tmp_path_factory):
    """A run of two folds that was interrupted, and went on."""
    workdir = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_second_epoch(patch)
        train(record_set, workdir, table, fold="all", ema=0.9)
    train(record_set, workdir, table, fold="all", ema=0.9)
    return workdir


def read_standards(workdir, fold):
    network = classifiers.build_from_config(read_model_config(workdir), f"{workdir}/fold{fold}/best.weights.h5")
    return standardization.find_layer(network).get_weights()


def test_each_fold_holds_the_numbers_of_its_training_images(run, record_set, table):
    index = record_index.read_index(str(record_set), "train")
    own = pd.read_csv(table).set_index("isic_id")
    for fold in (0, 1):
        known = own.loc[index.loc[index["fold"] != fold, "image_name"], COLUMNS]
        mean, spread = read_standards(run, fold)
        # To the last digit, though the weights that are kept are moving averages.
        assert mean.tolist() == known.mean().astype(np.float32).tolist()
        assert spread.tolist() == known.std(ddof=0).astype(np.float32).tolist()


def test_a_run_is_predicted_as_it_was_validated_and_needs_the_table(run, record_set, table, tmp_path):
    records = f"{record_set}/train*.tfrec"
    found = predicted(run, tmp_path / "again.csv", records=records, table=str(table), out_of_fold=True)
    oof = pd.read_csv(run / "oof.csv").set_index("image_name").loc[found.index]
    assert np.abs(found["prediction"] - oof["prediction"]).max() < 1e-6
    changed = tmp_path / "changed.csv"
    pd.read_csv(table).assign(tbp_lv_H=0.9).to_csv(changed, index=False)
    other = predicted(run, tmp_path / "other.csv", records=records, table=str(changed), out_of_fold=True)
    assert np.abs(other["prediction"] - oof["prediction"]).max() > 1e-3
    with pytest.raises(
        ValueError, match=f"expected --table=FILE.csv with .* {', '.join(COLUMNS)}, which the model was"
    ):
        predicted(run, tmp_path / "none.csv", records=records)


def test_a_patient_context_model_takes_its_own_columns_from_the_table(run, record_set, table, tmp_path, few_trees):
    rng = np.random.default_rng(0)
    numbers = pd.DataFrame({"diameter": rng.normal(5, 2, 80)})
    given = lesion_features.gather(rng.normal(size=(80, 1)), np.arange(80) // 8, pd.DataFrame(index=range(80)))
    stage = second_stage.fit_stage(given._replace(numbers=numbers), np.arange(80) % 2, second_stage.StageOptions())
    second_stage.save_stage(stage, str(tmp_path / "stage"), {})
    given = {"records": f"{record_set}/test*.tfrec", "context": str(tmp_path / "stage")}
    wider = tmp_path / "wider.csv"
    pd.read_csv(table).assign(diameter=lambda rows: rng.normal(5, 2, len(rows))).to_csv(wider, index=False)
    found = predicted(run, tmp_path / "found.csv", table=str(wider), **given)
    assert list(found) == ["prediction", "stage_one"]
    with pytest.raises(ValueError, match="has no column diameter, only isic_id, tbp_lv_H, tbp_lv_areaMM2"):
        predicted(run, tmp_path / "none.csv", table=str(table), **given)


def test_an_image_that_the_table_lacks_is_predicted_as_one_with_unknown_values(
    run, record_set, table, tmp_path, capsys
):
    given = {"records": f"{record_set}/test*.tfrec", "tta": 2}
    found = predicted(run, tmp_path / "test.csv", table=str(table), **given)
    assert f"1 of {len(found)} images are not in {table}" in capsys.readouterr().out
    last = record_index.read_index(str(record_set), "test")["image_name"].iloc[-1]
    filled = tmp_path / "filled.csv"
    row = pd.DataFrame({"isic_id": [last]})
    pd.concat([pd.read_csv(table), row]).to_csv(filled, index=False)
    assert predicted(run, tmp_path / "same.csv", table=str(filled), **given).equals(found)


def test_a_run_goes_on_with_the_same_table_only(run, record_set, table, tmp_path):
    changed = tmp_path / "changed.csv"
    pd.read_csv(table).assign(tbp_lv_H=lambda rows: rows["tbp_lv_H"] + 1).to_csv(changed, index=False)
    with pytest.raises(ValueError, match="another configuration .data_sha256"):
        train(record_set, run, changed, fold="all", ema=0.9)


def test_a_run_from_the_weights_of_another_standardizes_by_its_own_images(run, record_set, table, tmp_path):
    """On two devices, which hold the same numbers."""
    changed = tmp_path / "changed.csv"
    pd.read_csv(table).assign(tbp_lv_H=lambda rows: rows["tbp_lv_H"] + 1).to_csv(changed, index=False)
    train(record_set, tmp_path / "run", changed, init_from=str(run), epochs=1, strategy="mirrored")
    before, after = read_standards(run, 0), read_standards(tmp_path / "run", 0)
    assert after[0] - before[0] == pytest.approx([0, 1], abs=1e-6)
    assert after[1] == pytest.approx(before[1])


def test_images_are_explained_with_the_table(run, record_set, index, table, tmp_path):
    options = {"workdir": str(run), "records": f"{record_set}/train*.tfrec", "images": 2}
    output = str(tmp_path / "sheet.png")
    grad_cam_sheet.explain(grad_cam_sheet.ExplainConfig(**options, output=output, table=str(table)))
    with pytest.raises(ValueError, match="expected --table=FILE.csv"):
        grad_cam_sheet.explain(grad_cam_sheet.ExplainConfig(**options, output=output))
    name = index["image_name"].iloc[0]
    found = failure_cases.load_pictures([name], str(run), index, str(table))[name]
    assert found["probability"] == pytest.approx(
        pd.read_csv(run / "oof.csv").set_index("image_name").loc[name, "prediction"], abs=1e-5
    )


def test_exported_models_take_the_numbers_as_they_are_in_the_table(run, record_set, table, tmp_path):
    records = f"{record_set}/test*.tfrec"
    limits = {"saved_model": 1e-5, "tflite": 1e-5}
    for form, limit in limits.items():
        config = {"workdir": str(run), "output": str(tmp_path / form), "records": records, "format": form, "fold": "0"}
        result = export_run.export(export_run.ExportConfig(**config, table=str(table)))
        assert result.comparison["difference"].max() < limit
    card = " ".join((tmp_path / "saved_model" / "model_card.md").read_text().split())
    assert "| `tbp_lv_areaMM2` | float32 \\[n\\]: the number in the column tbp\\_lv\\_areaMM2" in card
    card = " ".join((tmp_path / "tflite" / "model_card.md").read_text().split())
    assert "| `tbp_lv_H_unknown` | int32 \\[1\\]: 1 where it is unknown, else 0 |" in card
    with pytest.raises(ValueError, match="expected --table=FILE.csv"):
        export_run.export(export_run.ExportConfig(workdir=str(run), output=str(tmp_path / "none"), records=records))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metadata": "age,patient"},
            "some of age,sex,site, or numeric columns of a table, got 'patient' without --table",
        ),
        (
            {"metadata": "age,mel_mitotic_index", "table": "t.csv"},
            "refused: only melanomas that a pathologist has seen",
        ),
        (
            {"metadata": "area", "table": "t.csv", "target": "column:area"},
            "--metadata=area is refused: it is the --target; leave it out of --metadata",
        ),
        (
            {"metadata": "Area MM", "table": "t.csv", "target": "columns:area_mm,B", "positive_classes": "B"},
            "--metadata=Area MM is refused: it is the --target",
        ),
        (
            {"metadata": "age", "table": "t.csv"},
            "expected --table only with .* got t.csv with --target=binary; leave it out, or name the columns to use",
        ),
    ],
)
def test_columns_that_must_not_be_used_are_refused_before_any_record_is_read(changes, message):
    with pytest.raises(ValueError, match=message):
        config_checks.check_options(make_config(**changes), 1, on_tpu=False)


def test_a_column_without_information_in_a_fold_is_refused_before_anything_is_written(record_set, table, tmp_path):
    constant = tmp_path / "constant.csv"
    pd.read_csv(table).assign(tbp_lv_H=1.5).to_csv(constant, index=False)
    with pytest.raises(ValueError, match="expected different values of tbp_lv_H, .* got 1.5 for all"):
        train(record_set, tmp_path / "run", constant)
    assert not (tmp_path / "run").exists()
