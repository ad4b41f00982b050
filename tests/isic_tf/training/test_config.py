import dataclasses
import re

import pytest
from harness import ROOT, make_config, parse_train_flags

from isic_tf.artifacts import run_directory
from isic_tf.models import backbones
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
    assert config.settings().keys() == names - {"workdir", "fold", "dry_run"}
    assert list(config.settings()) == sorted(config.settings())
    assert config.settings()["learning_rate"] == 1e-2


@pytest.mark.parametrize("line", ["accumulate=2", "keep=last", "backbone_rate=0.5", "malignant_repeats=3"])
def test_flags_of_release_0_1_are_accepted(line):
    name, value = line.split("=")
    config = parse_train_flags("--data_dir=records", "--workdir=run", f"--{line}")
    assert str(getattr(config, run_directory.RENAMED_FLAGS[name])) == value


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
