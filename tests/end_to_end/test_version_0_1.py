"""What version 0.1 wrote is opened and gives the numbers that it gave then; see `data/v0_1/README.md`."""

import hashlib
import inspect
import io
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import CONTEXT, ENVIRONMENT, RECIPE, make_config, predicted, tiny_trunk

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.augmentation import policies
from isic_tf.evaluation import evaluate_files
from isic_tf.metrics import cluster_bootstrap
from isic_tf.models import backbones, classifiers
from isic_tf.patient_context import fit_context, second_stage
from isic_tf.patient_context.config import ContextFilesConfig
from isic_tf.postprocessing import calibrate_run, calibration, calibration_file, ensemble_predictions
from isic_tf.training import loop, warm_start
from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.io import record_index
from tfrecord_tools.verification import record_set_verifier

DATA = pathlib.Path(__file__).parents[1] / "data" / "v0_1"
# What both runs were trained with, under the names that the flags had.
FLAGS = {
    **RECIPE,
    "epochs": 3,
    "learning_rate": 0.02,
    "gradient_accumulation_steps": 2,
    # The default of that version.
    "backbone": "efficientnet-b0",
    "backbone_lr_multiplier": 0.5,
    "ema": 0.9,
    "keep_weights": "last",
    "malignant_oversampling": 2,
    "augment_policy": "policy.json",
    "augment_strength": 0.5,
    "metadata": "age,sex,site",
    "pooling": "gem",
    "hidden_units": 8,
    "dropout_samples": 2,
    "deterministic": True,
}
# The same augmentation is resampled by other kernels since, which moves predictions of this small model so much.
RESAMPLED = 0.02
FLAGS |= {"data_dir": "records", "extra_data_dir": "", "strategy": "default", "tpu": "", "dry_run": False}
TEST = "records/test*.tfrec"
# Trains in a process of its own: nothing takes back that it is to be deterministic.
SCRIPT = f"""
import json, sys
import isic_tf
import tensorflow as tf
from isic_tf.metrics import cluster_bootstrap
from isic_tf.models import backbones
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig
from tfrecord_tools import cli

cli.show_log()
cluster_bootstrap.MIN_PATIENTS = 2

{inspect.getsource(tiny_trunk)}
backbones.build_backbone = tiny_trunk
loop.train(TrainConfig(**json.loads(sys.argv[1])))
"""


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


@pytest.fixture(autouse=True)
def few_patients(monkeypatch):
    """Intervals of few patients, which 0.1 gave."""
    monkeypatch.setattr(cluster_bootstrap, "MIN_PATIENTS", 2)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A copy of what 0.1 wrote, as working folder."""
    shutil.copytree(DATA, tmp_path / "old")
    monkeypatch.chdir(tmp_path / "old")
    return tmp_path / "old"


def contents(folder):
    return {str(path): path.read_bytes() for path in sorted(pathlib.Path(folder).rglob("*")) if path.is_file()}


def assert_same_table(found, expected, atol=1e-6):
    """Checks names, order, columns, whole numbers and text exactly, other numbers to `atol`."""
    found, expected = (pd.read_csv(path) for path in (found, expected))
    pd.testing.assert_frame_equal(found, expected, check_exact=not atol, rtol=0, atol=atol)


def drop_unlike(path):
    """Writes predictions without the column that 0.1 did not have; returns the path."""
    table = pd.read_csv(path)
    assert table.pop("unlike").gt(0).all()
    table.to_csv("without_unlike.csv", index=False)
    return "without_unlike.csv"


def assert_same_json(found, expected, atol=1e-6):
    """Checks JSON values: numbers with a fraction to `atol`, all else exactly; there may be further keys."""
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert [name for name in found if name in expected] == list(expected)
        for name in expected:
            assert_same_json(found[name], expected[name], atol)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_same_json(*pair, atol)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-6, abs=atol)
    else:
        assert found == expected


def read_json(path):
    return json.loads(pathlib.Path(path).read_text())


def test_the_records_are_sound(capsys):
    record_set_verifier.verify_record_set(record_set_verifier.VerifyConfig(records="records/*.tfrec", workers=1))
    assert "147" in capsys.readouterr().out
    for split, count in (("train", 108), ("test", 39)):
        rows = record_index.read_index("records", split)
        names = pd.read_csv(f"{split}.csv")["image_name"]
        assert sorted(rows["image_name"]) == sorted(names)
        assert len(rows) == count == read_json(f"records/{split}.manifest.json")["records"]


def test_the_records_indexed_anew_have_the_same_index_and_manifest(here):
    before = contents("records")
    # Exact, but for the version that the manifest names.
    record_set_indexer.index_record_set(
        record_set_indexer.IndexConfig(records="records/train*.tfrec", csv="train.csv", folds="records/train.index.csv")
    )
    record_set_indexer.index_record_set(record_set_indexer.IndexConfig(records="records/test*.tfrec", csv="test.csv"))
    after = contents("records")
    for split in ("train", "test"):
        old, new = (json.loads(files.pop(f"records/{split}.manifest.json")) for files in (before, after))
        assert old.pop("tool_version")
        assert new.pop("tool_version")
        content = after.pop(f"records/{split}.index.csv")
        # What 0.1 did not write.
        assert new.pop("index_sha256") == hashlib.sha256(content).hexdigest()
        assert old == new
        index = pd.read_csv(io.BytesIO(content), dtype=str)
        assert index.pop("image_digest").str.fullmatch("[0-9a-f]{16}").all()
        assert index.pop("lesion_id").isna().all()
        assert index.to_csv(index=False).encode() == before.pop(f"records/{split}.index.csv")
    assert after == before


@pytest.mark.parametrize("workdir", ["run", "run_interrupted"])
def test_the_flags_are_read(workdir):
    run = run_directory.read_network(workdir)
    assert run["image_size"] == 32
    assert run["augment_policy"] == f"{workdir}/augment_policy.json"
    for name in (
        "keep_weights",
        "gradient_accumulation_steps",
        "backbone_lr_multiplier",
        "malignant_oversampling",
        "ema",
        "pooling",
        "metadata",
    ):
        assert run[name] == str(FLAGS[name])


@pytest.mark.parametrize("path", ["policy.json", "run/augment_policy.json", "run_interrupted/augment_policy.json"])
def test_the_augmentation_policy_is_read(path):
    policy, written = policies.read_policy(path), read_json(path)
    assert len(policy) == len(written) == 31
    assert policy["vignette"]["uniform"] == written["microscope"]["uniform"] == [0.5, 0.7]
    assert policy["rotate90"] == {}
    assert "vignette" in policy["pick"][1]


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("plain", {}),
        ("tta4", {"tta": 4}),
        # Draws from the kept policy.
        ("tta2_training", {"tta": 2, "tta_policy": "training"}),
        ("calibrated", {"calibrated": True}),
        ("context", {"context": "run/context"}),
        ("context_set", {"context": "run/context_set"}),
    ],
)
def test_the_test_images_are_predicted_alike(name, changes):
    predicted("run", "found.csv", records=TEST, **changes)
    assert_same_table("found.csv", f"expected/{name}.csv", RESAMPLED if "tta_policy" in changes else 1e-6)
    # Exact.
    assert read_json("found.csv.json") == read_json(f"expected/{name}.csv.json")


def test_the_out_of_fold_predictions_are_those_of_the_training():
    found = predicted("run", "found.csv", records="records/train*.tfrec", out_of_fold=True)
    oof = pd.read_csv("run/oof.csv").set_index("image_name")
    assert sorted(found.index) == sorted(oof.index)
    assert found[["fold", "target"]].equals(oof.loc[found.index, ["fold", "target"]])
    assert np.abs(found["prediction"] - oof.loc[found.index, "prediction"]).max() < 1e-6


def test_what_the_weights_have_seen_is_read():
    for fold in (0, 1):
        seen = seen_images.read_seen_images(f"run/fold{fold}")
        rows = record_index.read_index("records", "train")
        assert set(seen["image_name"]) == set(rows.loc[rows["fold"] != fold, "image_name"])


def test_another_run_can_start_from_the_weights(capsys):
    recipe = make_config(**FLAGS)
    classifier = classifiers.build_from_config(recipe)
    warm_start.load_weights(classifier, warm_start.find_source("run", 0), recipe)
    # All of them, the head's too: nothing is new.
    assert capsys.readouterr().out == "  starting from run/fold0/best.weights.h5\n"
    kept = classifiers.build_from_config(recipe, "run/fold0/best.weights.h5")
    assert all(np.array_equal(*pair) for pair in zip(classifier.get_weights(), kept.get_weights(), strict=True))


def test_the_calibration_is_read_and_applied():
    scale = calibration_file.read_calibration("run")
    plain, expected = (pd.read_csv(f"expected/{name}.csv")["prediction"] for name in ("plain", "calibrated"))
    assert calibration.apply_calibration(scale, plain.to_numpy()) == pytest.approx(expected.to_numpy(), abs=1e-7)


def test_the_run_calibrated_anew_has_the_same_calibration():
    before = read_json("run/calibration.json")
    calibrate_run.calibrate(calibrate_run.CalibrateConfig(workdir="run", labels="train.csv", method="platt"))
    assert_same_json(read_json("run/calibration.json"), before)


@pytest.mark.parametrize(("name", "method"), [("context", "boost"), ("context_set", "set")])
def test_a_second_stage_is_applied_to_a_prediction_file(name, method):
    assert second_stage.load_stage(f"run/{name}").method == method
    options = {"predictions": ["expected/plain.csv"], "metadata": "test.csv", "model_dir": f"run/{name}"}
    fit_context.run_context(ContextFilesConfig(**{**CONTEXT, **options, "output": "found.csv"}))
    assert_same_table("found.csv", f"expected/{name}.csv")
    assert read_json("found.csv.json")["patient_context"] is True


def test_the_out_of_fold_predictions_are_judged_alike():
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(predictions=["run/oof.csv"], labels="train.csv", output="found.json")
    )
    assert_same_json(read_json("found.json"), read_json("expected/metrics.json"))


@pytest.mark.parametrize(
    ("name", "parts"), [("ensemble", ("plain", "tta4")), ("ensemble_context", ("context", "context_set"))]
)
def test_prediction_files_are_blended_alike(name, parts):
    files = [f"expected/{part}.csv" for part in parts]
    ensemble_predictions.ensemble(ensemble_predictions.EnsembleConfig(predictions=files, output="found.csv"))
    # Exact: no network has a part in it.
    assert_same_table("found.csv", f"expected/{name}.csv", atol=0)
    assert read_json("found.csv.json") == read_json(f"expected/{name}.csv.json")


def test_a_finished_run_only_gains_the_detectors_of_unlike_images(monkeypatch, capsys):
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    before = contents("run")
    shutil.copytree("run", "old_run")
    loop.train(make_config(workdir="run", fold="all", **FLAGS))
    out = capsys.readouterr().out
    assert "run/fold0 has no unlike.npz; the fold is finished once more" in out
    after = contents("run")
    gained = {f"run/{fold}/{name}" for fold in ("fold0", "fold1") for name in ("unlike.npz", "training.png")}
    assert after.keys() == before.keys() | gained
    changed = {name for name in before if after[name] != before[name]}
    assert {name.rpartition("/")[2] for name in changed} == {"oof.csv", "metrics.json", "seen_images.csv"}
    for name in changed:
        old = name.replace("run/", "old_run/", 1)
        if name.endswith("oof.csv"):
            assert_same_table(drop_unlike(name), old)
        elif name.endswith("metrics.json"):
            assert_same_json(json.loads(after[name]), json.loads(before[name]))
        else:
            pd.testing.assert_frame_equal(pd.read_csv(name)[["image_name", "patient_id"]], pd.read_csv(old))
    # Then it is left alone.
    loop.train(make_config(workdir="run", fold="all", **FLAGS))
    out = capsys.readouterr().out
    assert "run/fold0 is already trained" in out
    assert "run/fold1 is already trained" in out
    again = contents("run")
    assert_same_json(json.loads(again.pop("run/metrics.json")), json.loads(after.pop("run/metrics.json")))
    assert again == after


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps was 2, is 1"),
        ({"keep_weights": "best"}, "keep_weights was last, is best"),
        ({"backbone_lr_multiplier": 1.0}, "backbone_lr_multiplier was 0.5, is 1.0"),
        ({"malignant_oversampling": 1}, "malignant_oversampling was 2, is 1"),
        ({"augment_policy": "light"}, "augment_policy was policy.json, is light, data_sha256 was"),
    ],
)
@pytest.mark.parametrize("workdir", ["run", "run_interrupted"])
def test_another_configuration_is_refused(monkeypatch, workdir, changes, message):
    monkeypatch.setattr(tf.config.experimental, "enable_op_determinism", lambda: None)
    with pytest.raises(ValueError, match=f"{workdir} holds a run of another configuration .{message}"):
        loop.train(make_config(workdir=workdir, fold="all", **{**FLAGS, **changes}))


def test_an_interrupted_run_goes_on_and_ends_as_it_would_have():
    flags = json.dumps({"workdir": "run_interrupted", "fold": "0", **FLAGS})
    done = subprocess.run([sys.executable, "-c", SCRIPT, flags], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "resuming after step 8" in done.stdout
    assert_same_table("run_interrupted/fold0/history.csv", "expected_resumed/history.csv", RESAMPLED)
    assert_same_table(drop_unlike("run_interrupted/fold0/oof.csv"), "expected_resumed/oof.csv", RESAMPLED)
    expected, found = (pd.read_csv(f"{folder}/history.csv") for folder in ("expected_resumed", "run_interrupted/fold0"))
    # The epoch that 0.1 had finished.
    assert found.iloc[0].equals(expected.iloc[0])
    found, expected = (read_json(f"{folder}/metrics.json") for folder in ("run_interrupted/fold0", "expected_resumed"))
    assert_same_json(found, expected, RESAMPLED)
