import re

import pytest
from harness import ROOT, make_config, parse_train_flags, tiny_trunk

from isic_tf.data import mixture
from isic_tf.distribution import strategies
from isic_tf.models import backbones
from isic_tf.training import loop
from isic_tf.training.dry_run import dry_runs

CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.flags"))
TRAINING_PATTERNS = (
    r"each of 1 device\(s\) processes \d images at a time \(.*\) and needs about 0\.\d\d GB: .* TPU core of 16 GB",
    r"training steps: \d+ images/s; input of this host: \d+ images/s at 32 px: "
    r"(not input-bound|input-bound|the input is decoded once)",
)
PROBE_PATTERNS = (
    r"each of 1 device\(s\) computes the features of 8 images at a time and needs about 0\.\d\d GB: .* for activations",
    r"features of the frozen backbone at 32 px: .*; then training steps of the head: \d+ images/s",
    r"with the features: ",
)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_published_config_passes_a_dry_run_at_a_tiny_size(path, record_set, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    where = [f"--data_dir={record_set}", f"--workdir={tmp_path / 'run'}", "--strategy=default", "--fold=all"]
    tiny = ["--image_size=32", "--weights=none", "--global_batch_size=8", "--shuffle_buffer=16", "--threads=2"]
    result = loop.train(parse_train_flags(f"--flagfile={path}", *where, *tiny, "--dry_run"))
    output = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    for pattern in (
        r"\d+ images per epoch in \d+ steps of 8",
        r"[\d,]+ parameters, [\d,]+ of them trainable",
        r"memory: \d+\.\d GB of this process",
        r"\d+ epochs of .* and .* of evaluation: .* per fold; 2 folds: .*\. Nothing was written",
        *(PROBE_PATTERNS if "--freeze_epochs=all" in path.read_text() else TRAINING_PATTERNS),
    ):
        assert re.search(pattern, output), pattern
    estimate = result.estimate
    assert estimate.folds == 2
    assert f"{estimate.images_per_epoch} images per epoch in {estimate.steps_per_epoch} steps of 8" in output
    assert f"{estimate.parameters:,} parameters, {estimate.trainable_parameters:,} of them trainable" in output
    if estimate.feature_seconds:
        assert f"steps of the head: {estimate.step_speed:.0f} images/s" in output
    else:
        speeds = f"{estimate.step_speed:.0f} images/s; input of this host: {estimate.input_speed:.0f} images/s"
        assert f"steps: {speeds}" in output
    assert estimate.epoch_seconds >= estimate.images_per_epoch / estimate.step_speed
    assert estimate.total_seconds > estimate.fold_seconds > estimate.building_seconds > 0


def test_a_dry_run_that_diverges_is_refused(record_set, monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    rows = mixture.read_sets(str(record_set))
    config = make_config(learning_rate=1e30, warmup_epochs=0.0, optimizer="sgd")
    with pytest.raises(
        ValueError, match="the training of the dry run diverged at step [12]: .* There is no checkpoint"
    ):
        dry_runs.estimate_training(mixture.plan_fold(rows, 0), rows, strategies.choose_strategy("default"), config, 1)
