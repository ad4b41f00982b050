import dataclasses
import re

import pytest
from absl import flags
from harness import ROOT, tiny_trunk

from isic_tf.artifacts import run_directory
from isic_tf.models import backbones
from isic_tf.training import dry_runs, loop
from isic_tf.training.config import TrainConfig
from tfrecord_tools import cli

RECIPES = sorted((ROOT / "experiments" / "configs").glob("*.flags"))


def parse(*arguments):
    """Parses a command line of `isic_tf.train`."""
    values = flags.FlagValues()
    cli.define_flags(TrainConfig, values, "train")
    values(["train", *arguments])
    return TrainConfig(**{field.name: values[field.name].value for field in dataclasses.fields(TrainConfig)})


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_rehearsed_at_a_tiny_size(path, record_set, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    where = [f"--data_dir={record_set}", f"--workdir={tmp_path / 'run'}", "--strategy=default", "--fold=all"]
    tiny = ["--image_size=32", "--weights=none", "--global_batch_size=8", "--shuffle_buffer=16", "--threads=2"]
    loop.train(parse(f"--flagfile={path}", *where, *tiny, "--dry_run"))
    output = capsys.readouterr().out
    assert not (tmp_path / "run").exists()
    for pattern in (
        r"\d+ images an epoch in \d+ steps of 8",
        r"[\d,]+ parameters, [\d,]+ of them in training",
        r"memory: \d+\.\d GB of this process",
        r"each of 1 device\(s\) takes \d images at a time \(.*\) and needs about 0\.\d\d GB: .* a TPU core of 16 GB",
        r"steps \d+ images/s; this host can feed \d+ images/s at 32 px: "
        r"(not input-bound|input-bound|the input is decoded once)",
        r"\d+ epochs of .* and .* of judging: .* a fold; 2 folds: .*\. Nothing was written",
    ):
        assert re.search(pattern, output), pattern


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipes_weights_are_published_and_its_batch_can_be_shared(path):
    recipe = parse(f"--flagfile={path}", "--data_dir=records", "--workdir=run")
    assert recipe.weights in ("none", *backbones.published(recipe.backbone))
    # By the eight cores of a TPU host, or by as many GPUs.
    assert recipe.global_batch_size % (8 * recipe.gradient_accumulation_steps) == 0


def test_every_recipe_says_where_it_is_from_and_what_it_scored():
    names = {path.stem for path in RECIPES}
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
    for path in RECIPES:
        comment = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
        assert re.search("Published: .*0\\.9|score .*is published|AUC", comment), path


def test_times_are_said_in_the_units_that_fit():
    assert [dry_runs._duration(seconds) for seconds in (4.4, 60, 3725)] == ["4 s", "1 min 0 s", "1 h 2 min"]


def test_the_flags_of_a_run_are_a_flagfile_that_gives_them_again(tmp_path, index):
    given = parse("--data_dir=records", "--workdir=run", "--ema=0.5", "--sync_batch_norm", "--metadata=age,sex")
    settings = {name: value for name, value in given.items() if name not in ("workdir", "fold", "dry_run")}
    run_directory.claim(str(tmp_path), settings, (), index)
    assert parse(f"--flagfile={tmp_path / run_directory.FLAGS_FILE}", "--workdir=run") == given
