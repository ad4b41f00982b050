"""Reads the rows of a record set: from a table and image files, or from the records of another set."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.building import code_comparison, record_scan, table_validation
from tfrecord_tools.imaging import image_files
from tfrecord_tools.imaging.sources import addresses
from tfrecord_tools.io import csv_tables, identity, name_join, record_index
from tfrecord_tools.table_formats import table_files

_LOG = logging.getLogger(__name__)


def patient_codes(patient_ids: pd.Series) -> np.ndarray:
    """Numbers the patients of a table as records do, each once in whatever spelling.

    Args:
        patient_ids: Text `[n]`, blank or a word such as `unknown` where unknown.

    Returns:
        int64 `[n]`, codes from 0 in order of first appearance; -1 where unknown.
    """
    return csv_tables.factorize_nonblank(identity.person_keys(patient_ids))


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


def read_images(csv: str, images: str, split: str, missing_images: str = "stop") -> tuple[pd.DataFrame, list[str]]:
    """Reads a table and finds its image files.

    Args:
        csv: CSV file with the columns of `table_validation.REQUIRED`.
        images: Directories, zip archives and HDF5 files of the images, see `image_files.find_images`.
        split: `train` or `test`.
        missing_images: `stop`, or `skip` to leave out rows of the table that have no file.

    Returns:
        DataFrame of the table's text, and the columns that `shard_jobs.make_jobs` reads; `image_digest` is that of the
        files that may be copies of each other, "" for the others. And the names of the images that were left out.

    Raises:
        IsicError: Lists all problems of the table and the files.
    """
    table = _read_table(csv, split)
    paths = image_files.find_images(images, split)
    if "image_name" in table:
        paths, renamed = image_files.name_images(paths, images, table["image_name"])
        table = table.assign(image_name=table["image_name"].replace(renamed))
    table = _take_names(table, list(paths), csv)
    table, missing = _settle_differences(table, csv, paths, images, missing_images)
    problems = table_validation.find_problems(table, split, paths)
    if "image_name" in table and not table["image_name"].isin(list(paths)).all():
        problems.append("add the files, or leave rows without a file out with --missing_images=skip")
    _refuse_problems(f"{csv} does not match {images}", problems)
    _log_table(csv, table, split)
    found = [paths[name][0] for name in table["image_name"]]
    table = table.assign(image_digest=_digest_copies(found))
    return table.assign(path=found, offset=0, length=0, integers=code_rows(table, split)), missing


def _read_table(csv: str, split: str) -> pd.DataFrame:
    """Reads a table whose columns are checked with everything else; a lesion does in place of a patient."""
    return csv_tables.add_blank_patients(table_files.read_tables(csv, (), keep_unlabeled=split == "test"))


def _settle_differences(
    table: pd.DataFrame, csv: str, paths: Mapping[str, list[str]], images: str, missing_images: str
) -> tuple[pd.DataFrame, list[str]]:
    """Logs the files that the table does not list; leaves out, and returns, rows without a file where that is asked."""
    if "image_name" not in table:
        return table, []
    unlisted = sorted(set(paths) - set(table["image_name"]))
    name_join.settle_missing(unlisted, f"images of {images} are not in {csv} and are ignored", "add rows", allowed=True)
    has_file = table["image_name"].isin(list(paths))
    if missing_images != "skip" or not has_file.any():
        # With all other problems, `table_validation.find_problems` lists them.
        return table, []
    missing = table.loc[~has_file, "image_name"]
    name_join.settle_missing(missing, f"images of {csv} have no file in {images}", "add the files", allowed=True)
    return table[has_file].reset_index(drop=True), missing.tolist()


def _digest_copies(paths: list[str]) -> list[str]:
    """Returns the digests of local files that share their size with others; "" for files that cannot be copies."""
    sizes = pd.Series([addresses.measure(path) for path in paths])
    may_be_copies = (sizes > 0) & sizes.duplicated(keep=False)
    return [
        identity.image_digest(image_files.read_file(path)) if may_be_copy else ""
        for path, may_be_copy in zip(paths, may_be_copies, strict=True)
    ]


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
    code_comparison.log_unused_features(pattern, records)
    if not csv:
        code_comparison.log_foreign_codes(pattern, records)
        _refuse_unlabeled(records, split)
        return records
    table = _take_names(_read_table(csv, split), records["image_name"].tolist(), csv)
    _refuse_problems(f"{csv} does not match {pattern}", _find_problems(table, records, split))
    _log_table(csv, table, split)
    absent = table.loc[~table["image_name"].isin(records["image_name"]), "image_name"].tolist()
    if absent:
        _LOG.warning(f"note: {len(absent)} rows of {csv} have no record and are ignored (first: {absent[0]})")
    _log_dropped(csv, table, records, split)
    return _merge_records(table.assign(coded=code_rows(table, split)), records)


def _take_names(table: pd.DataFrame, names: list[str], csv: str) -> pd.DataFrame:
    """Gives images of a table the names of their files or records, where these are spelled in another way."""
    if "image_name" not in table or table["image_name"].duplicated().any():
        # The problems of such a table are listed with all others.
        return table
    rows = name_join.find_rows(names, table["image_name"], csv)
    is_found = rows >= 0
    renamed = table["image_name"].to_numpy(object, copy=True)
    renamed[rows[is_found]] = np.array(names, object)[is_found]
    return table.assign(image_name=renamed)


def _log_table(csv: str, table: pd.DataFrame, split: str) -> None:
    """Logs what a build does not use of a valid table."""
    table_validation.log_unused_columns(csv, table, (*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS))
    table_validation.log_unknown_categories(table, split)


def _log_dropped(csv: str, table: pd.DataFrame, records: pd.DataFrame, split: str) -> None:
    """Logs which integers of the records a table without these columns replaces by none."""
    for column in table_validation.CODED[split]:
        known = sum(integers.get(column, schema.UNKNOWN) != schema.UNKNOWN for integers in records["integers"])
        if known and column not in table:
            _LOG.warning(
                f"note: {csv} has no {column}, so that of {known} records is left out; add the column to keep it"
            )


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
            other = f" (its first image is {names.iloc[0]!r})" if len(unlisted) == len(records) and len(names) else ""
            problems.append(f"{len(unlisted)} records that are not in the table: {cases}{other}")
    return problems


def _merge_records(table: pd.DataFrame, records: pd.DataFrame) -> pd.DataFrame:
    """Joins records to the rows of a table by name; the integers are those of the table and the original's size."""
    columns = ["image_name", "image_digest", "path", "offset", "length", "integers"]
    # The records' own lesions are those of an index beside them.
    columns += [] if "lesion_id" in table else ["lesion_id"]
    # A column of the table that has the name of a place, such as `path`, is not used.
    table = table.drop(columns=[column for column in columns if column != "image_name"], errors="ignore")
    rows = table.merge(records[columns], on="image_name", validate="one_to_one")
    integers: list[dict[str, Any]] = []
    for coded, own in zip(rows["coded"], rows["integers"], strict=True):
        size = {name: own[name] for name in own if name in ("width", "height")}
        integers.append({**coded, **size})
    return rows.assign(integers=integers)


def list_file_types(rows: pd.DataFrame) -> list[str]:
    """Returns the file types of the sources of rows, such as `jpg`, in alphabetical order."""
    return sorted({image_files.find_type(path) for path in rows["path"]})
