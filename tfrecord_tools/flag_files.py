"""Checks flag files: one flag a line, as `--name=value`, and comments on lines of their own."""

import os
import re
from collections.abc import Iterator, Sequence

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_FLAG_FILE = re.compile(r"--?flagfile(?:=(.*))?")
_SECOND_FLAG = re.compile(r"\s--?[A-Za-z]\w*(?:=|\s|$)")
_COMMENT = re.compile(r"\s(?:#|//)")
_QUOTED = re.compile(r"--?\w+=([\"']).*\1")


def check_flag_files(arguments: Sequence[str]) -> None:
    r"""Checks the flag files that a command line names, and those that they name in turn.

    A flag file is no shell script: all that follows the first `=` of a line is the value. Two flags on one line, a
    comment after a value, or quotes would become part of the value, for example of the name of a directory.

    Args:
        arguments: Command line without the name of the program.

    Raises:
        ConfigError: A flag file cannot be read, or a line is not one flag; the error names the file and the line.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        ...     print("# A comment", "--fold=0", "--workdir=runs/b0", sep="\n", file=file, flush=True)
        ...     check_flag_files([f"--flagfile={file.name}", "--seed=1"])
    """
    waiting = list(_find_flag_files(arguments))
    seen = set()
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += _find_flag_files(_read_lines(path))


def _find_flag_files(arguments: Sequence[str]) -> Iterator[str]:
    """Yields the paths that follow `--flagfile`, in one argument or two."""
    for position, argument in enumerate(arguments):
        match = _FLAG_FILE.fullmatch(argument)
        if not match:
            continue
        path = match[1] if match[1] is not None else " ".join(arguments[position + 1 : position + 2])
        # What is empty or absent is reported when the flags are parsed.
        if path:
            yield os.path.expanduser(path.strip())


def _read_lines(path: str) -> list[str]:
    """Returns the lines of a flag file without blank lines and comments, each of them checked."""
    try:
        text = filesystem.read(path).decode("utf-8")
    except OSError as error:
        raise errors.ConfigError(
            f"expected a flag file at {path}, which cannot be read ({error.strerror}); check --flagfile"
        ) from error
    except UnicodeDecodeError as error:
        raise errors.ConfigError(
            f"expected UTF-8 text in the flag file {path}, got other bytes at position {error.start}; correct the "
            "file, or restore it from a copy"
        ) from error
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        flag = line.strip()
        if flag and not flag.startswith(("#", "//")):
            _check_line(path, number, flag)
            lines.append(flag)
    return lines


def _check_line(path: str, number: int, line: str) -> None:
    """Checks that a line is one flag."""
    if line.startswith("\ufeff"):
        problem, remedy = "a byte order mark", "save the file as UTF-8 without one"
    elif not re.match(r"--?[A-Za-z]", line):
        problem, remedy = "no flag", "begin it with --, or with # for a comment"
    elif _SECOND_FLAG.search(line):
        problem, remedy = "several flags", "put each on a line of its own"
    elif _COMMENT.search(line):
        problem, remedy = "a comment after the flag", "put it on a line of its own"
    elif _QUOTED.fullmatch(line):
        problem, remedy = "quotes, which would be part of the value", "leave them out"
    elif re.match(r"--?\w+\s", line):
        problem, remedy = "a space after the name", "use ="
    else:
        return
    raise errors.ConfigError(
        f"expected one flag as --name=value in line {number} of {path}, got {problem}: {line!r}; {remedy}, or give "
        "the flag on the command line"
    )
