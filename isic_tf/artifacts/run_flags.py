"""The text of `flags.txt`: one flag a line, and facts about the data as comments, so that it is a flag file too."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables

# Names of earlier releases, in the flags of runs and on the command line.
RENAMED_FLAGS = {
    "accumulate": "gradient_accumulation_steps",
    "backbone_rate": "backbone_lr_multiplier",
    "keep": "keep_weights",
    "malignant_repeats": "malignant_oversampling",
}
# The comment that lists the names of all lines, so that a lost line is noticed. Release 0.1 did not write it.
_NAMES = "names"
_REMEDY = "restore it from a copy"
# Facts of how the records hold images, see `preprocessing_config.read_preprocessing`, and their largest values. Runs of
# release 0.1 know neither.
ENCODING = {"record_size": 2**15, "quality": 100}
# How a path begins that says where on a machine, or in which bucket, something lies.
_PLACE = re.compile(r"/|\\\\|~|\.\.|[A-Za-z]:[/\\]|[A-Za-z]+://")


def format_flags(flags: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    r"""Formats the flags of a run.

    Args:
        flags: Flags and their values; None for flags that are not set.
        facts: What is known about the data.

    Returns:
        Text of `flags.txt`.

    Raises:
        ConfigError: A value has several lines, which would be read as flags of their own.

    Examples:
        >>> print(format_flags({"seed": 0, "tpu": None}, {"resize": "crop"}), end="")
        # names=resize,seed
        # resize=crop
        --seed=0
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for name, value in {**facts, **given}.items():
        if len(f"{name}={value}|".splitlines()) > 1:
            raise errors.ConfigError(
                f"expected one line of text for {name}, got {str(value)!r}; correct the flag, or the manifest of the "
                "record set that it comes from"
            )
    lines = [f"# {_NAMES}={','.join(sorted({*facts, *given}))}"]
    lines += [f"# {name}={value}" for name, value in sorted(facts.items())]
    lines += [f"--{name}={value}" for name, value in sorted(given.items())]
    return "\n".join(lines) + "\n"


def parse_flags(path: str, content: bytes) -> dict[str, str]:
    """Parses the flags of a run; those of earlier releases under their present names.

    Args:
        path: Path of the file, for errors.
        content: Its content.

    Returns:
        Dict from flag or fact to its value as text.

    Raises:
        CorruptRecordError: The file is damaged: a line is lost, doubled or garbage, or a fact no such number.
    """
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        number = content[: error.start].count(b"\n") + 1
        raise errors.CorruptRecordError(
            f"{path} is damaged: expected UTF-8 text, got other bytes in line {number}; {_REMEDY}"
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = re.fullmatch(r"(?:--|# )(\w+)=(.*)", line)
        if match:
            name = RENAMED_FLAGS.get(match[1], match[1])
            if name in found:
                raise errors.CorruptRecordError(
                    f"{path} is damaged: expected one line {match[1]}=, got another in line {number}; {_REMEDY}"
                )
            found[name] = match[2]
        elif line.strip() and not line.startswith("#"):
            raise errors.CorruptRecordError(
                f"{path} is damaged: expected --name=value in line {number}, got {line[:80]!r}; {_REMEDY}"
            )
    listed = found.pop(_NAMES, "").split(",")
    lost = [RENAMED_FLAGS.get(name, name) for name in listed if name]
    _refuse_lost(path, [name for name in lost if name not in found])
    for name in ENCODING if found.keys() & ENCODING.keys() else ():
        text = found.get(name, "no such line")
        if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= ENCODING[name]:
            raise errors.CorruptRecordError(
                f"{path} is damaged: expected {name}= and a whole number from 1 to {ENCODING[name]}, got {text:.50}; "
                f"{_REMEDY}"
            )
    return found


def _refuse_lost(path: str, names: Sequence[str]) -> None:
    if names:
        raise errors.CorruptRecordError(
            f"{path} is damaged: it lacks the line of {csv_tables.describe_first_cases(names)}; {_REMEDY}, or add "
            "--NAME=VALUE with the value that the run was trained with"
        )


def find_differences(
    path: str,
    old: Mapping[str, str],
    new: Mapping[str, str],
    free: Sequence[str],
    defaults: Mapping[str, Any],
) -> tuple[list[str], list[str]]:
    """Compares the flags of a run with those of a command.

    Args:
        path: Path of the run's `flags.txt`, for errors.
        old: Flags of the run.
        new: Flags of the command.
        free: Flags that may differ.
        defaults: Values that flags had before they existed; a run of an earlier release lacks them.

    Returns:
        Names of the flags that differ; and of those that the run lacks, whose value is their default.

    Raises:
        CorruptRecordError: The run lacks a flag whose value is not its default.
    """
    lacking = sorted(name for name in new.keys() - old.keys() if name not in free)
    added = [name for name in lacking if name in defaults and str(defaults[name]) == new[name]]
    _refuse_lost(path, [name for name in lacking if name not in added])
    known = old.keys() | (new.keys() - set(added))
    differing = sorted(name for name in known if old.get(name) != new.get(name) and name not in free)
    return differing, added


def describe_differences(workdir: str, old: Mapping[str, str], new: Mapping[str, str], differing: Sequence[str]) -> str:
    """Describes why a command is not that of a run, and how to go on.

    Args:
        workdir: Run directory.
        old: Flags of the run.
        new: Flags of the command.
        differing: Names of the flags that differ.

    Returns:
        Text of an error.
    """
    changes = ", ".join(f"{name} was {old.get(name)}, is {new.get(name)}" for name in differing)
    text = f"{workdir} holds a run of another configuration ({changes}); choose another --workdir"
    if "epochs" not in differing:
        return text
    return (
        f"{text}, with --init_from={workdir} to go on from the weights of this run; epochs can be added to a run "
        "itself where nothing else changes and its schedule does not end with them (constant or deotte; it is "
        f"{old.get('schedule')})"
    )


def digest_data(index: pd.DataFrame, files: Sequence[bytes]) -> str:
    """Returns the SHA-256 of the records' names, patients, labels, folds and shards, and of files.

    Args:
        index: Index of the record sets.
        files: Contents of files.

    Returns:
        Hexadecimal text.
    """
    columns = ["shard", "position", "image_name", "patient_id", "target", "fold"]
    # The directory of the shards may differ.
    records = index[columns].assign(shard=index["shard"].map(os.path.basename))
    content = records.sort_values(columns).to_csv(index=False).encode()
    return hashlib.sha256(b"".join([content, *files])).hexdigest()


def hide_directories(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces absolute paths in the values of flags by their last part: reports and model cards are for others.

    Args:
        flags: See `parse_flags`.

    Returns:
        The same flags; a value that lists several paths still does.

    Examples:
        >>> hide_directories({"data_dir": "/home/jane/ham384,/data/isic2020/", "init_from": "runs/b0"})
        {'data_dir': 'ham384,isic2020', 'init_from': 'runs/b0'}
    """
    return {name: _hide(value) if isinstance(value, str) else value for name, value in flags.items()}


def _hide(value: str) -> str:
    parts = [part.strip() for part in value.split(",")]
    if not any(_PLACE.match(part) for part in parts):
        return value
    return ",".join(re.split(r"[/\\]", part.rstrip("/\\"))[-1] if _PLACE.match(part) else part for part in parts)
