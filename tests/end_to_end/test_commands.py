"""The commands as a user runs them, in processes of their own."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from harness import ENVIRONMENT


def run(module, *flags, folder, check=True):
    """Runs a command in `folder`; gives its result, text captured."""
    program = [sys.executable, "-m", module, *flags]
    result = subprocess.run(program, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert not check or result.returncode == 0, result.stderr
    return result


def test_made_up_images_become_a_submission(tmp_path):
    run("tfrecord_tools.synth", "--output=.", "--num_patients=3", "--malignant_rate=0.4", "--seed=7", folder=tmp_path)
    for split in ("train", "test"):
        flags = ["--images=jpeg", "--output=records", "--image_size=64", "--num_shards=4", "--num_folds=2"]
        run("tfrecord_tools.build", f"--csv={split}.csv", f"--split={split}", *flags, folder=tmp_path)
    train = ["--data_dir=records", "--workdir=run", "--image_size=64", "--weights=none", "--epochs=1"]
    train += ["--warmup_epochs=0", "--global_batch_size=8", "--deterministic"]
    assert "ROC AUC" in run("isic_tf.train", *train, folder=tmp_path).stdout
    predict = ["--workdir=run", "--records=records/test*.tfrec", "--output=submission.csv"]
    run("isic_tf.predict", *predict, "--sample_submission=sample_submission.csv", folder=tmp_path)
    evaluated = run("isic_tf.evaluate", "--predictions=run/oof.csv", "--labels=train.csv", folder=tmp_path).stdout
    assert re.search(r"ROC AUC 0\.\d{4}|ROC AUC 1\.0000", evaluated)
    submission = pd.read_csv(tmp_path / "submission.csv")
    assert submission["image_name"].tolist() == pd.read_csv(tmp_path / "test.csv")["image_name"].tolist()
    assert list(submission) == ["image_name", "target"]
    assert submission["target"].between(0, 1).all()

    # The same folder again: another configuration is refused in one line, the same one has nothing left to do.
    other = run("isic_tf.train", *train, "--seed=1", folder=tmp_path, check=False)
    assert other.returncode == 1
    last = other.stderr.splitlines()[-1]
    assert last.startswith("ERROR: run holds a run of another configuration (seed was 0, is 1)")
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--image_size=0"], "flag --image_size=0"),
        (["--image_size=large"], "flag --image_size=large"),
        (["--backbone=resnet50"], "value should be one of <efficientnet-b0|efficientnet-b1"),
        ([], "ERROR: no shards match: expected train records and nowhere/train.index.csv"),
    ],
)
def test_a_wrong_flag_ends_with_one_line_and_code_1(flags, message, tmp_path):
    result = run("isic_tf.train", "--data_dir=nowhere", "--workdir=run", *flags, folder=tmp_path, check=False)
    assert result.returncode == 1
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_process_that_uses_keras_3_is_told_so(tmp_path):
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "TF_USE_LEGACY_KERAS"}
    program = "import tensorflow as tf; tf.keras.Model; import isic_tf"
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "ImportError: isic_tf needs Keras 2, but this process already uses Keras 3: restart it" in result.stderr
