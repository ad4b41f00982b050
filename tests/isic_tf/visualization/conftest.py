"""A run whose networks are explained."""

import pytest
from tiny_runs import build_tiny, make_run

from isic_tf.models import classifiers


@pytest.fixture
def run(tmp_path, index, monkeypatch):
    """Directory of a run of two folds with small networks."""
    monkeypatch.setattr(classifiers, "build_classifier", build_tiny)
    make_run(tmp_path, index)
    return tmp_path
