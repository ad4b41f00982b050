"""Reports what became of every row and every value of the tables."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

import tfrecord_tools
from tfrecord_tools.table_formats.normalized_table import NormalizedTable
from tfrecord_tools.table_formats.value_counts import ValueCount

_POLICIES = {
    "melanoma": "target 1 is melanoma alone; every other diagnosis is 0",
    "malignant": "target 1 is any malignant diagnosis; benign ones are 0",
}
_INDETERMINATE = {
    "drop": "images with an indeterminate diagnosis are left out",
    "benign": "indeterminate diagnoses have target 0",
    "malignant": "indeterminate diagnoses have target 1",
}
_NO_TARGET = "images with an indeterminate diagnosis have no target"
_TARGETS = {"1": "target 1", "0": "target 0", "": "left out"}
# Lines of a list in the text; the JSON file has all.
_MOST_LINES = 60
_MOST_NAMES = 1000


@dataclasses.dataclass
class NormalizationReport:
    """What a normalization did.

    Attributes:
        policy: `melanoma` or `malignant`.
        indeterminate: `drop`, `benign` or `malignant`.
        is_labeled: Whether the tables have labels, so that the output has a target.
        tables: The tables as they were read.
        num_images: Number of images before any was left out.
        num_kept: Number of rows of the output.
        dropped: Dict from reason to the names of the images that were left out.
        repeated: Number of rows that repeated another of their table.
        outcomes: Which target the words of each diagnosis got, see `count_outcomes`.
        sources: Dict from source to its figures.
        notes: What else was changed.
        keeps_unlabeled: Whether images without a target were kept.
    """

    policy: str
    indeterminate: str
    is_labeled: bool
    tables: Sequence[NormalizedTable]
    num_images: int = 0
    num_kept: int = 0
    dropped: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    repeated: int = 0
    outcomes: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sources: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    keeps_unlabeled: bool = False

    @property
    def policy_text(self) -> str:
        """The policy in words."""
        if not self.is_labeled:
            return "the tables have no labels, so there is no target"
        is_open = self.keeps_unlabeled and self.indeterminate == "drop"
        text = f"{_POLICIES[self.policy]}; {_NO_TARGET if is_open else _INDETERMINATE[self.indeterminate]}"
        own = [table.path for table in self.tables if table.has_fixed_target]
        return f"{text}; but the target of {', '.join(own)} is taken as it is" if own else text

    @property
    def not_understood(self) -> list[ValueCount]:
        """The values that are neither of the package nor of the formats, and became unknown."""
        return [count for count in self.counts if not count.understood]

    @property
    def counts(self) -> list[ValueCount]:
        """What became of each value of all tables."""
        return merge_counts(count for table in self.tables for count in table.counts)

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as a dict for JSON."""
        return {
            "version": tfrecord_tools.__version__,
            "policy": self.policy if self.is_labeled else None,
            "indeterminate": self.indeterminate if self.is_labeled else None,
            "policy_text": self.policy_text,
            "tables": [_describe_table(table) for table in self.tables],
            "rows_read": sum(table.num_read for table in self.tables),
            "images": self.num_images,
            "rows_kept": self.num_kept,
            "dropped": self.count_dropped(),
            "dropped_images": {reason: names[:_MOST_NAMES] for reason, names in self.dropped.items()},
            "sources": self.sources,
            "outcomes": self.outcomes,
            "values": [count.to_dict() for count in self.counts],
            "not_understood": [count.to_dict() for count in self.not_understood],
            "notes": self.notes,
        }

    def count_dropped(self) -> dict[str, int]:
        """Returns how many rows were left out for each reason: of the tables, and then images of them."""
        counted: dict[str, int] = {}
        for table in self.tables:
            for reason, rows in table.dropped.items():
                counted[reason] = counted.get(reason, 0) + rows
        if self.repeated:
            counted["it repeats another row of its table"] = self.repeated
        return counted | {reason: len(names) for reason, names in self.dropped.items()}

    def to_text(self) -> str:
        """Returns the report as text."""
        lines = [f"policy: {self.policy_text}", "", "tables:"]
        for table in self.tables:
            lines.append(f"  {table.path}: {table.num_read} rows, read as {_name_format(table)}")
            lines += [f"    columns that are not used: {', '.join(table.unused)}"] if table.unused else []
        lines += ["", f"images: {self.num_images}, kept: {self.num_kept}"]
        lines += [f"  left out, since {reason}: {rows}" for reason, rows in self.count_dropped().items()]
        lines += ["", "sources:"]
        for source, figures in self.sources.items():
            lines.append(f"  {source}: " + ", ".join(f"{number} {name}" for name, number in figures.items()))
        lines += self._list_outcomes() if self.is_labeled else []
        for column in dict.fromkeys(count.column for count in self.counts):
            counts = [count for count in self.counts if count.column == column and count.understood]
            lines += ["", f"{column}:"] if counts else []
            lines += _shorten([f"  {_describe_count(count)}" for count in counts])
        if self.not_understood:
            lines += ["", "values that are not understood, and became unknown:"]
            lines += _shorten([f"  {count.column} {count.original!r}: {count.rows}" for count in self.not_understood])
        lines += ["", "notes:", *(f"  {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines) + "\n"

    def _list_outcomes(self) -> list[str]:
        lines = [
            f"  {row['source']}, {row['diagnosis_source'] or '(no diagnosis)'} -> {_TARGETS[row['target']]}: "
            f"{row['rows']}"
            for row in self.outcomes
        ]
        return ["", "what each diagnosis became:", *_shorten(lines)]


def merge_counts(counts: Iterable[ValueCount]) -> list[ValueCount]:
    """Adds up the counts of several tables.

    Args:
        counts: What became of each value of each table.

    Returns:
        The counts, each value once, in order of first appearance.

    Examples:
        >>> merged = merge_counts([ValueCount("sex", "M", "male", 2), ValueCount("sex", "M", "male", 3)])
        >>> [(count.original, count.rows) for count in merged]
        [('M', 5)]
    """
    merged: dict[tuple[Any, ...], ValueCount] = {}
    for count in counts:
        key = (count.column, count.original, count.became, count.understood, count.malignancy, count.category)
        rows = merged[key].rows if key in merged else 0
        merged[key] = dataclasses.replace(count, rows=count.rows + rows)
    return list(merged.values())


def count_outcomes(rows: pd.DataFrame, target: np.ndarray) -> list[dict[str, Any]]:
    """Counts which target the words of each diagnosis got.

    Args:
        rows: DataFrame with `source`, `diagnosis_source` and `diagnosis`.
        target: "0", "1" or "", objects `[n]`.

    Returns:
        Dicts with these columns, `target` and `rows`, the most frequent first.
    """
    columns = ("source", "diagnosis_source", "diagnosis")
    counted = collections.Counter(zip(*(rows[column] for column in columns), target, strict=True))
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    return [dict(zip((*columns, "target"), values, strict=True)) | {"rows": number} for values, number in ordered]


def count_sources(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Counts images, targets, patients and lesions of each source.

    Args:
        table: DataFrame with `source`, `patient_id`, `lesion_id` and, where there are labels, `target`.

    Returns:
        Dict from source to its figures.
    """
    figures: dict[str, dict[str, int]] = {}
    sources = table["source"].to_numpy(object)
    for source in dict.fromkeys(sources):
        is_own = sources == source
        counted = {"images": int(is_own.sum())}
        if "target" in table:
            values = collections.Counter(table["target"].to_numpy(object)[is_own])
            counted |= {f"with target {value}": values[value] for value in ("1", "0")}
            counted["without target"] = values[""]
        for column, name in (("patient_id", "patients"), ("lesion_id", "lesions")):
            counted[name] = len(set(table[column].to_numpy(object)[is_own]) - {""})
        figures[str(source)] = counted
    return figures


def _name_format(table: NormalizedTable) -> str:
    each = table.table_format
    return each.name if each.title == each.name else f"{each.title} ({each.name})"


def _describe_table(table: NormalizedTable) -> Mapping[str, Any]:
    return {
        "path": table.path,
        "format": table.table_format.name,
        "title": table.table_format.title,
        "rows": table.num_read,
        "dropped": table.dropped,
        "unused_columns": table.unused,
        "values": [count.to_dict() for count in table.counts],
    }


def _describe_count(count: ValueCount) -> str:
    became = count.became or "unknown"
    if count.malignancy:
        became = f"{became} ({count.malignancy}; category {count.category})"
    return f"{count.original or '(blank)'} -> {became}: {count.rows}"


def _shorten(lines: list[str]) -> list[str]:
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_MOST_LINES], f"  and {len(lines) - _MOST_LINES} more, which the JSON report lists"]
