"""The contract of the commands: a right result or one line and exit code 1; nothing half-written is left behind.

Every command runs in this process by the function that the command line calls, on inputs that are missing, of the wrong
kind, damaged or awkward, with outputs that cannot be written, twice, and interrupted.
"""

import dataclasses
import importlib
import os
import pathlib
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import source_weights
from harness import BUILD, PREDICT, RECIPE, build_set, make_config, predicted, tiny

from isic_tf.models import backbones, classifiers
from isic_tf.training import loop
from tfrecord_tools import cli
from tfrecord_tools.io import filesystem
from tfrecord_tools.synthetic import dataset

AWKWARD = "own, [1] Größe"


@dataclasses.dataclass(frozen=True)
class Command:
    """A valid call: options whose values are relative to the fixture `world`, and which of them are files.

    Attributes:
        module: The command.
        options: Options of the call; `{out}` stands for an empty directory.
        tables: Options that name one CSV file.
        directories: Options that name a directory to read.
        patterns: Options that are glob patterns.
        outputs: Options that name what is written.
    """

    module: str
    options: dict
    tables: tuple = ()
    directories: tuple = ()
    patterns: tuple = ()
    outputs: tuple = ("output",)


SMALL = {name: BUILD[name] for name in ("image_size", "num_shards", "num_folds", "workers")}
COMMANDS = {
    "build": Command(
        "tfrecord_tools.build",
        {"csv": "train.csv", "images": "jpeg", "output": "{out}/set", **SMALL},
        tables=("csv",),
        directories=("images",),
    ),
    "build with folds": Command(
        "tfrecord_tools.build",
        {"csv": "train.csv", "images": "jpeg", "folds": "folds.csv", "output": "{out}/set", **SMALL},
        tables=("folds",),
    ),
    "rebuild": Command(
        "tfrecord_tools.build",
        {"csv": "train.csv", "records": "records/train*.tfrec", "output": "{out}/set", **SMALL},
        tables=("csv",),
        patterns=("records",),
    ),
    "index": Command(
        "tfrecord_tools.index",
        {"records": "records/train*.tfrec", "csv": "train.csv", "folds": "folds.csv", "output": "{out}/set"},
        tables=("csv", "folds"),
        patterns=("records",),
    ),
    "verify": Command(
        "tfrecord_tools.verify",
        {"records": "records/train*.tfrec", "duplicates": "pairs.csv"},
        tables=("duplicates",),
        patterns=("records",),
        outputs=(),
    ),
    "folds": Command(
        "tfrecord_tools.folds",
        {"csv": "train.csv", "output": "{out}/folds.csv", "num_folds": 2, "duplicates": "pairs.csv"},
        tables=("csv", "duplicates"),
    ),
    "audit of folds": Command(
        "tfrecord_tools.folds", {"csv": "train.csv", "audit": "folds.csv"}, tables=("audit",), outputs=()
    ),
    "duplicates": Command(
        "tfrecord_tools.duplicates",
        {"records": "records/train*.tfrec", "output": "{out}/pairs.csv", "workers": 1},
        patterns=("records",),
    ),
    "duplicates of files": Command(
        "tfrecord_tools.duplicates",
        {"images": "jpeg/test", "output": "{out}/pairs.csv", "workers": 1},
        directories=("images",),
    ),
    "tables": Command(
        "tfrecord_tools.tables",
        {"tables": "train.csv", "images": "jpeg", "output": "{out}/train.csv"},
        tables=("tables",),
        directories=("images",),
    ),
    "synth": Command("tfrecord_tools.synth", {"output": "{out}/data", "num_patients": 2}),
    "train": Command(
        "isic_tf.train",
        {**RECIPE, "data_dir": "records", "workdir": "{out}/run", "epochs": 1, "fold": "0"},
        directories=("data_dir",),
        outputs=("workdir",),
    ),
    "predict": Command(
        "isic_tf.predict",
        {
            **PREDICT,
            "workdir": "run",
            "records": "records/test*.tfrec",
            "output": "{out}/test.csv",
            "sample_submission": "sample_submission.csv",
        },
        tables=("sample_submission",),
        directories=("workdir",),
        patterns=("records",),
    ),
    "predict files": Command(
        "isic_tf.predict",
        {**PREDICT, "workdir": "run", "images": "jpeg/test", "csv": "test.csv", "output": "{out}/test.csv"},
        tables=("csv",),
        directories=("images",),
    ),
    "diagnose": Command(
        "isic_tf.diagnose",
        {"workdir": "run", "images": "jpeg/test", "report": "{out}/page.html", "json": "{out}/page.json"},
        directories=("images", "workdir"),
        outputs=("report", "json"),
    ),
    # A valid call serves until it is stopped.
    "serve": Command("isic_tf.serve", {"workdir": "run"}, directories=("workdir",), outputs=()),
    "evaluate": Command(
        "isic_tf.evaluate",
        {"predictions": "oof.csv", "labels": "train.csv", "output": "{out}/metrics.json"},
        tables=("predictions", "labels"),
    ),
    "calibrate": Command(
        "isic_tf.calibrate",
        {"workdir": "run", "oof": "oof.csv", "labels": "train.csv"},
        tables=("oof", "labels"),
        directories=("workdir",),
        outputs=(),
    ),
    "ensemble": Command(
        "isic_tf.ensemble",
        {
            "predictions": "test_1.csv,test_2.csv",
            "output": "{out}/mean.csv",
            "sample_submission": "sample_submission.csv",
        },
        tables=("sample_submission",),
    ),
    "context": Command(
        "isic_tf.context",
        {
            "oof": "oof.csv",
            "metadata": "train.csv",
            "method": "rank",
            "output": "{out}/context.csv",
            "permutations": 0,
            "strategy": "default",
        },
        tables=("oof", "metadata"),
    ),
    "explain": Command(
        "isic_tf.explain",
        {"workdir": "run", "records": "records/train*.tfrec", "output": "{out}/explain.png", "images": 2},
        directories=("workdir",),
        patterns=("records",),
    ),
    "export": Command("isic_tf.export", {"workdir": "run", "output": "{out}/model"}, directories=("workdir",)),
    "submission": Command(
        "isic_tf.submission",
        {"submission": "submission.csv", "sample_submission": "sample_submission.csv"},
        tables=("submission", "sample_submission"),
        outputs=(),
    ),
    "show": Command(
        "isic_tf.show",
        {"records": "records/train*.tfrec", "output": "{out}/sheet.png", "images": 4},
        patterns=("records",),
    ),
    "weights": Command("isic_tf.weights", {"convert": "lite0.npz", "output": "{out}/lite0.h5"}),
}
TABLES = [(name, option) for name, command in COMMANDS.items() for option in command.tables]
DIRECTORIES = [(name, option) for name, command in COMMANDS.items() for option in command.directories]
PATTERNS = [(name, option) for name, command in COMMANDS.items() for option in command.patterns]
OUTPUTS = [(name, option) for name, command in COMMANDS.items() for option in command.outputs]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Directory with valid inputs of all commands; tests do not change it."""
    folder = tmp_path_factory.mktemp("world")
    dataset.make_dataset(dataset.SynthConfig(output=str(folder), num_patients=5, malignant_rate=0.4, seed=3))
    for split in ("train", "test"):
        build_set(folder / f"{split}.csv", folder / "jpeg", folder / "records", split)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "build_classifier", tiny)
        loop.train(make_config(data_dir=str(folder / "records"), workdir=str(folder / "run"), epochs=1, fold="all"))
        test = predicted(folder / "run", folder / "test_1.csv", records=str(folder / "records" / "test*.tfrec"))
        table = test.reset_index()
        table.to_csv(folder / "test_2.csv", index=False)
        table.rename(columns={"prediction": "target"}).to_csv(folder / "submission.csv", index=False)
        shutil.copy(folder / "run" / "oof.csv", folder / "oof.csv")
        index = pd.read_csv(folder / "records" / "train.index.csv")
        index[["image_name", "fold"]].to_csv(folder / "folds.csv", index=False)
        first = index["image_name"].iloc[:1].item()
        lite0 = source_weights.randomize(backbones.build_backbone("efficientnet-lite0", 32))
        np.savez(folder / "lite0.npz", **source_weights.make_state_dict(lite0, "efficientnet_pytorch"))
        (folder / "pairs.csv").write_text(f"image_name_1,image_name_2\n{first},{first}\n")
        yield folder


@pytest.fixture(autouse=True)
def isolated(monkeypatch, tmp_path):
    """Temporary files go to a directory of the test, so that leftovers show."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "out").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def call(name, world, tmp_path, **changes):
    """Runs a command with some options changed; returns its exit code."""
    command = COMMANDS[name]
    options = {}
    for option, value in command.options.items():
        files = (*command.tables, *command.directories, *command.patterns, "workdir", "predictions", "labels", "csv")
        files = (*files, "tables", "convert")
        if isinstance(value, str) and "{out}" in value:
            options[option] = value.format(out=tmp_path / "out")
        elif isinstance(value, str) and option in (*files, "folds", "duplicates", "metadata", "sample_submission"):
            options[option] = ",".join(str(world / part) for part in value.split(","))
        elif isinstance(value, str) and option in ("images", "records", "data_dir", "oof", "audit", "submission"):
            options[option] = str(world / value)
        else:
            options[option] = value
    module = importlib.import_module(command.module)
    work = module.WORK
    return cli.execute(lambda: cli.call(work, module.CONFIG(**{**options, **changes})))


def check_error(code, captured, tmp_path):
    """Checks that a command ended with one line, and left nothing behind."""
    assert code == 1, captured.out
    lines = [line for line in captured.err.splitlines() if line.startswith("ERROR")]
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    # An error of the project or of the system, not of a library.
    assert not re.match(r"ERROR: \w+(Error|Exception)\b", lines[0]), lines[0]
    assert len(lines[0]) < 1000
    assert find_leftovers(tmp_path) == []


def find_leftovers(tmp_path):
    """Lists what a command must not leave: temporary files, locks, and anything in the temporary directory."""
    found = [path for path in (tmp_path / "out").rglob("*") if path.name.startswith((".tmp-", ".lock-"))]
    # TensorFlow removes the files of its own when the process ends.
    temporary = [path for path in (tmp_path / "temporary").iterdir() if "autograph_generated" not in path.name]
    return sorted(map(str, [*found, *temporary]))


def copy_table(world, name, option, tmp_path):
    """Copies the table of an option into the test's directory; returns its path and its text."""
    path = tmp_path / f"{option}.csv"
    text = (world / COMMANDS[name].options[option]).read_text()
    path.write_text(text)
    return path, text


def double_first_row(text):
    header, first, *others = text.splitlines()
    return "\n".join([header, first, first, *others, ""])


def blank_first_name(text):
    header, first, *others = text.splitlines()
    return "\n".join([header, "," + first.partition(",")[2], *others, ""])


DAMAGE = {
    "missing": lambda path, text: path.unlink(),
    "directory": lambda path, text: (path.unlink(), path.mkdir()),
    "empty": lambda path, text: path.write_bytes(b""),
    "no rows": lambda path, text: path.write_text(text.splitlines()[0] + "\n"),
    "binary": lambda path, text: path.write_bytes(bytes(range(256)) * 4),
    "other columns": lambda path, text: path.write_text("a,b\n1,2\n"),
}
# What may be read or refused, but must do either completely.
DOUBTFUL = {
    "semicolons": lambda text: text.replace(",", ";"),
    "doubled name": double_first_row,
    "blank name": blank_first_name,
    "quotes open": lambda text: text.replace(",", ',"', 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("name", "option"), TABLES, ids=[f"{name}-{option}" for name, option in TABLES])
def test_a_table_that_cannot_be_used_ends_with_one_line(name, option, damage, world, tmp_path, capfd):
    path, text = copy_table(world, name, option, tmp_path)
    DAMAGE[damage](path, text)
    # A list of duplicates may have no rows.
    expected = 0 if damage == "no rows" and option == "duplicates" else 1
    code = call(name, world, tmp_path, **{option: str(path)})
    captured = capfd.readouterr()
    if expected:
        check_error(code, captured, tmp_path)
        assert path.name in captured.err or "folds file" in captured.err
    else:
        assert code == 0, captured.err


@pytest.mark.parametrize("kind", DOUBTFUL)
@pytest.mark.parametrize(("name", "option"), TABLES, ids=[f"{name}-{option}" for name, option in TABLES])
def test_a_doubtful_table_is_read_or_refused_in_one_line(name, option, kind, world, tmp_path, capfd):
    path, text = copy_table(world, name, option, tmp_path)
    path.write_text(DOUBTFUL[kind](text))
    code = call(name, world, tmp_path, **{option: str(path)})
    captured = capfd.readouterr()
    if code:
        check_error(code, captured, tmp_path)
    assert find_leftovers(tmp_path) == []


@pytest.mark.parametrize(("name", "option"), TABLES, ids=[f"{name}-{option}" for name, option in TABLES])
def test_an_awkward_but_valid_table_is_read(name, option, world, tmp_path, capfd):
    path, text = copy_table(world, name, option, tmp_path)
    (tmp_path / AWKWARD).mkdir()
    awkward = tmp_path / AWKWARD / path.name
    lines = [f"{line},{'remark' if number == 0 else 'ö'}" for number, line in enumerate(text.splitlines())]
    # With a byte order mark, line ends of Windows, a column more, and a path that has to be quoted.
    awkward.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode())
    assert call(name, world, tmp_path, **{option: str(awkward)}) == 0, capfd.readouterr().err
    assert find_leftovers(tmp_path) == []


@pytest.mark.parametrize("kind", ["missing", "file", "empty"])
@pytest.mark.parametrize(("name", "option"), DIRECTORIES, ids=[f"{name}-{option}" for name, option in DIRECTORIES])
def test_a_directory_that_cannot_be_used_ends_with_one_line(name, option, kind, world, tmp_path, capfd):
    path = tmp_path / "given"
    if kind == "file":
        path.write_text("text")
    elif kind == "empty":
        path.mkdir()
    code = call(name, world, tmp_path, **{option: str(path)})
    check_error(code, capfd.readouterr(), tmp_path)


@pytest.mark.parametrize("kind", ["missing", "directory", "text"])
@pytest.mark.parametrize(("name", "option"), PATTERNS, ids=[f"{name}-{option}" for name, option in PATTERNS])
def test_a_pattern_without_records_ends_with_one_line(name, option, kind, world, tmp_path, capfd):
    path = tmp_path / "train00-1.tfrec"
    if kind == "directory":
        path.mkdir()
    elif kind == "text":
        path.write_text("text\n" * 100)
    code = call(name, world, tmp_path, **{option: str(path)})
    check_error(code, capfd.readouterr(), tmp_path)


@pytest.mark.parametrize(("name", "option"), OUTPUTS, ids=[f"{name}-{option}" for name, option in OUTPUTS])
def test_an_output_below_a_file_cannot_be_written(name, option, world, tmp_path, capfd):
    (tmp_path / "blocked").write_text("a file")
    given = pathlib.PurePath(COMMANDS[name].options[option]).name
    code = call(name, world, tmp_path, **{option: str(tmp_path / "blocked" / given)})
    captured = capfd.readouterr()
    check_error(code, captured, tmp_path)
    assert "blocked" in captured.err
    assert (tmp_path / "blocked").read_text() == "a file"


@pytest.mark.parametrize("name", [name for name, command in COMMANDS.items() if command.outputs])
def test_an_output_is_complete_the_same_twice_and_never_half_written(name, world, tmp_path, capfd, monkeypatch):
    replace = filesystem.replace

    def interrupted(path, target):
        raise KeyboardInterrupt

    # Ctrl-C while the first file is put in place.
    monkeypatch.setattr(filesystem, "replace", interrupted)
    assert call(name, world, tmp_path) in (0, 130), capfd.readouterr().err
    left = find_leftovers(tmp_path)
    assert left == [] or all(".build" in path or ".parts" in path for path in left), left
    monkeypatch.setattr(filesystem, "replace", replace)

    assert call(name, world, tmp_path) == 0, capfd.readouterr().err
    assert find_leftovers(tmp_path) == []
    first = read_files(tmp_path / "out")
    assert first
    code = call(name, world, tmp_path)
    captured = capfd.readouterr()
    if code:
        check_error(code, captured, tmp_path)
    # Either written again with the same content, or left as it was.
    assert set(read_files(tmp_path / "out")) == set(first)
    assert find_leftovers(tmp_path) == []


def read_files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "serve"])
def test_every_command_works_in_a_directory_with_an_awkward_name(name, world, tmp_path, capfd, monkeypatch):
    home = tmp_path / AWKWARD
    home.mkdir()
    for path in world.iterdir():
        os.symlink(path, home / path.name)
    monkeypatch.chdir(home)
    command = COMMANDS[name]
    options = {
        option: value.replace("{out}", "out") if isinstance(value, str) else value
        for option, value in command.options.items()
    }
    module = importlib.import_module(command.module)
    work = module.WORK
    assert cli.execute(lambda: cli.call(work, module.CONFIG(**options))) == 0, capfd.readouterr().err


def test_every_command_is_in_the_table():
    root = pathlib.Path(__file__).parents[2]
    commands = {
        f"{package}.{path.stem}"
        for package in ("isic_tf", "tfrecord_tools")
        for path in (root / package).glob("*.py")
        if "def main()" in path.read_text()
    }
    assert {command.module for command in COMMANDS.values()} == commands
