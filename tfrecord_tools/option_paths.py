"""Options that are paths: the home directory is expanded, and no output is an input of the same command."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

# What a command does with the file or the directory of an option. A directory that is written may hold inputs.
ROLES = ("read", "write", "directory")
_TABLES = (".csv", ".json")
_HOME = re.compile(r"(^|,)(\s*)~(?=[/,]|$)")


def expand_home(text: str) -> str:
    """Replaces `~` at the beginning of a path, or of a path in a list, by the home directory.

    A shell does so only at the beginning of a word, so not in `--output=~/runs`.

    Args:
        text: A path, or paths separated by commas.

    Returns:
        The text; other tildes stay, such as in `~anna/runs`.

    Examples:
        >>> expand_home("~/a.csv,b~/c.csv") == os.path.expanduser("~") + "/a.csv,b~/c.csv"
        True
    """
    return _HOME.sub(lambda match: match[1] + match[2] + os.path.expanduser("~"), text)


def split_paths(text: str) -> list[str]:
    """Splits a list at its commas, but keeps a path with a comma whole where it exists.

    Args:
        text: Texts separated by commas.

    Returns:
        The texts without blanks around them.
    """
    parts = [part.strip() for part in text.split(",")] if text else []
    # A blank part, which is an error of the user's, stays.
    return parts if "" in parts else filesystem.rejoin(text.split(","), filesystem.exists)


def refuse_overwritten_inputs(options: Sequence[tuple[str, Mapping[str, Any], Any]]) -> None:
    """Checks that no file to write is a file to read, or the file of another output.

    Args:
        options: Flag, metadata (see `configuration.option`) and value of each option that is a path. Values are texts,
            which may be lists and glob patterns, lists of texts, or None.

    Raises:
        ConfigError: An output is one of the inputs; the error names both flags.

    Examples:
        >>> table, output = {"path": "read", "files": ()}, {"path": "write", "files": ()}
        >>> refuse_overwritten_inputs([("csv", table, "train.csv"), ("output", output, "folds.csv")])
        >>> refuse_overwritten_inputs([("csv", table, "train.csv"), ("output", output, "./train.csv")])
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: expected --output to be another file than --csv, got ./train.csv for both; \
name another
    """
    others = [option for option in options if option[1]["path"] == "read" or option[1]["files"]]
    for name, metadata, output in options:
        # A directory is refused where a file is written.
        if metadata["path"] != "write" or not output or (not filesystem.is_remote(output) and os.path.isdir(output)):
            continue
        for other, other_metadata, value in others:
            if value and _is_among(output, _list_patterns(value, other_metadata["files"])):
                expected, got = (f"those of --{other}", "") if other_metadata["files"] else (f"--{other}", " for both")
                raise errors.ConfigError(
                    f"expected --{name} to be another file than {expected}, got {output}{got}; name another"
                )
        others.append((name, metadata, output))


def _list_patterns(value: str | Sequence[str], files: Sequence[str]) -> Iterator[str]:
    """Yields the paths and patterns of an option, and those of files of a directory."""
    for part in [value, *filesystem.split_list(value)] if isinstance(value, str) else value:
        yield from (part, *(os.path.join(part, name) for name in files))


def _is_among(output: str, patterns: Iterable[str]) -> bool:
    """Returns whether a file to write is one of some paths, or matches one of some patterns.

    No directory is listed for it, since some hold millions of files. Of the files that a pattern of shards matches, the
    tables and manifests are no shards.
    """
    directory, name = _split(output)
    for pattern in patterns:
        there, names = _split(pattern)
        is_shards = not names.endswith(_TABLES)
        if _is_same_file(output, pattern):
            return True
        is_match = glob.has_magic(pattern) and fnmatch.fnmatchcase(name, names) and _matches(directory, there)
        if is_match and not (is_shards and name.endswith(_TABLES)):
            return True
    return False


def _split(path: str) -> tuple[str, str]:
    return os.path.split(_resolve(path).replace(os.sep, "/"))


def _matches(directory: str, pattern: str) -> bool:
    # As in listings, a star stands for no slash.
    return directory.count("/") == pattern.count("/") and fnmatch.fnmatchcase(directory, pattern)


def _is_same_file(output: str, path: str) -> bool:
    if _resolve(output) == _resolve(path):
        return True
    is_local = not filesystem.is_remote(output) and not filesystem.is_remote(path)
    # On some systems names differ by case, and are one.
    return is_local and os.path.exists(output) and os.path.exists(path) and os.path.samefile(output, path)


def _resolve(path: str) -> str:
    return path if filesystem.is_remote(path) else os.path.realpath(path)
