"""Joins the tables of one data set by image or lesion, and puts the rows of several data sets together."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables
from tfrecord_tools.table_formats import contradictions, malignancy, shared_names
from tfrecord_tools.table_formats.normalized_table import NormalizedTable

# Columns that are merged by rules of their own.
_SPECIAL = ("image_name", "finding", "diagnosis_source", "truth")


@dataclasses.dataclass
class JoinedTables:
    """The rows of all tables, each image once.

    Attributes:
        rows: DataFrame, see `NormalizedTable.rows`, with `truth_policy`, what the truth of a row states ("" for none),
            and `is_labeled`, whether a table of its source has labels.
        notes: What was joined, prefixed or left out.
        repeated: Number of rows that repeat another of their table.
    """

    rows: pd.DataFrame
    notes: list[str] = dataclasses.field(default_factory=list)
    repeated: int = 0


def join_tables(tables: Sequence[NormalizedTable], policy: str) -> JoinedTables:
    """Joins normalized tables.

    Args:
        tables: The tables; at least one names images.
        policy: `melanoma` or `malignant`; what counts as a contradiction of two tables.

    Returns:
        `JoinedTables`, in the order of the first table, then of the rows that each further one adds.

    Raises:
        IsicError: No table names images, or two tables, or two rows of one, contradict each other on an image.
    """
    joined = JoinedTables(pd.DataFrame())
    joined.notes += shared_names.prefix_people(tables)
    by_image = [table for table in tables if table.table_format.joins == "image"]
    if not by_image:
        raise errors.IsicError(
            f"{', '.join(table.path for table in tables)} names lesions, but no images; add the table of the same data "
            "set that has both, such as its metadata"
        )
    parts = [_Part(table, policy) for table in tables]
    for part in parts:
        joined.repeated += part.drop_repeats()
    shared_names.refuse_shared_names(by_image)
    joined.notes += shared_names.describe_shared_people(by_image)
    images = [part for part in parts if part.table in by_image]
    names = _find_names(images)
    merged = _Merged([*images, *(part for part in parts if part not in images)], names, policy)
    for part in images[1:]:
        merged.add(part, pd.Index(part.names, dtype=object).get_indexer(names), merged.values["image_name"])
    for part in parts:
        if part not in images:
            lesions = pd.Index(part.names, dtype=object)
            found = lesions.get_indexer(pd.Index(merged.values["lesion_id"], dtype=object))
            unused = len(lesions) - len(np.unique(found[found >= 0]))
            if unused:
                joined.notes.append(f"{unused} lesions of {part.table.path} have no image in the other tables")
            merged.add(part, found, merged.values["lesion_id"])
    contradictions.refuse(merged.contradictions)
    columns = (merged.values[name] for name in ("image_name", "source", "verdict"))
    contradictions.refuse(shared_names.list_photograph_contradictions(*columns))
    joined.rows = merged.finish([part.table for part in parts])
    joined.notes += _describe_unjoined(by_image, joined.rows)
    joined.notes += shared_names.describe_shared_images(by_image)
    return joined


def _describe_unjoined(tables: Sequence[NormalizedTable], rows: pd.DataFrame) -> list[str]:
    """Describes images that only one of several tables of their data set has."""
    notes: list[str] = []
    if len(tables) < 2:
        return notes
    for source, names in rows.groupby("source")["image_name"]:
        own = [table for table in tables if (table.rows["source"] == source).any()]
        for table in own if len(own) > 1 else []:
            missing = names[~names.isin(table.rows["image_name"])]
            if len(missing):
                cases = csv_tables.describe_first_cases(missing.tolist(), most=3)
                notes.append(f"{len(missing)} images of {source} are not in {table.path} ({cases})")
    return notes


class _Part:
    """A table with its verdicts, and the names that its rows are joined by."""

    def __init__(self, table: NormalizedTable, policy: str) -> None:
        self.table = table
        rule = table.table_format.target
        self.truth_policy = rule.policy if rule else ""
        table.rows["verdict"] = malignancy.decide_verdicts(table.rows, self.truth_policy, policy)

    @property
    def key(self) -> str:
        return "image_name" if self.table.table_format.joins == "image" else "lesion_id"

    @property
    def names(self) -> pd.Series:
        return self.table.rows[self.key]

    def drop_repeats(self) -> int:
        """Leaves out rows that repeat another; refuses rows of one image that differ."""
        rows = self.table.rows
        is_repeated = rows[self.key].duplicated(keep=False)
        if not is_repeated.any():
            return 0
        repeated = rows[is_repeated].reset_index(drop=True)
        first = repeated.drop_duplicates(self.key).set_index(self.key)
        paths = np.full(len(repeated), self.table.path, object)
        found: list[contradictions.Contradiction] = []
        for column in first.columns.difference(["finding", "verdict"], sort=False):
            expected = first[column].reindex(repeated[self.key]).to_numpy(object)
            values = repeated[column].to_numpy(object)
            names = repeated[self.key].to_numpy(object)
            found += contradictions.list_cases(column, names, (expected, values), expected != values, (paths, paths))
        contradictions.refuse(found)
        self.table.rows = rows.drop_duplicates(self.key).reset_index(drop=True)
        return len(rows) - len(self.table.rows)


def _find_names(parts: Sequence[_Part]) -> pd.Index:
    """Returns the names of all images, in the order of the tables."""
    names = pd.Index(parts[0].names, dtype=object)
    for part in parts[1:]:
        others = pd.Index(part.names, dtype=object)
        names = names.append(others[~others.isin(names)])
    return names


class _Merged:
    """The rows of all tables while they are joined, as arrays of objects `[n]`."""

    def __init__(self, parts: Sequence[_Part], names: pd.Index, policy: str) -> None:
        """Starts with the rows of the first table, in which the names of the others follow with blanks."""
        first, self.policy, self.num_rows = parts[0], policy, len(names)
        columns = dict.fromkeys(name for part in parts for name in part.table.rows)
        self.values = {column: np.full(self.num_rows, "", object) for column in columns}
        for column in first.table.rows:
            self.values[column][: len(first.names)] = first.table.rows[column].to_numpy(object)
        self.values["image_name"] = names.to_numpy(object)
        self.values["truth_policy"] = np.where(self.values["truth"] != "", first.truth_policy, "").astype(object)
        self.has_detail = (self.values["finding"] != "") & first.table.has_detail
        self.contradictions: list[contradictions.Contradiction] = []
        # The tables, and the number of the one that each value is from.
        self.paths = [first.table.path]
        self.origins: dict[str, np.ndarray] = {}

    def add(self, part: _Part, places: np.ndarray, names: np.ndarray) -> None:
        """Fills blanks in from the rows of a further table; notes where it contradicts.

        Args:
            part: The table.
            places: int64 `[n]`, its row for each row of the result; -1 for none.
            names: What each row is called in an error, objects `[n]`.
        """
        self.paths.append(part.table.path)
        is_found = places >= 0

        def find(column: str) -> np.ndarray:
            return np.where(is_found, part.table.rows[column].to_numpy(object)[places], "")

        for column in part.table.rows:
            if column not in _SPECIAL and column != part.key:
                old, new = self.values[column], find(column)
                if column != "source":
                    self._note(column, names, old, new, _find_differences(old, new))
                self._fill(column, (old == "") & (new != ""), new)
        self._add_diagnosis(part, names, find("finding"), find("diagnosis_source"))
        truth = find("truth")
        fits = part.truth_policy in (self.policy, "any")
        policies = self.values["truth_policy"]
        old_fits = (policies == self.policy) | (policies == "any")
        use = (truth != "") & ((self.values["truth"] == "") | (fits & ~old_fits))
        self.values["truth"] = np.where(use, truth, self.values["truth"])
        self.values["truth_policy"] = np.where(use, part.truth_policy, policies)

    def _add_diagnosis(self, part: _Part, names: np.ndarray, findings: np.ndarray, words: np.ndarray) -> None:
        """Fills in diagnoses; those of a column replace those of classes, which are less specific."""
        old, old_words = self.values["finding"], self.values["diagnosis_source"]
        self._note("diagnosis_source", names, old_words, words, malignancy.find_contradictions(old, findings))
        is_known = findings != ""
        is_finer = part.table.has_detail & ~self.has_detail
        # Words that are not understood do not replace a class that is.
        use = (words != "") & np.where(old != "", is_known & is_finer, is_known | (old_words == ""))
        self.values["finding"] = np.where(use, findings, old)
        self._fill("diagnosis_source", use, words)
        self.has_detail |= use & is_known & part.table.has_detail

    def _fill(self, column: str, use: np.ndarray, values: np.ndarray) -> None:
        self.values[column] = np.where(use, values, self.values[column])
        self.origins.setdefault(column, np.zeros(self.num_rows, np.int16))[use] = len(self.paths) - 1

    def _note(self, column: str, names: np.ndarray, old: np.ndarray, new: np.ndarray, differs: np.ndarray) -> None:
        if differs.any():
            origins = self.origins.get(column, np.zeros(self.num_rows, np.int16))
            paths = np.array(self.paths, object)[origins]
            self.contradictions += contradictions.list_cases(
                column, names, (old, new), differs, (paths, np.full(self.num_rows, self.paths[-1], object))
            )

    def finish(self, tables: Sequence[NormalizedTable]) -> pd.DataFrame:
        """Returns the rows, with whether their source has labels."""
        sources, verdicts = self.values["source"], self.values.pop("verdict")
        labeled = {source for table in tables if table.is_labeled for source in table.rows["source"].unique()}
        if any(table.is_labeled and table.table_format.joins == "lesion" for table in tables):
            labeled |= set(sources[verdicts != ""])
        has_label = (self.values["diagnosis_source"] != "") | (self.values["truth"] != "")
        rows = pd.DataFrame(self.values, dtype=object)
        rows["is_labeled"] = rows["source"].isin(labeled).to_numpy(bool) | has_label
        return rows


def _find_differences(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns where two tables have other values, of which 1.5 and 1.50 are none."""
    differs = (first != "") & (second != "") & (first != second)
    for row in np.flatnonzero(differs):
        try:
            differs[row] = float(first[row]) != float(second[row])
        except ValueError:
            continue
    return np.asarray(differs, bool)
