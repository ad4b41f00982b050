"""`predict --context`: a second stage on top of a run; and the sidecars of runs and predictions."""

import json

import numpy as np
import pandas as pd
import pytest
from harness import CONTEXT, predicted

from isic_tf.artifacts import embedding_archive
from isic_tf.data import record_metadata
from isic_tf.metrics import logit
from isic_tf.patient_context import fit_context, lesion_features, second_stage
from isic_tf.patient_context.config import ContextFilesConfig
from isic_tf.patient_context.second_stage import StageOptions

pytestmark = pytest.mark.usefixtures("small_backbone")


@pytest.fixture
def stage(tmp_path):
    """The folder of a second stage that ranks a patient's scores."""
    second_stage.save_stage(second_stage.Stage("rank", 1, False, True, [], None, None), str(tmp_path / "stage"), {})
    return str(tmp_path / "stage")


def test_a_patients_test_images_are_judged_together(run, stage, record_set, made_up, tmp_path):
    records = f"{record_set}/test*.tfrec"
    plain = predicted(run, tmp_path / "plain.csv", records=records)
    found = predicted(run, tmp_path / "found.csv", records=records, context=stage)
    assert list(found) == ["prediction", "stage_one"]
    np.testing.assert_allclose(found["stage_one"], plain["prediction"], rtol=1e-6)
    # As the command does it with the file and the table.
    options = {"predictions": [str(tmp_path / "plain.csv")], "metadata": str(made_up / "test.csv"), "model_dir": stage}
    fit_context.run_context(ContextFilesConfig(**CONTEXT | options, output=str(tmp_path / "by_file.csv")))
    by_file = pd.read_csv(tmp_path / "by_file.csv").set_index("image_name")
    np.testing.assert_allclose(found["prediction"], by_file.loc[found.index, "prediction"])
    # And image files, whose patients a table tells.
    options = {"images": str(made_up / "jpeg" / "test"), "csv": str(made_up / "test.csv"), "context": stage}
    of_files = predicted(run, tmp_path / "files.csv", **options)
    assert of_files["prediction"].corr(found["prediction"]) > 0.9
    said = {
        name: json.loads((tmp_path / f"{name}.csv.json").read_text()) for name in ("plain", "found", "by_file", "files")
    }
    assert [one["patient_context"] for one in said.values()] == [False, True, True, True]
    assert said["plain"] == {
        "patient_context": False, "made_by": "isic_tf.predict", "folds": 2, "tta": 1, "calibrated": False
    }  # fmt: skip


def test_a_boosted_stage_gets_embeddings_and_metadata(run, record_set, tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age_approx": rng.choice([30, 60, -1], 200), "sex": rng.choice([0, 1, -1], 200)})
    looks = rng.normal(size=(200, 2, 8)).astype(np.float32)
    given = lesion_features.gather(rng.normal(size=(200, 1)), np.arange(200) // 5, rows, looks)
    fitted = second_stage.fit_stage(given, (rng.random(200) < 0.3).astype(int), StageOptions("boost"))
    second_stage.save_stage(fitted, str(tmp_path / "stage"), {})
    records = f"{record_set}/test*.tfrec"
    sample = tmp_path / "sample.csv"
    plain = predicted(run, tmp_path / "plain.csv", records=records, embeddings=str(tmp_path / "looks.npz"))
    pd.DataFrame({"image_name": plain.index[::-1], "target": 0}).to_csv(sample, index=False)
    options = {"context": str(tmp_path / "stage"), "sample_submission": str(sample)}
    found = predicted(run, tmp_path / "found.csv", records=records, **options)
    assert list(found) == ["target"]
    assert found.index.tolist() == plain.index.tolist()[::-1]
    # Worked out anew from the files that predict wrote.
    codes = record_metadata.add_index(
        record_metadata.list_records(
            sorted(str(path) for path in record_set.glob("test*.tfrec")), list(lesion_features.COLUMNS)
        )
    ).set_index("image_name")
    codes = codes.loc[plain.index].reset_index()
    looks = embedding_archive.read_embeddings(str(tmp_path / "looks.npz"), plain.index.tolist())
    given = lesion_features.gather(logit.logits(plain[["prediction"]].to_numpy()), codes["patient_id"], codes, looks)
    expected = second_stage.apply_stage(second_stage.load_stage(str(tmp_path / "stage")), given)
    np.testing.assert_allclose(found["target"].loc[plain.index], expected, rtol=1e-5)


def test_the_runs_out_of_fold_files_say_that_no_context_was_used(run):
    for path in (run / "oof.csv.json", run / "fold0" / "oof.csv.json", run / "fold1" / "oof.csv.json"):
        assert json.loads(path.read_text()) == {"patient_context": False, "made_by": "isic_tf.train"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"calibrated": True},
            "expected --context without --calibrated: the patient-context model returns probabilities",
        ),
        (
            {"out_of_fold": True},
            "expected --context without --out_of_fold: use isic_tf.context --oof for out-of-fold predictions",
        ),
        ({}, "expected a patient-context model at nowhere/context.json, but the file does not exist"),
    ],
)
def test_what_does_not_go_with_a_second_stage_is_refused(run, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        predicted(run, tmp_path / "o.csv", records="x", context="nowhere", **changes)


def test_a_stage_of_several_runs_is_refused(run, stage, tmp_path):
    second_stage.save_stage(second_stage.Stage("rank", 3, False, True, [], None, None), stage, {})
    with pytest.raises(
        ValueError,
        match="expected a patient-context model fitted on one run, but .* was fitted on 3; predict with each run",
    ):
        predicted(run, tmp_path / "o.csv", records="x", context=stage)
