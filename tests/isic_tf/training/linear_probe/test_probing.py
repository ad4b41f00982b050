import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import RECIPE, make_config, predicted, tiny_trunk

from isic_tf.data import mixture, record_seeds
from isic_tf.models import backbones, classifiers
from isic_tf.models.config import read_model_config
from isic_tf.novelty import detector
from isic_tf.training import loop, validation
from isic_tf.training.config import TrainConfig
from isic_tf.training.linear_probe import heads, probing

HEAD = {"metadata": "age,sex", "pooling": "gem", "hidden_units": 4, "dropout_samples": 2}


@pytest.fixture(autouse=True)
def tiny_backbone(monkeypatch):
    """Training with the real head on a tiny backbone."""
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


def run(record_set, workdir, fold="0", strategy="default", **changes):
    options = {"data_dir": str(record_set), "workdir": str(workdir), "fold": fold, "strategy": strategy}
    return loop.train(TrainConfig(**{**options, **RECIPE, "freeze_epochs": "all", **changes}))


def load(workdir):
    config = read_model_config(str(workdir))
    return classifiers.build_from_config(config, str(workdir / "fold0" / "best.weights.h5"))


def test_a_probe_resumes_with_the_same_head_and_leaves_a_complete_run(record_set, tmp_path, interrupt, capsys):
    options = {**HEAD, "ema": 0.9, "target": "diagnosis", "malignant_oversampling": 2, "keep_weights": "last"}
    run(record_set, tmp_path / "whole", **options)
    calls = interrupt()
    with pytest.raises(KeyboardInterrupt):
        run(record_set, tmp_path / "stopped", **options)
    run(record_set, tmp_path / "stopped", **options)
    assert len(calls) == 4
    output = capsys.readouterr().out
    assert "linear probe on 8 features of" in output
    assert "these take the place of --augment_policy=light" in output
    assert "resuming after step" in output
    whole, stopped = (load(tmp_path / name) for name in ("whole", "stopped"))
    assert all(np.array_equal(*pair) for pair in zip(whole.get_weights(), stopped.get_weights(), strict=True))
    histories = [pd.read_csv(tmp_path / name / "fold0" / "history.csv") for name in ("whole", "stopped")]
    assert np.allclose(*histories, atol=1e-6)
    # What the head says of the features is what the classifier says of the images.
    figures = json.loads((tmp_path / "whole" / "fold0" / "metrics.json").read_text())
    assert figures["auc"] == pytest.approx(histories[0]["auc"].iloc[-1], abs=1e-9)
    oof = pd.read_csv(tmp_path / "whole" / "oof.csv").set_index("image_name")["prediction"]
    again = predicted(tmp_path / "whole", tmp_path / "again.csv", records=f"{record_set}/train*.tfrec")["prediction"]
    assert np.abs(again[oof.index] - oof).max() < 1e-5
    assert oof.std() > 0


def test_the_predictions_of_every_epoch_are_those_of_the_predictor(record_set, tmp_path, monkeypatch, mirrored):
    tables = []
    original = validation.collect_predictions

    def collect(*arguments):
        tables.append(original(*arguments))
        return tables[-1]

    monkeypatch.setattr(validation, "collect_predictions", collect)
    run(record_set, tmp_path, strategy="mirrored", epochs=2, metadata="age")
    *epochs, kept = tables
    assert len(epochs) == 2
    best = json.loads((tmp_path / "fold0" / "metrics.json").read_text())["kept_epoch"]
    assert np.abs(epochs[best - 1]["prediction"] - kept["prediction"]).max() < 1e-5
    assert np.abs(epochs[0]["prediction"] - epochs[1]["prediction"]).max() > 1e-3


def test_only_the_head_is_trained_on_all_images(record_set, tmp_path, capsys):
    run(record_set, tmp_path / "run", fold="full", epochs=1, seed=3)
    assert "full: trained for 1 epochs; not evaluated" in capsys.readouterr().out
    config = make_config(seed=3)
    tf.keras.utils.set_random_seed(3)
    start = classifiers.build_from_config(config)
    kept = classifiers.build_from_config(config, str(tmp_path / "run" / "full" / "best.weights.h5"))
    changed = [
        before.name
        for before, after in zip(start.weights, kept.weights, strict=True)
        if not np.array_equal(before.numpy(), after.numpy())
    ]
    assert changed == ["logits/kernel:0", "logits/bias:0"]


def test_a_dry_run_estimates_the_features_and_the_head(record_set, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detector, "FEWEST_IMAGES", 5)
    result = run(record_set, tmp_path / "run", fold="all", dry_run=True)
    assert not (tmp_path / "run").exists()
    estimate = result.estimate
    assert estimate.feature_seconds > 0
    assert estimate.evaluation_seconds == 0
    assert estimate.detector_seconds > 0
    assert estimate.trainable_parameters == 9
    assert estimate.total_seconds == estimate.feature_seconds + 2 * estimate.fold_seconds
    output = capsys.readouterr().out
    assert "features of the frozen backbone at 32 px: " in output
    assert "; with the features: " in output


def test_the_version_of_a_record_is_sampled_from_its_seed_evenly():
    keys = tf.range(8000, dtype=tf.int64)
    zero = tf.zeros_like(keys)
    versions = [probing.choose_versions(record_seeds.record_seed(keys, 1, epoch + zero, zero)) for epoch in (0, 1)]
    again = probing.choose_versions(record_seeds.record_seed(keys[:5], 1, zero[:5], zero[:5]))
    assert versions[0][:5].numpy().tolist() == again.numpy().tolist()
    counts = np.bincount(versions[0], minlength=8)
    assert len(counts) == 8
    assert (abs(counts - 1000) < 150).all()
    # In the next epoch a record has another version, seven times out of eight.
    assert abs((versions[0].numpy() != versions[1].numpy()).mean() - 7 / 8) < 0.02


def test_batches_hold_the_features_of_their_records(record_set):
    plan = mixture.plan_fold(mixture.read_sets(str(record_set)), 0)
    config = make_config(freeze_epochs="all")

    def read(numbers, versions):
        return np.stack([numbers, versions], axis=1).astype(np.float32)

    batches = probing.make_batches(tf.distribute.get_strategy(), plan, read, 2, config, start=0)
    rows = plan.rows.set_index(record_seeds.hash_keys(plan.rows).numpy())
    seen = []
    for _ in range(len(rows) // 8):
        features, labels, seeds = (part.numpy() for part in next(batches))
        own = rows.loc[seeds[:, 1]]
        assert features[:, 0].tolist() == own["number"].tolist()
        assert features[:, 1].tolist() == probing.choose_versions(seeds).numpy().tolist()
        assert labels[:, 0].tolist() == own["target"].tolist()
        seen += features[:, 0].tolist()
    assert len(set(seen)) == len(seen)
    resumed = probing.make_batches(tf.distribute.get_strategy(), plan, read, 2, config, start=len(seen))
    assert np.array_equal(next(resumed)[0], next(batches)[0])
    assert heads.VERSIONS == 8
