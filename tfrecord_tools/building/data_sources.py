"""Reads the rows of a record set: from a table and image files, or from the records of another set."""

import logging
import os
from typing import Any

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.building import record_scan, table_validation
from tfrecord_tools.imaging import image_files
from tfrecord_tools.io import csv_tables, record_index

_LOG = logging.getLogger(__name__)


def patient_codes(patient_ids: pd.Series) -> np.ndarray:
    """Numbers the patients of a table as records do.

    Args:
        patient_ids: Text `[n]`, "" where unknown.

    Returns:
        int64 `[n]`, codes from 0 in order of first appearance; -1 where blank.
    """
    return csv_tables.factorize_nonblank(patient_ids)


def code_rows(table: pd.DataFrame, split: str) -> list[dict[str, int]]:
    """Converts each row of a table to the int64 features of its record, except the size of the image.

    Args:
        table: DataFrame of text with `patient_id` and any of `table_validation.CODED`.
        split: `train` or `test`.

    Returns:
        One dict per row, from name of the feature to its value; -1 for unknown.
    """
    coded = {}
    for column in table_validation.CODED[split]:
        if column in table:
            coded[column] = [schema.encode(column, value) for value in table[column]]
    coded["patient_id"] = patient_codes(table["patient_id"]).tolist()
    return [dict(zip(coded, values, strict=True)) for values in zip(*coded.values(), strict=True)]


def read_images(csv: str, images: str, split: str) -> pd.DataFrame:
    """Reads a table and finds its image files.

    Args:
        csv: CSV file with the columns of `table_validation.REQUIRED`.
        images: Directory of the files, or of a subdirectory of them named like the split.
        split: `train` or `test`.

    Returns:
        DataFrame of the table's text, and the columns that `shard_jobs.make_jobs` reads.

    Raises:
        IsicError: Lists all problems of the table and the files.
    """
    table = csv_tables.read_table(csv, ())
    paths = image_files.find_images(images, split)
    _refuse_problems(f"{csv} does not match {images}", table_validation.find_problems(table, split, paths))
    table_validation.log_unknown_categories(table, split)
    found = [paths[name][0] for name in table["image_name"]]
    return table.assign(path=found, offset=0, length=0, integers=code_rows(table, split))


def read_records(pattern: str, csv: str | None, split: str) -> pd.DataFrame:
    """Reads the records of another set and, if there is one, a table with more information about them.

    Without a table, the integers of the records are kept. The values of a table replace them, except the width and
    height of the original image.

    Args:
        pattern: Glob pattern of the shards.
        csv: CSV file with the columns of `table_validation.REQUIRED`; or None.
        split: `train` or `test`.

    Returns:
        The same columns as `read_images`, one row per record. Patients are numbered over the complete table.

    Raises:
        IsicError: Lists all problems of the table; or see `record_scan.scan_records`.
    """
    records, _ = record_scan.scan_records(record_index.match_shards(pattern), split)
    if not csv:
        _refuse_unlabeled(records, split)
        return records
    table = csv_tables.read_table(csv, ())
    _refuse_problems(f"{csv} does not match {pattern}", _find_problems(table, records, split))
    table_validation.log_unknown_categories(table, split)
    num_absent = len(table) - len(records)
    if num_absent:
        _LOG.warning(f"note: {num_absent} rows of {csv} have no record and are ignored")
    return _merge_records(table.assign(coded=code_rows(table, split)), records)


def _refuse_problems(title: str, problems: list[str]) -> None:
    if problems:
        raise errors.IsicError("; ".join([title, *problems]))


def _refuse_unlabeled(records: pd.DataFrame, split: str) -> None:
    names = records.loc[records["target"] == "", "image_name"].tolist()
    if split == "train" and names:
        raise errors.IsicError(
            f"{len(names)} records have no target: {csv_tables.describe_first_cases(names)}; give a table with targets "
            "as --csv"
        )


def _find_problems(table: pd.DataFrame, records: pd.DataFrame, split: str) -> list[str]:
    """Lists all problems of a table that describes records; that it has rows without a record is not one."""
    names = table.get("image_name", pd.Series(dtype=object))
    problems = table_validation.find_problems(table, split, {name: [""] for name in names})
    if "image_name" in table:
        unlisted = sorted(set(records["image_name"]) - set(names))
        if unlisted:
            cases = csv_tables.describe_first_cases(unlisted)
            problems.append(f"{len(unlisted)} records that are not in the table: {cases}")
    return problems


def _merge_records(table: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Joins records to the rows of a table by name; the integers are those of the table and the original's size."""
    places = records[["image_name", "path", "offset", "length", "integers"]]
    rows = table.merge(places, on="image_name", validate="one_to_one")
    integers: list[dict[str, Any]] = []
    for coded, own in zip(rows["coded"], rows["integers"], strict=True):
        size = {name: own[name] for name in own if name in ("width", "height")}
        integers.append({**coded, **size})
    return rows.assign(integers=integers)


def list_file_types(rows: pd.DataFrame) -> list[str]:
    """Returns the file types of the sources of rows, such as `jpg`, in alphabetical order."""
    return sorted({os.path.splitext(path)[1].lower().lstrip(".") for path in rows["path"]})
