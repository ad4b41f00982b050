import pytest

from isic_tf.models.conversion import weights_command
from isic_tf.models.conversion.config import WeightsConfig
from tfrecord_tools import errors


def test_each_of_the_three_does_its_own(monkeypatch, caplog):
    monkeypatch.setattr(weights_command.list_weights, "list_published", lambda: ["a table"])
    monkeypatch.setattr(weights_command.check_weights, "describe_file", lambda path, backbone: [path, str(backbone)])
    monkeypatch.setattr(weights_command.convert_weights, "convert_file", lambda config: [config.output])
    with caplog.at_level("INFO"):
        assert weights_command.run_weights(WeightsConfig(list=True)) == ["a table"]
        assert weights_command.run_weights(WeightsConfig(check="a.h5", backbone="efficientnet-b0")) == [
            "a.h5",
            "efficientnet-b0",
        ]
        assert weights_command.run_weights(WeightsConfig(convert="a.pth", output="b.h5")) == ["b.h5"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected one of --list, --check=FILE and --convert=FILE, got none"),
        ({"list": True, "check": "a.h5"}, "got --list and --check"),
        ({"convert": "a.pth"}, "--convert writes to --output=PATH.h5: give both or neither"),
        ({"check": "a.pth", "output": "b.h5"}, "give both or neither"),
        ({"list": True, "backbone": "efficientnet-b0"}, "expected --backbone only with --check or --convert"),
        ({"check": "a.pth", "model": "tf_efficientnet_b0"}, "expected --model and --normalization only with --convert"),
        ({"convert": "a.pth", "output": "b.h5", "normalization": "caffe"}, "caffe"),
        ({"check": "a.h5", "backbone": "densnet121"}, "did you mean densenet-121"),
        ({"convert": "a.pth", "output": "b.h5", "backbone": "densenet-121"}, "with --convert .* got densenet-121"),
    ],
)
def test_options_that_do_not_fit_each_other_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        WeightsConfig(**options)
