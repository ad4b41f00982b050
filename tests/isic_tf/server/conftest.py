import pytest
from starlette.testclient import TestClient
from tiny_runs import train_calibrated

from isic_tf.server import app, judging
from isic_tf.server.config import ServeConfig


@pytest.fixture(scope="package")
def run(record_set, tmp_path_factory):
    """A calibrated run of two folds, whose backbone processes of their own find too."""
    return train_calibrated(record_set, tmp_path_factory.mktemp("run"), backbone="tiny_runs:build_trunk")


@pytest.fixture(scope="package")
def config(run):
    return ServeConfig(workdir=str(run), max_images=4, max_upload_megabytes=8)


@pytest.fixture(scope="package")
def service(config):
    service = judging.JudgingService(config)
    yield service
    service.close()


@pytest.fixture
def client(service, config):
    with TestClient(app.make_app(service, config, ""), "http://127.0.0.1:8000") as client:
        yield client
