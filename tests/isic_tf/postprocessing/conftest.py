"""Prediction files of three models for the tests of this package."""

import pytest
from ensemble_files import make_runs


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make_runs(tmp_path_factory.mktemp("models"))
