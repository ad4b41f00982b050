"""A run with a small backbone."""

import pytest
from harness import RECIPE, tiny_trunk

from isic_tf.models import backbones
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig


@pytest.fixture
def small_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


@pytest.fixture(scope="module")
def run(record_set, tmp_path_factory):
    """A run of two folds that sees age, sex and site."""
    folder = tmp_path_factory.mktemp("run")
    sets = {"data_dir": str(record_set), "extra_data_dir": "", "workdir": str(folder), "fold": "all"}
    devices = {"strategy": "default", "tpu": "", "dry_run": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        loop.train(TrainConfig(**sets, **devices, **{**RECIPE, "epochs": 2, "metadata": "age,sex,site"}))
    return folder
