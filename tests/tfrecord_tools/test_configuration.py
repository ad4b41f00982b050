import dataclasses
import pathlib
import typing

import numpy as np
import pytest
from absl import flags

from tfrecord_tools import cli, configuration, errors


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example(cli.Config):
    """One option of each kind."""

    RENAMED: typing.ClassVar[dict[str, str]] = {"size": "image_size"}

    output: str = cli.option(help="Where to.")
    image_size: int = cli.option(384, lower=8, upper=4096, help="Side in pixels.")
    rate: float = cli.option(0.5, lower=0.0, help="A rate.")
    mode: str = cli.option("crop", choices=("crop", "pad"), help="A mode.")
    check: bool = cli.option(False, help="A switch.")
    folds: str | None = cli.option(None, help="A file.")
    files: tuple[str, ...] = cli.option((), help="Files.")
    weights: tuple[str, ...] | None = cli.option(None, help="Numbers.")


def test_values_are_converted_to_the_types_of_their_fields(tmp_path):
    config = Example(output=tmp_path, rate=1, files="a.csv, b.csv", weights=[pathlib.Path("w")], folds=tmp_path / "f")
    assert (config.output, config.folds) == (str(tmp_path), str(tmp_path / "f"))
    assert (config.rate, type(config.rate)) == (1.0, float)
    assert (config.files, config.weights) == (("a.csv", "b.csv"), ("w",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.rate = 2.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"image_size": 7}, "expected image_size of at least 8, got 7"),
        ({"image_size": 5000}, "expected image_size of at most 4096, got 5000"),
        ({"image_size": "384"}, "expected image_size to be a whole number, got '384'"),
        ({"image_size": True}, "expected image_size to be a whole number, got True"),
        ({"image_size": None}, "expected image_size to be a whole number, got None"),
        ({"rate": float("nan")}, "expected rate of at least 0.0, got nan"),
        ({"mode": "stretch"}, "expected mode to be one of crop, pad, got 'stretch'"),
        ({"check": 1}, "expected check to be true or false, got 1"),
        ({"files": 3}, "expected files to be a list of texts, got 3"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        Example(output="x", **values)


def test_numbers_of_numpy_and_a_number_for_text_are_accepted():
    config = Example(output=0, image_size=np.int64(64), rate=np.float32(0.25))
    assert (config.output, config.image_size, config.rate) == ("0", 64, 0.25)
    assert [type(value) for value in (config.output, config.image_size, config.rate)] == [str, int, float]


def test_a_near_miss_of_a_choice_is_answered_with_the_right_one():
    with pytest.raises(errors.ConfigError, match="got 'corp'; did you mean crop?"):
        Example(output="x", mode="corp")


def test_old_names_are_read_from_text_and_absent_options_without_a_default_are_named():
    assert Example.from_text({"output": "x", "size": "64"}).image_size == 64
    with pytest.raises(errors.ConfigError, match="expected a value for output, got none"):
        Example.from_text({"image_size": "64"})


def test_a_field_without_a_default_must_be_given():
    with pytest.raises(TypeError, match="output"):
        Example()


def test_a_configuration_is_read_back_from_text():
    texts = {"output": "x", "image_size": "512", "rate": "2", "check": "True", "files": "a,b", "unknown": "1"}
    assert Example.from_text(texts) == Example(output="x", image_size=512, rate=2.0, check=True, files=("a", "b"))


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"image_size": "6x"}, "expected image_size to be a whole number, got '6x'"),
        ({"check": "maybe"}, "expected check to be true or false, got 'maybe'"),
        ({"rate": "-1"}, "expected rate of at least 0.0, got -1.0"),
    ],
)
def test_a_text_that_does_not_fit_its_field_is_refused(texts, message):
    with pytest.raises(errors.ConfigError, match=message):
        Example.from_text({"output": "x", **texts})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Derived(cli.Config):
    epochs: int = cli.option(15, lower=1, help="Epochs.")
    warmup: float = cli.option(None, lower=0.0, derive=lambda config: config.epochs / 10, help="Warm-up.")


def test_an_option_that_is_not_given_may_follow_from_others():
    assert Derived().warmup == 1.5
    assert Derived(epochs=5).warmup == Derived.from_text({"epochs": "5"}).warmup == 0.5
    assert Derived(epochs=5, warmup=0).warmup == 0.0
    values = flags.FlagValues()
    cli.define_flags(Derived, values, "program")
    values(["program", "--epochs=20"])
    assert values["warmup"].value is None
    with pytest.raises(errors.ConfigError, match="expected epochs to be a whole number, got 'x'"):
        Derived(epochs="x")
    with pytest.raises(errors.ConfigError, match="expected warmup of at least 0.0, got -1"):
        Derived(warmup=-1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"warmup": float("inf")}, "expected warmup to be a finite number, got inf"),
        ({"epochs": 2**63}, "expected epochs of at most 9223372036854775807, got 9223372036854775808"),
    ],
)
def test_a_number_that_no_tensor_holds_is_refused(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        Derived(**values)


def test_a_field_of_a_reserved_word_is_a_flag_without_its_underscore():
    assert [configuration.flag_name(name) for name in ("class_", "image_size")] == ["class", "image_size"]


def test_packages_that_are_missing_are_named_with_what_to_install():
    configuration.require_packages("--format=onnx", ("json", "csv"), "nothing")
    with pytest.raises(errors.ConfigError) as caught:
        configuration.require_packages("--format=onnx", ("json", "no_such_package"), "'json>=1' other")
    assert str(caught.value) == (
        "--format=onnx needs no_such_package, not installed here; install what is missing: pip install 'json>=1' other"
    )
