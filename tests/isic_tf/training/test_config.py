import dataclasses
import importlib
import re

import numpy as np
import pytest
import tensorflow as tf
from harness import ROOT, make_config, parse_train_flags

from isic_tf.artifacts import run_directory, run_flags
from isic_tf.models import backbones
from isic_tf.optim import config, lr_schedules
from isic_tf.training import config_checks
from isic_tf.training.config import TrainConfig
from tfrecord_tools import errors

CONFIGS = sorted((ROOT / "experiments" / "configs").glob("*.flags"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_weights_of_every_config_are_published_and_its_batch_can_be_shared(path):
    config = parse_train_flags(f"--flagfile={path}", "--data_dir=records", "--workdir=run")
    assert config.weights in ("none", *backbones.published(config.backbone))
    # By the eight cores of a TPU host, or by as many GPUs.
    assert config.global_batch_size % (8 * config.gradient_accumulation_steps) == 0


def test_every_config_names_its_source_and_its_score():
    names = {path.stem for path in CONFIGS}
    wanted = {
        "demo",
        "deotte_b6_384",
        "winner_b4_512",
        "winner_b6_640",
        "masdevallia_b6_512",
        "tpu_v5e_b4_384",
        "v2s_384",
        "lite0_224",
        "lite0_320_probe",
        "lite2_260",
    }
    assert names == wanted
    for path in CONFIGS:
        comment = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
        assert re.search("Published: .*0\\.9|score .*is published|AUC", comment), path


def test_the_flags_of_a_run_are_a_flagfile_of_the_same_config(tmp_path, index):
    given = parse_train_flags(
        "--data_dir=records", "--workdir=run", "--ema=0.5", "--sync_batch_norm", "--metadata=age,sex"
    )
    run_directory.claim(str(tmp_path), given.settings(), (), index)
    assert parse_train_flags(f"--flagfile={tmp_path / run_directory.FLAGS_FILE}", "--workdir=run") == given


def test_a_run_directory_records_all_options_but_where_and_which_fold():
    config = make_config(fold="all", dry_run=True)
    names = {field.name for field in dataclasses.fields(TrainConfig)}
    assert config.settings().keys() == names - {"workdir", "fold", "dry_run", "compile_for"}
    assert list(config.settings()) == sorted(config.settings())
    assert config.settings()["learning_rate"] == 1e-2


@pytest.mark.parametrize("line", ["accumulate=2", "keep=last", "backbone_rate=0.5", "malignant_repeats=3"])
def test_flags_of_release_0_1_are_accepted(line):
    name, value = line.split("=")
    config = parse_train_flags("--data_dir=records", "--workdir=run", f"--{line}")
    assert str(getattr(config, run_flags.RENAMED_FLAGS[name])) == value


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "hinge"}, "expected loss to be one of cross_entropy, focal, auc, got 'hinge'"),
        ({"balance": 1.0}, "expected balance of at most 0.99, got 1.0"),
        ({"epochs": 0}, "expected epochs of at least 1, got 0"),
    ],
)
def test_values_out_of_range_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_config(**changes)


def test_the_flags_of_a_run_read_back_into_its_config(tmp_path, index):
    given = make_config(workdir=str(tmp_path), metadata="age,sex", sync_batch_norm=True, learning_rate=1e-4)
    run_directory.claim(str(tmp_path), given.settings(), (), index)
    assert TrainConfig.from_run(tmp_path) == given


def test_the_flags_of_a_run_of_release_0_1_read_back_too():
    config = TrainConfig.from_run(ROOT / "tests" / "data" / "v0_1" / "run")
    assert (config.keep_weights, config.gradient_accumulation_steps) == ("last", 2)
    assert (config.backbone_lr_multiplier, config.malignant_oversampling) == (0.5, 2)
    assert (config.metadata, config.ema, config.deterministic) == ("age,sex,site", 0.9, True)


def test_damaged_flags_of_a_run_are_named(tmp_path):
    (tmp_path / "flags.txt").write_text("--data_dir=records\n--dropout=abc\n")
    with pytest.raises(
        errors.CorruptRecordError, match="flags.txt is damaged: expected dropout to be a number, got 'abc'"
    ):
        TrainConfig.from_run(tmp_path)


COMMANDS = {
    "isic_tf": ["train", "predict", "evaluate", "calibrate", "context", "explain", "export", "show"],
    "tfrecord_tools": ["build", "index", "verify", "folds", "duplicates", "synth"],
}


# Options that others need beside them.
COMPANIONS = {"predict": {"images": "a"}, "context": {"oof": "a"}, "evaluate": {"unit": "lesion"}}


def list_ends(config_class):
    """Lists each option of a configuration with the values at the ends of its range."""
    for field in dataclasses.fields(config_class):
        limits = [field.metadata["lower"], field.metadata["upper"]]
        if limits != [None, None]:
            # Where there is no limit, more than anybody gives.
            is_whole = "int" in str(field.type)
            limits = [limits[0], (2**63 - 1 if is_whole else 1e308) if limits[1] is None else limits[1]]
            limits = [value if value is None or not is_whole else int(value) for value in limits]
        for value in [*limits, *(field.metadata["choices"] or ())]:
            if value is not None:
                yield field.name, value


def make_minimal(config_class, **values):
    """A configuration of the defaults but for some values."""
    fields = dataclasses.fields(config_class)
    required = [field.name for field in fields if field.default is dataclasses.MISSING]
    return config_class(**{name: f"{name},b" for name in required} | values)


@pytest.mark.parametrize("command", [f"{root}.{name}" for root, names in COMMANDS.items() for name in names])
def test_every_option_of_a_command_may_be_at_the_ends_of_its_range(command):
    config_class = importlib.import_module(command).CONFIG
    for name, value in list_ends(config_class):
        config = make_minimal(config_class, **COMPANIONS.get(command.partition(".")[2], {}) | {name: value})
        assert getattr(config, name) == value
        values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config_class)}
        texts = {name: ",".join(given) if isinstance(given, tuple) else str(given) for name, given in values.items()}
        known = {name: text for name, text in texts.items() if values[name] is not None}
        assert config_class.from_text(known) == config


# What a run cannot have, whatever else is given.
REFUSED = {
    ("warmup_epochs", 1e308): "expected a warm-up shorter than",
    ("gradient_accumulation_steps", 2**63 - 1): "use",
    ("pseudo_weight", 1.0): "expected --pseudo_csv with --pseudo_weight=1.0, got none",
}


@pytest.mark.parametrize(("name", "value"), list(list_ends(TrainConfig)))
def test_the_defaults_fit_every_option_at_the_ends_of_its_range(name, value):
    config = make_minimal(TrainConfig, **{name: value})
    if (name, value) in REFUSED:
        with pytest.raises(errors.ConfigError, match=REFUSED[name, value]):
            config_checks.check_options(config, 1, on_tpu=False)
            lr_schedules.make_schedule(config, steps=23)
        return
    config_checks.check_options(config, 1, on_tpu=False)
    for steps in (1, 23):
        for first in (0, config.num_frozen_epochs * steps):
            schedule = lr_schedules.make_schedule(config, steps, first=first)
            rates = schedule(tf.constant([0, 1, steps - 1, steps, 15 * steps])).numpy()
            assert (rates >= 0).all()
            assert (rates <= np.float32(config.learning_rate) * 1.000001).all()


@pytest.mark.parametrize("schedule", config.SCHEDULES)
@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 100])
@pytest.mark.parametrize("steps", [1, 2, 23])
def test_the_default_warm_up_is_at_most_a_tenth_of_the_run(schedule, epochs, steps):
    config = make_minimal(TrainConfig, schedule=schedule, epochs=epochs)
    assert config.warmup_epochs <= min(1, epochs / 10)
    assert config.warmup_epochs == (1 if epochs >= 10 else 0 if schedule == "deotte" else epochs / 10)
    rates = lr_schedules.make_schedule(config, steps)(tf.range(epochs * steps)).numpy()
    assert rates.max() == pytest.approx(config.learning_rate, rel=1e-3)


def test_a_given_warm_up_that_does_not_fit_is_refused():
    config = make_minimal(TrainConfig, epochs=1, warmup_epochs=1.0)
    with pytest.raises(errors.ConfigError, match="expected a warm-up shorter than the run's 23 steps, got 23; lower"):
        lr_schedules.make_schedule(config, 23)


@pytest.mark.parametrize("backbone", backbones.BACKBONES)
def test_the_default_weights_of_every_backbone_are_published(backbone):
    config = make_minimal(TrainConfig, backbone=backbone)
    assert config.weights == ("none", *backbones.published(backbone))[-1]
    assert make_minimal(TrainConfig, backbone=backbone, weights="none").weights == "none"


def test_weights_that_do_not_exist_are_refused_before_anything_is_read(tmp_path):
    message = (
        "expected a weights file at nosuch.h5, which does not exist; --weights is none, imagenet, noisy-student or"
    )
    with pytest.raises(errors.ConfigError, match=message):
        config_checks.check_options(make_config(weights="nosuch.h5"), 1, on_tpu=False)
    with pytest.raises(errors.ConfigError, match="did you mean imagenet"):
        config_checks.check_options(make_config(weights="imagnet"), 1, on_tpu=False)
    with pytest.raises(errors.ConfigError, match="which is a directory; --weights is"):
        config_checks.check_options(make_config(weights=str(tmp_path)), 1, on_tpu=False)


def test_a_linear_probe_has_defaults_of_its_own():
    probe = make_minimal(TrainConfig, freeze_epochs="all")
    assert probe.is_probe
    assert (probe.epochs, probe.learning_rate, probe.warmup_epochs, probe.num_frozen_epochs) == (30, 3e-3, 1.0, 30)
    given = make_minimal(TrainConfig, freeze_epochs="all", epochs=4, learning_rate=1e-2)
    assert (given.epochs, given.learning_rate, given.num_frozen_epochs) == (4, 1e-2, 4)
    plain = make_minimal(TrainConfig, freeze_epochs=2)
    assert not plain.is_probe
    assert (plain.epochs, plain.learning_rate, plain.freeze_epochs, plain.num_frozen_epochs) == (15, 3e-4, "2", 2)
    assert parse_train_flags("--data_dir=records", "--workdir=run", "--freeze_epochs=all").is_probe


@pytest.mark.parametrize("text", ["-1", "1.5", "some", "", "9" * 19])
def test_frozen_epochs_are_a_number_or_all(text):
    with pytest.raises(errors.ConfigError, match=f"freeze_epochs to be a whole number from 0, or all, got '{text}'"):
        make_minimal(TrainConfig, freeze_epochs=text)
