"""Validates the table and the image files of a record set before any work is done."""

import logging
import re

from tfrecord_tools import schema
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)

REQUIRED = {"train": ("image_name", "patient_id", "target"), "test": ("image_name", "patient_id")}
# Columns that become a record's integers; whatever else a test table holds, no label is read from it.
CODED = {
    "train": ("sex", "age_approx", "anatom_site_general_challenge", "diagnosis", "target"),
    "test": ("sex", "age_approx", "anatom_site_general_challenge"),
}
_SAFE_NAME = re.compile(r"[^/\\\0\r\n]+")


def find_problems(table, split, paths):
    """Lists all that is wrong with a table, before any work on it.

    Args:
        table: DataFrame of text.
        split: `train` or `test`.
        paths: See `find_images`.

    Returns:
        List of lines, each a kind of problem with its count and first cases.
    """
    missing = [column for column in REQUIRED[split] if column not in table]
    problems = [f"needs the columns {', '.join(REQUIRED[split])}, lacks {', '.join(missing)}"] if missing else []
    cases = {}
    if "image_name" in table:
        names = table["image_name"]
        unsafe = names.map(lambda name: not _SAFE_NAME.fullmatch(name) or name in (".", ".."))
        found = names.map(lambda name: len(paths.get(name, ())))
        cases["names that would leave the folder or are blank"] = names[unsafe]
        cases["names listed more than once"] = names[names.duplicated()]
        cases["listed images that do not exist"] = names[~unsafe & (found == 0)]
        cases["images with more than one file"] = names[found > 1]
    for column in ("age_approx", "target"):
        if column in table and column in CODED[split]:
            cases[f"values of {column} that are no such number"] = _bad_values(column, table[column])
    if split == "train" and "target" in table and "image_name" in table:
        cases["images without a target"] = names[table["target"] == ""]
    return problems + [
        f"{len(rows)} {kind}: {csv_tables.describe_first_cases(rows)}" for kind, rows in cases.items() if len(rows)
    ]


def _bad_values(column, values):
    def is_bad(value):
        try:
            schema.encode(column, value)
        except ValueError:
            return True
        return False

    return values[values.map(is_bad)]


def note_unknown_categories(table, split):
    """Prints which values have no code in the schema and will be written as unknown."""
    for column in schema.CATEGORIES:
        if column not in table or column not in CODED[split]:
            continue
        unknown = table[column].map(lambda value, column=column: value != "" and schema.encode(column, value) < 0)
        if unknown.any():
            values = csv_tables.describe_first_cases(table.loc[unknown, column].unique())
            _LOG.info(
                f"note: {unknown.sum()} values of {column} are not the schema's and are written as unknown: {values}"
            )
