import dataclasses
import importlib

import pytest
from harness import ROOT

from isic_tf.inference.config import PredictFilesConfig
from isic_tf.postprocessing.ensemble_config import EnsembleConfig
from tfrecord_tools import cli, configuration, errors, option_paths
from tfrecord_tools.splits.config import FoldsConfig

COMMANDS = [
    f"{path.parent.name}.{path.stem}"
    for root in ("isic_tf", "tfrecord_tools")
    for path in sorted((ROOT / root).glob("*.py"))
    if "CONFIG = " in path.read_text()
]
CONFIGS = [pytest.param(importlib.import_module(name).CONFIG, id=name) for name in COMMANDS]
# Paths in the options of one command, other texts in those of another.
PATHS_OF_SOME = {"metadata": "ContextFilesConfig", "weights": "TrainConfig"}
# Texts that are no path.
OTHERS = {
    "tpu",
    "fold",
    "backbone",
    "target",
    "classes",
    "positive_classes",
    "mix",
    "freeze_epochs",
    "profile",
    "compile_for",
    "operate_at",
    "host",
    "groups",
    "columns",
    "quantize",
    "names",
    "class_",
    "class_map",
    "model",
    "keep",
    "beam_options",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example(cli.Config):
    """Options of each role."""

    csv: str | None = cli.option(None, path="read", help="Tables.")
    files: tuple[str, ...] = cli.option((), path="read", help="Files.")
    workdir: str | None = cli.option(None, path="read", files=("oof.csv", "fold*/oof.csv"), help="A run.")
    output: str | None = cli.option(None, path="write", help="A file.")
    report: str | None = cli.option(None, path="write", help="A file.")
    place: str | None = cli.option(None, path="directory", help="A directory.")
    model: str | None = cli.option(None, path="directory", files=("other.csv",), help="A model.")
    name: str | None = cli.option(None, help="No path.")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("t.csv", "a,b.csv", "run/fold0/oof.csv", "run/other.csv", "home/t.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.csv").symlink_to("t.csv")
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "t.csv")
    return tmp_path


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"csv": "t.csv", "output": "t.csv"},
            "--output to be another file than --csv, got t.csv for both; name another",
        ),
        ({"csv": "t.csv", "output": "run/../t.csv"}, "--csv, got run/../t.csv for both"),
        ({"csv": "t.csv", "output": "link.csv"}, "--csv, got link.csv for both"),
        ({"csv": "link.csv", "output": "t.csv"}, "--csv, got t.csv for both"),
        ({"csv": "other.csv, t.csv", "output": "t.csv"}, "--csv, got t.csv for both"),
        ({"csv": "other.csv,a,b.csv", "output": "a,b.csv"}, "--csv, got a,b.csv for both"),
        ({"csv": "t*.csv", "output": "t.csv"}, "--csv, got t.csv for both"),
        ({"csv": "~/t.csv", "output": "home/t.csv"}, "--csv, got home/t.csv for both"),
        (
            {"files": ("x.csv", "t.csv"), "report": "t.csv"},
            "--report to be another file than --files, got t.csv for both",
        ),
        ({"output": "new", "report": "./new"}, "--report to be another file than --output, got ./new for both"),
        ({"workdir": "run", "output": "run/oof.csv"}, "than those of --workdir, got run/oof.csv; name another"),
        ({"workdir": "run/", "output": "run/fold0/oof.csv"}, "than those of --workdir, got run/fold0/oof.csv; name"),
        ({"csv": "gs://b/t.csv", "output": "gs://b/t.csv"}, "--csv, got gs://b/t.csv for both"),
        ({"csv": "gs://b/*.csv", "output": "gs://b/t.csv"}, "--csv, got gs://b/t.csv for both"),
        ({"csv": "r?n/*.tfrec", "output": "run/new.tfrec"}, "--csv, got run/new.tfrec for both"),
        ({"csv": "t.csv", "output": "hard.csv"}, "--csv, got hard.csv for both"),
        ({"model": "run", "output": "run/other.csv"}, "than those of --model, got run/other.csv; name another"),
    ],
)
def test_an_output_that_is_an_input_or_another_output_is_refused(place, values, message):
    with pytest.raises(errors.ConfigError) as caught:
        Example(**values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        {"csv": "t.csv", "output": "u.csv", "report": "u.html"},
        # A second run replaces what the first has written.
        {"workdir": "run", "output": "run/other.csv"},
        {"csv": "t.csv", "place": "."},
        {"csv": "run", "place": "run"},
        {"name": "t.csv", "output": "t.csv"},
        {"csv": "gs://b/t.csv", "output": "t.csv"},
        # Tables beside shards, which patterns of shards leave out, in a second run too.
        {"csv": "run/*", "output": "run/other.csv"},
        {"csv": "gs://b/run/*", "output": "gs://b/run/sub/pairs.tfrec"},
    ],
)
def test_other_outputs_are_accepted(place, values):
    Example(**values)


def test_the_home_directory_is_expanded_in_paths_only(place):
    home = str(place / "home")
    config = Example(csv="a.csv, ~/b.csv", files="~/c.csv,x", output="~/d.csv", place="~", name="~/e")
    assert config.csv == f"a.csv, {home}/b.csv"
    assert config.files == (f"{home}/c.csv", "x")
    assert (config.output, config.place, config.name) == (f"{home}/d.csv", home, "~/e")
    assert option_paths.expand_home("~anna/x,a~/b,gs://b/~/c") == "~anna/x,a~/b,gs://b/~/c"


@pytest.mark.parametrize("config_class", CONFIGS)
def test_every_option_of_a_command_that_is_a_path_says_so(config_class):
    for field in dataclasses.fields(config_class):
        kind, _ = configuration.find_kind(config_class, field)
        is_text = (kind is str or configuration.is_list(kind)) and not field.metadata["choices"]
        if is_text and field.name not in OTHERS and field.name not in PATHS_OF_SOME:
            assert field.metadata["path"] in option_paths.ROLES
        elif field.name not in PATHS_OF_SOME:
            assert field.metadata["path"] is None
        else:
            assert (field.metadata["path"] == "read") == (config_class.__name__ == PATHS_OF_SOME[field.name])


@pytest.mark.parametrize("config_class", CONFIGS)
def test_every_command_refuses_each_of_its_inputs_as_an_output(place, config_class):
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    outputs = [name for name, field in fields.items() if field.metadata["path"] == "write"]
    inputs = [name for name, field in fields.items() if field.metadata["path"] == "read"]
    required = {name: "needed" for name, field in fields.items() if field.default is dataclasses.MISSING}
    for output in outputs:
        for name in inputs:
            with pytest.raises(
                errors.ConfigError, match=f"expected --{output} to be another file than (those of )?--{name}"
            ):
                config_class(**{**required, name: "t.csv", output: "t.csv"})


def test_configs_of_python_are_checked_too(place):
    with pytest.raises(errors.ConfigError, match="expected --output to be another file than --csv, got t.csv for both"):
        FoldsConfig(csv="t.csv", output="t.csv")
    with pytest.raises(errors.ConfigError, match="--oof_output to be another file than --oof"):
        EnsembleConfig(predictions=("a", "b"), output="c", oof=("d", "e"), oof_output="e")
    with pytest.raises(errors.ConfigError, match="expected --embeddings to be another file than those of --workdir"):
        PredictFilesConfig(workdir="run", records="x", output="c", embeddings="run/fold0/oof.csv")
