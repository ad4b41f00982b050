"""Checks the table and the image files of a record set before any image is converted."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.imaging.sources import naming
from tfrecord_tools.io import column_names, csv_tables

_LOG = logging.getLogger(__name__)

REQUIRED = {"train": ("image_name", "patient_id", "target"), "test": ("image_name", "patient_id")}
# Columns that become integers of a record. Labels in a test table are ignored.
CODED = {
    "train": ("sex", "age_approx", "anatom_site_general_challenge", "diagnosis", "target"),
    "test": ("sex", "age_approx", "anatom_site_general_challenge"),
}
_PEOPLE = ("image_name", "patient_id", "lesion_id")
_SAFE_NAME = re.compile(r"[^/\\\0\r\n]+")
_NUMBERS = {"age_approx": f"0 to {schema.MAX_AGE} or blank", "target": "0 or 1"}


def find_problems(table: pd.DataFrame, split: str, paths: Mapping[str, Sequence[str]]) -> list[str]:
    """Lists all problems of a table and its image files.

    Args:
        table: DataFrame of text.
        split: `train` or `test`.
        paths: Paths of the image files by image name, see `image_files.find_images`.

    Returns:
        One line per kind of problem, with its count and first cases; an empty list if the table is valid.
    """
    problems = []
    missing = [column for column in REQUIRED[split] if column not in table]
    if missing:
        problems.append(
            f"needs the columns {', '.join(REQUIRED[split])}, lacks {', '.join(missing)}; it has only "
            f"{csv_tables.describe_columns(table)}; add or rename {', '.join(missing)}"
        )
    cases: dict[str, pd.Series] = {}
    if "image_name" in table:
        cases |= _find_bad_names(table["image_name"], paths)
    for column, expected in _NUMBERS.items():
        if column in table and column in CODED[split]:
            cases[f"invalid {column} values (expected {expected})"] = _find_bad_values(column, table[column])
    if split == "train" and "target" in table and "image_name" in table:
        cases["images without a target"] = table.loc[table["target"] == "", "image_name"]
    for kind, rows in cases.items():
        if len(rows):
            problems.append(f"{len(rows)} {kind}: {csv_tables.describe_first_cases(rows.tolist())}")
    repeated = {name: paths[name] for name in table.get("image_name", ()) if len(paths.get(name, ())) > 1}
    if repeated:
        remedy = "remove the others, or name each file in the table with its directory"
        problems.append(
            f"{len(repeated)} images with more than one file: {naming.describe_repeated(repeated)}; {remedy}"
        )
    return problems


def _find_bad_names(names: pd.Series, paths: Mapping[str, Sequence[str]]) -> dict[str, pd.Series]:
    unsafe = names.map(lambda name: not _SAFE_NAME.fullmatch(name) or name in (".", ".."))
    num_files = names.map(lambda name: len(paths.get(name, ())))
    nothing_fits = bool(paths) and not names.isin(list(paths)).any()
    example = f" (the first file is {min(paths)!r})" if nothing_fits else ""
    return {
        "image names that are blank or lead outside the directory": names[unsafe],
        "image names listed more than once": names[names.duplicated()],
        f"listed images without a file{example}": names[~unsafe & (num_files == 0)],
    }


def _find_bad_values(column: str, values: pd.Series) -> pd.Series:
    def is_bad(value: str) -> bool:
        try:
            schema.encode(column, value)
        except ValueError:
            return True
        return False

    return values[values.map(is_bad)]


def log_unknown_categories(table: pd.DataFrame, split: str) -> None:
    """Logs which values are not categories of the schema and will be written as unknown.

    Args:
        table: DataFrame of text.
        split: `train` or `test`.
    """
    for column in schema.CATEGORIES:
        if column not in table or column not in CODED[split]:
            continue
        counts = column_names.count_unknown_values(column, table[column])
        if counts:
            texts = [f"{text} ({count})" if len(counts) > 1 else text for text, count in counts.items()]
            values = csv_tables.describe_first_cases(texts)
            total = sum(counts.values())
            _LOG.warning(f"note: {total} values of {column} are not in the schema and are written as unknown: {values}")


def log_unused_columns(path: str, table: pd.DataFrame, used: Iterable[str] = ()) -> None:
    """Logs the columns of a table that a command does not use.

    Args:
        path: Name of the table.
        table: DataFrame of text.
        used: Columns that the command uses besides names, people and the columns that become integers of a record.
    """
    unused = column_names.list_unused(table, {*_PEOPLE, *CODED["train"], *used})
    if unused:
        _LOG.warning(f"note: {path}: columns that are not used: {', '.join(unused)}")
