"""A complete run on `gs://...` paths, through TensorFlow's own client."""

import json
import pathlib
import shutil

import gcs
import pandas as pd
import pytest
from harness import PREDICT, RECIPE, tiny_trunk

from isic_tf.evaluation import evaluate_files
from isic_tf.inference import predict_run
from isic_tf.inference.config import PredictFilesConfig
from isic_tf.models import backbones
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig
from tfrecord_tools.building import record_set_indexer


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket on this machine, see `gcs.Bucket`."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    certificate, key = gcs.make_certificate(tmp_path)
    directory = tmp_path / "objects"
    directory.mkdir()
    with gcs.serving(directory, certificate, key) as address:
        for name in ("https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("CURL_CA_BUNDLE", certificate)
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "token")
        yield gcs.Bucket(directory)


def upload(objects, directory, to, pattern="*"):
    for path in pathlib.Path(directory).glob(pattern):
        objects[f"{to}/{path.name}"] = path.read_bytes()


def test_a_run_from_index_to_report_works_in_a_bucket(bucket, record_set, made_up, monkeypatch, interrupt, capsys):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    upload(bucket, record_set, "data/records", "*.tfrec")
    upload(bucket, made_up, "data", "*.csv")
    folds = pd.read_csv(record_set / "train.index.csv")[["image_name", "fold"]]
    bucket["data/folds.csv"] = folds.to_csv(index=False).encode()
    tables = {"csv": "gs://data/train.csv", "folds": "gs://data/folds.csv"}
    record_set_indexer.index_record_set(
        record_set_indexer.IndexConfig(records="gs://data/records/train*.tfrec", **tables, output=None)
    )
    assert bucket["data/records/train.index.csv"] == (record_set / "train.index.csv").read_bytes()

    settings = {
        "data_dir": "gs://data/records",
        "extra_data_dir": "",
        "workdir": "gs://runs/first",
        "fold": "0",
        "strategy": "default",
        "tpu": "",
        "dry_run": False,
        **RECIPE,
        "epochs": 2,
        "tensorboard": True,
    }
    calls = interrupt()
    with pytest.raises(KeyboardInterrupt):
        loop.train(TrainConfig(**settings))
    loop.train(TrainConfig(**settings))
    assert "resuming after step" in capsys.readouterr().out
    assert len(calls) == 3
    names = {name.removeprefix("runs/first/") for name in bucket if name.startswith("runs/first/")}
    expected = {"flags.txt", "oof.csv", "fold0/best.weights.h5", "fold0/history.csv", "fold0/metrics.json"}
    assert names > expected | {"fold0/oof.csv", "fold0/training.png", "fold0/checkpoints/ckpt-2.index"}
    assert any("tfevents" in name for name in names)
    assert not any(".tmp-" in name for name in bucket)

    options = {**PREDICT, "workdir": "gs://runs/first", "records": "gs://data/records/test*.tfrec"}
    options |= {"sample_submission": "gs://data/sample_submission.csv", "embeddings": "gs://runs/embeddings.npz"}
    predict_run.predict_files(PredictFilesConfig(**{**options, "output": "gs://runs/submission.csv"}))
    assert bucket["runs/submission.csv"].count(b"\n") == bucket["data/sample_submission.csv"].count(b"\n")
    assert not any("parts" in name for name in bucket)

    files = {"predictions": ["gs://runs/first/oof.csv"], "labels": "gs://data/train.csv"}
    files |= {"report": "gs://runs/report.html", "output": "gs://runs/figures.json", "workdir": "gs://runs/first"}
    evaluate_files.evaluate_files(
        evaluate_files.EvaluateConfig(**files, records=None, threshold=None, specificity=None)
    )
    assert json.loads(bucket["runs/figures.json"])["files"]
    assert b"<html" in bucket["runs/report.html"]
