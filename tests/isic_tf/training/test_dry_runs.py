import re

import pytest
from harness import ROOT, make_config, parse_train_flags, tiny_trunk

from isic_tf.data import mixture
from isic_tf.distribution import strategies
from isic_tf.models import backbones
from isic_tf.training import dry_runs, loop

CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.flags"))
ESTIMATE = dry_runs.TrainingEstimate(
    images_per_epoch=800,
    steps_per_epoch=100,
    epochs=3,
    folds=2,
    parameters=1000,
    trainable_parameters=900,
    device_memory=10**9,
    step_speed=80.0,
    input_speed=40.0,
    building_seconds=30.0,
    epoch_seconds=20.0,
    evaluation_seconds=2.5,
    decoding_seconds=60.0,
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
        r"each of 1 device\(s\) processes \d images at a time \(.*\) and needs about 0\.\d\d GB: .* TPU core of 16 GB",
        r"training steps: \d+ images/s; input of this host: \d+ images/s at 32 px: "
        r"(not input-bound|input-bound|the input is decoded once)",
        r"\d+ epochs of .* and .* of evaluation: .* per fold; 2 folds: .*\. Nothing was written",
    ):
        assert re.search(pattern, output), pattern
    estimate = result.estimate
    assert estimate.folds == 2
    assert f"{estimate.images_per_epoch} images per epoch in {estimate.steps_per_epoch} steps of 8" in output
    assert f"{estimate.parameters:,} parameters, {estimate.trainable_parameters:,} of them trainable" in output
    assert (
        f"steps: {estimate.step_speed:.0f} images/s; input of this host: {estimate.input_speed:.0f} images/s" in output
    )
    assert estimate.epoch_seconds >= estimate.images_per_epoch / estimate.step_speed
    assert estimate.total_seconds > estimate.fold_seconds > estimate.building_seconds > 0


def test_the_time_of_a_run_worked_by_hand():
    # Three epochs, and four evaluations: that of the kept weights too.
    assert ESTIMATE.fold_seconds == 30 + 3 * 20 + 4 * 2.5
    assert ESTIMATE.total_seconds == 60 + 2 * 100
    assert dry_runs._describe_time(ESTIMATE, 2400) == (
        "3 epochs of 20 s and 2 s of evaluation: 1 min 40 s per fold; 2 folds: 3 min 20 s; decoding 2400 images "
        "before: 1 min 0 s. Nothing was written."
    )


def test_what_limits_the_speed_is_named():
    start = "training steps: 80 images/s; input of this host: 40 images/s at 64 px: "
    assert dry_runs._describe_speed(ESTIMATE, 64, False) == f"{start}input-bound: more cores or --cache would help"
    assert dry_runs._describe_speed(ESTIMATE, 64, True) == f"{start}the input is decoded once, for the cache"


def test_a_dry_run_that_diverges_is_refused(record_set, monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    rows = mixture.read_sets(str(record_set))
    config = make_config(learning_rate=1e30, warmup_epochs=0.0, optimizer="sgd")
    with pytest.raises(
        ValueError, match="the training of the dry run diverged at step [12]: .* There is no checkpoint"
    ):
        dry_runs.estimate_training(mixture.plan_fold(rows, 0), rows, strategies.choose_strategy("default"), config, 1)


def test_times_are_formatted_in_two_units():
    assert [dry_runs._format_duration(seconds) for seconds in (4.4, 60, 3725)] == ["4 s", "1 min 0 s", "1 h 2 min"]
