import pytest
from harness import RECIPE, tiny_trunk

from isic_tf.models import backbones
from isic_tf.postprocessing import calibrate_run
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig


@pytest.fixture
def small_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


@pytest.fixture(scope="package")
def run(record_set, tmp_path_factory):
    """A calibrated run of two folds."""
    folder = tmp_path_factory.mktemp("run")
    options = {**RECIPE, "epochs": 2, "data_dir": str(record_set), "workdir": str(folder), "fold": "all"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        loop.train(TrainConfig(strategy="default", **options))
        calibrate_run.calibrate(calibrate_run.CalibrateConfig(workdir=str(folder), method="platt"))
    return folder
