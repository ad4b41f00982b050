import subprocess
import sys

import pytest
from harness import ENVIRONMENT

from tfrecord_tools.io import atomic_write

PROGRAM = """
import dataclasses
import typing
from absl import logging
from tfrecord_tools import cli

@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(cli.Config):
    RENAMED: typing.ClassVar = {"count": "number"}
    number: int = cli.option(3, lower=1, help="Things.")
    fail: str | None = cli.option(None, help="How.")

def work(config):
    errors = {"value": ValueError("expected 1, got 2"), "key": KeyError("gone"), "stop": KeyboardInterrupt()}
    if config.fail:
        raise errors[config.fail]
    logging.info("a remark")
    print("number", config.number)

cli.run(work, Config)
"""


def run(tmp_path, *arguments, first=""):
    (tmp_path / "program.py").write_text(first + PROGRAM)
    program = [sys.executable, tmp_path / "program.py", *arguments]
    return subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "last"),
    [
        ((), 0, "number 3"),
        (("--number=5",), 0, "number 5"),
        (("--fail=value",), 1, "ERROR: expected 1, got 2"),
        (("--fail=key",), 1, "ERROR: KeyError: 'gone' (--verbosity=1 shows where)"),
        (("--fail=value", "--verbosity=1"), 1, "ValueError: expected 1, got 2"),
        (("--fail=stop",), 130, "Interrupted; all files written so far are complete. Run the same command to resume."),
        (("--nubmer=5",), 1, "Pass --helpshort or --helpfull to see help on flags."),
    ],
)
def test_a_command_ends_with_its_code_and_one_line(tmp_path, arguments, code, last):
    result = run(tmp_path, *arguments)
    assert result.returncode == code
    assert (result.stderr if code else result.stdout).strip().splitlines()[-1] == last
    assert ("Traceback" in result.stderr) == ("--verbosity=1" in arguments)


@pytest.mark.parametrize("verbosity", [(), ("--verbosity=1",)])
def test_remarks_of_libraries_are_shown_only_on_demand(tmp_path, verbosity):
    assert ("a remark" in run(tmp_path, *verbosity, first="import tf_keras\n").stderr) == bool(verbosity)


def test_a_typo_in_a_flag_is_answered_with_the_right_name(tmp_path):
    assert "Did you mean: number ?" in run(tmp_path, "--nubmer=5").stderr


def test_a_stray_argument_is_refused(tmp_path):
    result = run(tmp_path, "--number", "5", "train.csv")
    assert result.returncode == 1
    assert "expected only options of the form --name=value, got 'train.csv'" in result.stdout + result.stderr


def test_replaced_gives_the_whole_file_or_the_old_one(tmp_path):
    path = tmp_path / "new" / "file.txt"
    atomic_write.write_text(str(path), "first")
    with pytest.raises(RuntimeError, match="half-way"), atomic_write.replaced(str(path)) as temporary:
        with open(temporary, "w") as file:
            file.write("half")
        raise RuntimeError("half-way")
    assert path.read_text() == "first"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]
