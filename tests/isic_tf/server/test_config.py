import importlib.util

import pytest

from isic_tf.server import config
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.0.0.2", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.1.5", False),
        ("localhost.example.org", False),
    ],
)
def test_only_this_machine_is_local(host, is_local):
    assert config.ServeConfig(workdir="run", host=host).is_local is is_local


def test_without_the_extra_one_line_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fastapi" else find(name))
    with pytest.raises(errors.ConfigError, match="needs fastapi, not installed here; .*: pip install fastapi uvicorn"):
        config.ServeConfig(workdir="run").check_inputs()


@pytest.mark.parametrize("option", [{"port": -1}, {"max_images": 0}, {"max_seconds": 0}, {"prevalence": 2.0}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(errors.ConfigError, match=next(iter(option))):
        config.ServeConfig(workdir="run", **option)
