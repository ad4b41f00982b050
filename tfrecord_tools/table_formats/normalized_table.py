"""Gives one table the columns and the values of the package."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import column_names
from tfrecord_tools.table_formats import class_columns, diagnoses, format_parts, raw_table, value_counts, values
from tfrecord_tools.table_formats.table_format import TableFormat
from tfrecord_tools.table_formats.value_counts import ValueCount

# Columns with values of a schema, and who reads those that a format does not replace.
READERS: Mapping[str, Callable[[str], str | None]] = {
    "sex": values.read_sex,
    "age_approx": values.read_age,
    "anatom_site_general_challenge": values.read_site,
    "image_type": str,
    "source": str,
}
PEOPLE = ("patient_id", "lesion_id")
Texts: TypeAlias = Mapping[str, np.ndarray]
_DECIMALS = re.compile(r"^(\d+)\.0+$")
_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp|dcm|dicom)$", re.IGNORECASE)


@dataclasses.dataclass(eq=False)
class NormalizedTable:
    """The rows of one table, in the columns of the package.

    Attributes:
        path: The file.
        table_format: Its format.
        rows: DataFrame of text, "" where unknown: `format_parts.COLUMNS` without `diagnosis`; `diagnosis_source`, the
            original words; `finding`, a `Diagnosis` or ""; `truth`, "0", "1" or "", the table's own target; and the
            columns to keep.
        counts: What became of each value.
        num_read: Number of rows in the file.
        dropped: Dict from reason to the rows that were left out.
        notes: What else was changed.
        unused: Columns that were not read.
        is_labeled: Whether the table has a column that says what an image shows.
        has_detail: Whether it has a column of diagnoses, which are more specific than classes.
        has_fixed_target: Whether its own target is taken as it is, whatever the policy.
    """

    path: str
    table_format: TableFormat
    rows: pd.DataFrame
    counts: list[ValueCount]
    num_read: int
    dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    unused: list[str] = dataclasses.field(default_factory=list)
    is_labeled: bool = False
    has_detail: bool = False
    has_fixed_target: bool = False


def normalize_table(table: raw_table.RawTable, table_format: TableFormat, keep: Sequence[str] = ()) -> NormalizedTable:
    """Reads the columns of a table that its format names, and translates their values.

    Args:
        table: The table.
        table_format: Its format.
        keep: Further columns to keep as they are, where the table has them.

    Returns:
        `NormalizedTable`.

    Raises:
        IsicError: The table is damaged, has no rows, or a row has no image.
    """
    used = [name for name in table_format.used_columns if table.has(name)]
    kept = [name for name in keep if table.has(name)]
    text: Texts = table.read(list(dict.fromkeys([*used, *kept])))
    num_read = len(next(iter(text.values()))) if text else 0
    if not num_read:
        raise errors.IsicError(f"{table.path} has a header but no rows; add rows or use another file")
    result = NormalizedTable(table.path, table_format, pd.DataFrame(), [], num_read)
    if table.separator != ",":
        result.notes.append(f"its columns are separated by {table.describe_separator()}s")
    if table.num_skipped:
        result.notes.append(f"{table.num_skipped} lines before the header were left out")
    if table.num_below:
        result.notes.append(f"{table.num_below} lines that do not belong to the table were left out")
    read = {column_names.fold(name) for name in (*used, *kept)}
    result.unused = [name for name in table.header if name.strip() and column_names.fold(name) not in read]
    result.is_labeled = any((text[name] != "").any() for name in table_format.label_columns if name in text)
    result.has_detail = any(table.has(name) for name in table_format.columns.get("diagnosis", ()))
    text, num_rows = _drop_blank_rows(result, text)
    rows: dict[str, np.ndarray] = {}
    for column, reader in READERS.items():
        rows[column] = _read_values(result, text, num_rows, column, reader)
    for column, value in (("image_type", table_format.image_type), ("source", table_format.source)):
        rows[column] = np.where(rows[column] != "", rows[column], value)
    for column in PEOPLE:
        people = _read_first(text, num_rows, table_format.columns.get(column, ()))
        # Other tools write whole numbers as 7.0 where some are blank.
        rows[column], _ = value_counts.translate(people, column, lambda text: _DECIMALS.sub(r"\1", text))
    rows["lesion_id"] = _join_lesion_key(rows, table_format)
    rows["finding"], rows["diagnosis_source"] = _read_diagnoses(result, text, num_rows)
    rows["truth"] = _read_truth(result, text, rows["finding"])
    rows |= {name: text[name] for name in kept}
    result.rows = _read_names(result, text, pd.DataFrame(rows, index=range(num_rows), dtype=object))
    return result


def _drop_blank_rows(result: NormalizedTable, text: Texts) -> tuple[Texts, int]:
    """Leaves out the rows without any text."""
    is_filled = np.logical_or.reduce([values != "" for values in text.values()])
    num_rows = int(is_filled.sum())
    if not num_rows:
        raise errors.IsicError(
            f"{result.path}: the columns {', '.join(list(text)[:10])} are blank in all rows; fill them in or use "
            "another file"
        )
    if num_rows < len(is_filled):
        result.dropped["blank row"] = len(is_filled) - num_rows
        text = {name: values[is_filled] for name, values in text.items()}
    return text, num_rows


def _read_first(text: Texts, num_rows: int, columns: Sequence[str]) -> np.ndarray:
    """Returns the first filled one of several columns."""
    found = np.full(num_rows, "", object)
    for name in columns:
        if name in text:
            found = np.where(found != "", found, text[name])
    return found


def _read_values(
    result: NormalizedTable, text: Texts, num_rows: int, column: str, reader: Callable[[str], Any]
) -> np.ndarray:
    """Translates a column; where it has several, the first that is filled and understood counts."""
    replaced = result.table_format.values.get(column, {})

    def read(value: str) -> Any:
        folded = format_parts.fold_value(value)
        return replaced[folded] if folded in replaced else reader(value)

    found = np.full(num_rows, "", object)
    names = [name for name in result.table_format.columns.get(column, ()) if name in text]
    is_blank = np.full(num_rows, bool(names))
    for name in names:
        translated, counts = value_counts.translate(np.where(found == "", text[name], ""), column, read)
        found = np.where(found != "", found, translated)
        is_blank &= text[name] == ""
        result.counts += counts
    if is_blank.any():
        result.counts.append(ValueCount(column, "", "", int(is_blank.sum())))
    return found


def _join_lesion_key(rows: Mapping[str, np.ndarray], table_format: TableFormat) -> np.ndarray:
    """Puts the columns that name a lesion together into one."""
    lesions = rows["lesion_id"]
    for name in (name for name in table_format.lesion_key if name != "lesion_id"):
        lesions = np.where((rows[name] != "") & (lesions != ""), rows[name] + "_" + lesions, lesions)
    return lesions


def _read_diagnoses(result: NormalizedTable, text: Texts, num_rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the diagnoses and their words: of the first column that is understood, else of the classes."""
    table_format = result.table_format

    def read(value: str) -> Any:
        folded = format_parts.fold_value(value)
        if folded in table_format.diagnoses:
            return table_format.diagnoses[folded] or ""
        return "" if folded in schema.UNKNOWN_WORDS else diagnoses.find_diagnosis(value)

    findings, words = np.full(num_rows, "", object), np.full(num_rows, "", object)
    for name in table_format.columns.get("diagnosis", ()):
        if name in text:
            is_open = findings == ""
            found, counts = value_counts.translate(np.where(is_open, text[name], ""), "diagnosis", read)
            # Of words that are not understood, the first are kept.
            words = np.where(is_open & ((found != "") | (words == "")) & (text[name] != ""), text[name], words)
            findings = np.where(is_open, found, findings)
            result.counts += counts
    if table_format.classes or table_format.otherwise:
        found, chosen, counts = class_columns.read_classes(result.path, text, num_rows, table_format)
        use = (findings == "") & (words == "")
        findings, words = np.where(use, found, findings), np.where(use, chosen, words)
        result.counts += counts
    # A table that was normalized before has the words that it had then.
    original = _read_first(text, num_rows, table_format.columns.get("diagnosis_source", ()))
    return findings, np.where(original != "", original, words)


def _read_truth(result: NormalizedTable, text: Texts, findings: np.ndarray) -> np.ndarray:
    """Returns the table's own target; blank where the format leaves indeterminate diagnoses to the policy."""
    rule = result.table_format.target
    if rule is None or rule.column not in text:
        return np.full(len(findings), "", object)
    known = rule.values
    truth, counts = value_counts.translate(
        text[rule.column], "target", lambda value: known.get(format_parts.fold_value(value))
    )
    result.counts += counts
    result.has_fixed_target = rule.policy == "any"
    if result.has_fixed_target:
        result.notes.append(f"its column {rule.column} is taken as it is, whatever the policy")
    if rule.spares_indeterminate:
        is_open = np.array([getattr(finding, "malignancy", "") == "indeterminate" for finding in findings], bool)
        num_spared = int((is_open & (truth != "")).sum())
        if num_spared:
            result.notes.append(
                f"its column {rule.column} is not used for {num_spared} rows whose diagnosis is indeterminate; "
                "--indeterminate decides them"
            )
        truth = np.where(is_open, "", truth)
    return truth


def _read_names(result: NormalizedTable, text: Texts, rows: pd.DataFrame) -> pd.DataFrame:
    """Adds `image_name`; several rows where a row has several images."""
    table_format = result.table_format
    if table_format.joins == "lesion":
        _refuse_unnamed(result, rows["lesion_id"], "lesion_id")
        return rows.assign(image_name="")
    parts = []
    for name, image_type in table_format.images.items():
        if name in text:
            part = rows.assign(image_name=text[name], image_type=image_type)
            parts.append(part[part["image_name"] != ""])
    if not parts:
        names = _read_first(text, len(rows), table_format.columns.get("image_name", ()))
        parts = [rows.assign(image_name=names)]
    rows = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True) if len(parts) > 1 else parts[0]
    _refuse_unnamed(result, rows["image_name"], "image")
    return rows.assign(image_name=_strip_names(result, rows["image_name"].to_numpy(object)))


def _strip_names(result: NormalizedTable, names: np.ndarray) -> np.ndarray:
    """Removes directories and the extensions of images from names."""
    stripped = np.array([_strip_name(name) for name in names], object)
    num_changed = int((stripped != names).sum())
    if num_changed:
        result.notes.append(f"the directory or the extension was removed from {num_changed} image names")
    return stripped


def _strip_name(name: str) -> str:
    if "." not in name and "/" not in name and "\\" not in name:
        return name
    return _EXTENSION.sub("", name.replace("\\", "/").rsplit("/", 1)[-1])


def _refuse_unnamed(result: NormalizedTable, names: pd.Series, what: str) -> None:
    unnamed = np.flatnonzero(names == "")
    if len(unnamed):
        raise errors.IsicError(
            f"{result.path} must name the {what} of every row, but {len(unnamed)} have none (first: row "
            f"{unnamed[0] + 1}); fill it in, or delete these rows"
        )
