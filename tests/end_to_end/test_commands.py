"""The commands, run in processes of their own as a user runs them."""

import importlib
import re
import subprocess
import sys

import pandas as pd
import pytest
from harness import ENVIRONMENT

from isic_tf.inference.config import PredictFilesConfig
from tfrecord_tools import errors


def run(module, *flags, directory, check=True):
    """Runs a command in a directory; returns its result with the captured text."""
    program = [sys.executable, "-m", module, *flags]
    result = subprocess.run(program, cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


def test_synthetic_images_become_a_submission(tmp_path):
    run(
        "tfrecord_tools.synth", "--output=.", "--num_patients=3", "--malignant_rate=0.4", "--seed=7", directory=tmp_path
    )
    for split in ("train", "test"):
        flags = ["--images=jpeg", "--output=records", "--image_size=64", "--num_shards=4", "--num_folds=2"]
        run("tfrecord_tools.build", f"--csv={split}.csv", f"--split={split}", *flags, directory=tmp_path)
    train = ["--data_dir=records", "--workdir=run", "--image_size=64", "--weights=none", "--epochs=1"]
    train += ["--warmup_epochs=0", "--global_batch_size=8", "--augment_policy=none", "--deterministic"]
    assert "ROC AUC" in run("isic_tf.train", *train, directory=tmp_path).stdout
    predict = ["--workdir=run", "--records=records/test*.tfrec", "--output=submission.csv"]
    run("isic_tf.predict", *predict, "--sample_submission=sample_submission.csv", directory=tmp_path)
    evaluated = run("isic_tf.evaluate", "--predictions=run/oof.csv", "--labels=train.csv", directory=tmp_path).stdout
    assert re.search(r"ROC AUC 0\.\d{4}|ROC AUC 1\.0000", evaluated)
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert submission["image_name"].tolist() == pd.read_csv(tmp_path / "test.csv")["image_name"].tolist()
    assert list(submission) == ["image_name", "target"]
    assert submission["target"].between(0, 1).all()

    # In the same run directory, another configuration is refused with one line.
    other = run("isic_tf.train", *train, "--seed=1", directory=tmp_path, check=False)
    assert other.returncode == 1
    last = other.stderr.splitlines()[-1]
    assert last.startswith("ERROR: run holds a run of another configuration (seed was 0, is 1)")
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image_size=0"], "flag --image_size=0"),
        (["--image_size=large"], "flag --image_size=large"),
        (["--backbone=resnet50"], "got 'resnet50'; did you mean resnet-rs-50?"),
        ([], "ERROR: expected the directory of a record set, got nowhere, which does not exist"),
    ],
)
def test_a_wrong_flag_ends_with_one_line_and_exit_code_1(flags, message, tmp_path):
    result = run("isic_tf.train", "--data_dir=nowhere", "--workdir=run", *flags, directory=tmp_path, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_process_that_already_uses_keras_3_is_refused(tmp_path):
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "TF_USE_LEGACY_KERAS"}
    program = "import tensorflow as tf; tf.keras.Model; import isic_tf"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "ImportError: isic_tf needs Keras 2, but this process already uses Keras 3: restart it" in result.stderr


MISSING = [
    (
        "train",
        {"data_dir": "none", "workdir": "run"},
        "got none, which does not exist",
    ),
    (
        "train",
        {"data_dir": "none", "workdir": "run", "loss": "auc", "malignant_weight": 2.0},
        "malignant_weight=1 with",
    ),
    ("train", {"data_dir": "none", "workdir": "run", "augment_policy": "lite"}, "did you mean light?"),
    ("predict", {"workdir": "none", "records": "none*", "output": "a.csv"}, "expected a run in none"),
    ("explain", {"workdir": "none", "records": "none*", "output": "a.csv"}, "expected --output to end in .png"),
    ("explain", {"workdir": "none", "records": "none*", "output": "a.png"}, "expected a run in none"),
    ("export", {"workdir": "none", "output": "."}, "expected --output to be a new or empty directory"),
    ("export", {"workdir": "none", "output": "new"}, "expected a run in none"),
    ("show", {"records": "none*", "output": "a.png"}, "no shards match 'none\\*'"),
    ("show", {"records": "none*", "output": "a.png", "augment_policy": "no.json"}, "expected --augment_policy"),
    ("context", {"oof": "none.csv", "metadata": "b.csv", "output": "a.csv"}, "CSV file none.csv not found"),
    ("evaluate", {"predictions": "none.csv", "labels": "b.csv"}, "CSV file none.csv not found"),
    ("ensemble", {"predictions": "none.csv,b.csv", "output": "a.csv"}, "CSV file none.csv not found"),
    ("calibrate", {"workdir": "run", "labels": "none.csv"}, "CSV file none.csv not found"),
    ("submission", {"submission": "none.csv", "sample_submission": "b.csv"}, "CSV file none.csv not found"),
]


@pytest.mark.parametrize(("name", "options", "message"), MISSING)
def test_what_is_missing_is_named_before_the_work_is_imported(name, options, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").touch()
    config = importlib.import_module(f"isic_tf.{name}").CONFIG(**options)
    with pytest.raises(errors.IsicError, match=message):
        config.check_inputs()


def test_a_run_without_a_trained_fold_is_named_before_the_work_is_imported(tmp_path):
    (tmp_path / "flags.txt").write_text("--backbone=efficientnet-b0\n--image_size=64\n")
    config = PredictFilesConfig(workdir=str(tmp_path), records="none*", output="a.csv")
    with pytest.raises(errors.IsicError, match="expected a trained fold in"):
        config.check_inputs()
    (tmp_path / "fold0").mkdir()
    (tmp_path / "fold0" / "best.weights.h5").touch()
    with pytest.raises(errors.IsicError, match="no shards match 'none"):
        config.check_inputs()
