"""Normalizes tables in memory: recognizes, translates and joins them, decides the targets, and reports it all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import column_names, csv_tables
from tfrecord_tools.table_formats import (
    joining,
    malignancy,
    normalized_table,
    raw_table,
    recognition,
    shared_names,
    value_counts,
)
from tfrecord_tools.table_formats.config import TablesConfig
from tfrecord_tools.table_formats.normalization_report import NormalizationReport, count_outcomes, count_sources
from tfrecord_tools.table_formats.table_format import TableFormat

COLUMNS = (
    "image_name",
    "patient_id",
    "lesion_id",
    "sex",
    "age_approx",
    "anatom_site_general_challenge",
    "diagnosis",
    "target",
    "source",
    "image_type",
    "diagnosis_source",
)
_NO_FILE = "it has no image file"


def normalize(
    raw: Sequence[raw_table.RawTable], config: TablesConfig, keep_all: bool = False, keep_unlabeled: bool = False
) -> tuple[pd.DataFrame, NormalizationReport]:
    """Normalizes tables that are in memory.

    Args:
        raw: The tables.
        config: Options; `tables` and `output` are not used.
        keep_all: Whether to keep all further columns.
        keep_unlabeled: Whether to keep images that have no target under the policy, with a blank.

    Returns:
        The table and the report, see `table_files.normalize_tables`.

    Raises:
        ConfigError: See `table_files.normalize_tables`.
        IsicError: See `table_files.normalize_tables`.
    """
    named, published = recognition.choose_formats(config.format)
    recognized = [recognition.recognize(table, named, published) for table in raw]
    for each in named:
        if not any(each is found for _, found in recognized):
            raise errors.ConfigError(
                f"expected a table of the format {each.name} (columns {', '.join(each.recognized_by)}), got none; "
                "check --format"
            )
    keep = _list_all(recognized) if keep_all else _check_keep(config.keep, raw)
    tables = [normalized_table.normalize_table(table, each, keep) for table, each in recognized]
    joined = joining.join_tables(tables, config.policy)
    rows = joined.rows
    is_labeled = any(table.is_labeled for table in tables)
    report = NormalizationReport(
        config.policy, config.indeterminate, is_labeled, tables, keeps_unlabeled=keep_unlabeled
    )
    report.num_images, report.repeated = len(rows), joined.repeated
    report.notes = [f"{table.path}: {note}" for table in tables for note in table.notes] + joined.notes
    report.notes += shared_names.describe_shared_photographs(rows)
    target, reason = malignancy.decide_targets(rows, config.policy, config.indeterminate)
    rows["diagnosis"] = _find_categories(rows["finding"], rows["diagnosis_source"])
    report.notes += _describe_differences(rows, target, config)
    rows["target"] = target
    is_kept = (target != "") | ~rows["is_labeled"].to_numpy(bool) | keep_unlabeled
    report.outcomes = count_outcomes(rows, target)
    report.dropped = _group_names(rows["image_name"], np.where(is_kept, "", reason))
    if config.images:
        has_file = _find_files(rows["image_name"], config.images, report)
        report.dropped |= _group_names(rows["image_name"], np.where(is_kept & ~has_file, _NO_FILE, ""))
        is_kept &= has_file
    columns = [name for name in COLUMNS if name != "target" or is_labeled] + [name for name in keep if name in rows]
    # pandas' own type of text, which is written in a third of the time.
    table = rows.loc[is_kept, columns].reset_index(drop=True).astype("str")
    report.num_kept = len(table)
    report.sources = count_sources(table)
    _refuse_empty(table, raw, report)
    return table, report


def _find_categories(findings: pd.Series, words: pd.Series) -> np.ndarray:
    """Returns the categories of diagnoses; of other words, such as `unknown`, those that records have."""
    codes, texts = pd.factorize(words.to_numpy(object))
    places = [schema.encode("diagnosis", text) for text in texts]
    known = value_counts.spread(
        [schema.CATEGORIES["diagnosis"][place] if place >= 0 else "" for place in places], codes
    )
    categories = np.array([finding.category if finding else "" for finding in findings], object)
    return np.where(findings.to_numpy(object) != "", categories, known)


def _list_all(recognized: Sequence[tuple[raw_table.RawTable, TableFormat]]) -> list[str]:
    """Lists the columns of tables that their formats do not read, except those with names of the output."""
    names: dict[str, str] = {}
    for table, each in recognized:
        used = {column_names.fold(name) for name in each.used_columns} | set(COLUMNS)
        for name in table.header:
            if name.strip() and column_names.find_known(name) not in COLUMNS and column_names.fold(name) not in used:
                names.setdefault(column_names.fold(name), name)
    return list(names.values())


def _check_keep(keep: Sequence[str], raw: Sequence[raw_table.RawTable]) -> list[str]:
    import difflib

    for name in keep:
        if column_names.fold(name) in COLUMNS:
            raise errors.ConfigError(f"--keep={name}: the output has that column anyway; leave it out of --keep")
        if not any(table.has(name) for table in raw):
            known = list(dict.fromkeys(column for table in raw for column in table.header))
            close = difflib.get_close_matches(name, known, 1)
            meant = f"; did you mean {close[0]}?" if close else ""
            cases = csv_tables.describe_first_cases(known, most=12)
            raise errors.ConfigError(
                f"expected columns of the tables as --keep, got {name!r}; they have {cases}{meant}"
            )
    return list(dict.fromkeys(keep))


def _describe_differences(rows: pd.DataFrame, target: np.ndarray, config: TablesConfig) -> list[str]:
    """Describes images whose table has another target than their diagnosis would give."""
    has_both = (target != "") & (rows["truth"] != "").to_numpy(bool) & (rows["finding"] != "").to_numpy(bool)
    if not has_both.any():
        return []
    by_diagnosis, _ = malignancy.decide_targets(rows.assign(truth=""), config.policy, config.indeterminate)
    differs = has_both & (target != by_diagnosis)
    if not differs.any():
        return []
    counts = rows.loc[differs].assign(target=target[differs]).groupby(["diagnosis_source", "target"]).size()
    cases = [f"{words} is {value} ({number})" for (words, value), number in counts.sort_values(ascending=False).items()]
    return [
        f"the target of {int(differs.sum())} images is their table's own, not what the policy makes of their "
        f"diagnosis: {csv_tables.describe_first_cases(cases)}"
    ]


def _group_names(names: pd.Series, reasons: np.ndarray) -> dict[str, list[str]]:
    return {reason: names[reasons == reason].tolist() for reason in pd.unique(reasons) if reason}


def _find_files(names: pd.Series, directory: str, report: NormalizationReport) -> np.ndarray:
    # Loads OpenCV, which the rest of this package does without.
    from tfrecord_tools.table_formats import image_check

    has_file, others = image_check.find_files(names, directory)
    if others:
        cases = csv_tables.describe_first_cases(others, most=3)
        report.notes.append(f"{len(others)} image files of {directory} are in no table ({cases})")
    return has_file


def _refuse_empty(table: pd.DataFrame, raw: Sequence[raw_table.RawTable], report: NormalizationReport) -> None:
    if table.empty:
        reasons = ", ".join(f"{rows} since {reason}" for reason, rows in report.count_dropped().items())
        values = [f"{count.column} {count.original!r}" for count in report.not_understood[:5]]
        unknown = f"; not understood: {', '.join(values)}" if values else ""
        paths = ", ".join(table.path for table in raw)
        raise errors.IsicError(
            f"expected rows with a target in {paths}, but all are left out ({reasons}){unknown}; check --policy, "
            "--indeterminate and --format"
        )
