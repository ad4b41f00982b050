import dataclasses
import logging
import subprocess
import sys
import typing

import pytest
from absl import flags
from harness import ENVIRONMENT

from tfrecord_tools import cli

PROGRAM = """
import dataclasses
import os
import signal
import sys
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
    if config.fail == "terminate":
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            print("cleaned up", file=sys.stderr)
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
        (("--fail=terminate",), 143, "cleaned up"),
        (("--nubmer=5",), 1, "Pass --helpshort or --helpfull to see help on flags."),
    ],
)
def test_a_command_ends_with_its_code_and_one_line(tmp_path, arguments, code, last):
    result = run(tmp_path, *arguments)
    assert result.returncode == code
    assert (result.stderr if code else result.stdout).strip().splitlines()[-1] == last
    assert ("Traceback" in result.stderr) == ("--verbosity=1" in arguments)


WORK = """
import gc
import sys
at_import = gc.isenabled()
imported = []
print("a banner", file=sys.stderr)

def is_old():
    return any(one is imported for one in gc.get_objects(generation=2))

def work(config):
    print("number", config.number, "collects garbage", at_import, gc.isenabled(), "old", is_old(), end=" ")
    print(gc.get_freeze_count())
"""


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("--number=5",), 0, "number 5 collects garbage False True old True 0"),
        (("--number=0",), 1, "--number=0"),
        (("--number=9",), 1, "ERROR: no 9\n"),
    ],
)
def test_the_module_of_a_function_is_imported_last_and_quietly(tmp_path, arguments, code, text):
    (tmp_path / "the_work.py").write_text(WORK if code == 0 else "raise RuntimeError")
    checks = """
from tfrecord_tools import errors

def check_inputs(self):
    if self.number == 9:
        raise errors.IsicError("no 9")

Config.check_inputs = check_inputs
cli.run("the_work:work", Config)
"""
    program = PROGRAM.replace("cli.run(work, Config)", checks)
    (tmp_path / "program.py").write_text(program)
    command = [sys.executable, tmp_path / "program.py", *arguments]
    result = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert result.returncode == code
    assert text in (result.stderr if code else result.stdout)
    assert "a banner" not in result.stderr
    assert "RuntimeError" not in result.stderr


INTERRUPTED = """
import runpy
import sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == "tfrecord_tools.splits.fold_table":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Interrupt())
sys.argv = ["folds", "--csv=train.csv", "--output=folds.csv"]
runpy.run_module("tfrecord_tools.folds", run_name="__main__")
"""


def test_ctrl_c_while_the_work_of_a_tool_is_imported_shows_no_traceback():
    program = [sys.executable, "-c", INTERRUPTED]
    result = subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (130, "")


@pytest.mark.parametrize("verbosity", [(), ("--verbosity=1",)])
def test_remarks_of_libraries_are_shown_only_on_demand(tmp_path, verbosity):
    assert ("a remark" in run(tmp_path, *verbosity, first="import tf_keras\n").stderr) == bool(verbosity)


def test_a_typo_in_a_flag_is_answered_with_the_right_name(tmp_path):
    assert "Did you mean: number ?" in run(tmp_path, "--nubmer=5").stderr


def test_a_stray_argument_is_refused(tmp_path):
    result = run(tmp_path, "--number", "5", "train.csv")
    assert result.returncode == 1
    assert result.stderr == "ERROR: expected only options of the form --name=value, got 'train.csv'; see --help\n"
    assert result.stdout == ""


def test_an_old_flag_works_with_a_notice(tmp_path):
    result = run(tmp_path, "--count=5")
    assert result.stdout.strip().splitlines()[-1] == "number 5"
    assert "note: --count is now --number; the old name will be removed in the next release" in result.stderr
    assert "note:" not in run(tmp_path, "--number=5").stderr


def test_an_old_flag_in_a_flagfile_works_too(tmp_path):
    (tmp_path / "old.flags").write_text("--count=7\n")
    assert run(tmp_path, f"--flagfile={tmp_path / 'old.flags'}").stdout.strip().splitlines()[-1] == "number 7"


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


def test_flags_are_generated_from_the_fields():
    values = flags.FlagValues()
    cli.define_flags(Example, values, "program")
    values(["program", "--output=x", "--size=64", "--files=a,b", "--check"])
    found = Example(**{field.name: values[field.name].value for field in dataclasses.fields(Example)})
    assert found == Example(output="x", image_size=64, files=("a", "b"), check=True)
    assert values["image_size"].help == "Side in pixels."
    with pytest.raises(flags.IllegalFlagValueError, match="should be one of"):
        values(["program", "--output=x", "--mode=stretch"])
    with pytest.raises(flags.IllegalFlagValueError, match="output"):
        fresh = flags.FlagValues()
        cli.define_flags(Example, fresh, "program")
        fresh(["program"])


def test_log_lines_go_to_the_standard_output_of_the_moment_once(capsys):
    cli.show_log()
    cli.show_log()
    logging.getLogger("isic_tf.somewhere").info("100 % done")
    logging.getLogger("tfrecord_tools").debug("not shown")
    assert capsys.readouterr().out == "100 % done\n"


def test_a_reader_that_stops_reading_does_not_stop_the_work(tmp_path):
    note = tmp_path / "done"
    program = f"""
import logging
from tfrecord_tools import cli
cli.show_log()
for number in range(20000):
    logging.getLogger("tfrecord_tools").info(f"line {{number}}")
open({str(note)!r}, "w").write("done")
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 0
    assert note.read_text() == "done"


def test_a_line_of_a_flagfile_with_two_flags_is_one_line_of_error(tmp_path):
    (tmp_path / "flags.txt").write_text("--number=5 --fail=value\n")
    result = run(tmp_path, f"--flagfile={tmp_path}/flags.txt")
    assert result.returncode == 1
    assert result.stderr.startswith("ERROR: expected one flag as --name=value in line 1 of ")
    assert result.stderr.count("\n") == 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListConfig(cli.Config):
    """Options with a list."""

    files: tuple[str, ...] = cli.option(help="Files.")


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("a, b.csv,c.csv", ("a, b.csv", "c.csv")),
        ("c.csv,a, b.csv", ("c.csv", "a, b.csv")),
        ("a,b.csv", ("a", "b.csv")),
        ('"x,y",z', ("x,y", "z")),
    ],
)
def test_a_file_with_a_comma_is_one_of_a_list_where_it_exists(tmp_path, monkeypatch, text, files):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a, b.csv").touch()
    values = flags.FlagValues()
    cli.define_flags(ListConfig, values, "list")
    values(["list", f"--files={text}"])
    assert ListConfig(files=values["files"].value).files == files
    if '"' not in text:
        assert ListConfig(files=text).files == files
