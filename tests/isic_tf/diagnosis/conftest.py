import pytest
from harness import tiny_trunk
from tiny_runs import train_calibrated

from isic_tf.models import backbones


@pytest.fixture
def small_backbone(monkeypatch, tmp_path):
    # Where graphs are kept.
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


@pytest.fixture(scope="package")
def run(record_set, tmp_path_factory):
    """A calibrated run of two folds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        return train_calibrated(record_set, tmp_path_factory.mktemp("run"))
