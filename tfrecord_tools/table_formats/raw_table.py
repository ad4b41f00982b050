"""Reads the columns of a CSV file that are needed, as they are in the file."""

import csv
import dataclasses
import functools
import io
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import column_names, csv_output, csv_tables
from tfrecord_tools.table_formats import value_counts

# Words for an unknown value in any column, besides a blank.
_BLANKS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None", "<NA>")
# What may stand between columns, in the order of preference where a header has as many of several.
_SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}
# Rows of PH2's text table begin, and its columns are divided, by two bars; within a group of columns by one.
_BARS = b"||"
_HEADER_BYTES = 2**20
_EMPTY_LINE = b',; \t"'
_MOST_COLUMNS = 10_000
_MOST_CHARACTERS = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclasses.dataclass(frozen=True)
class RawTable:
    r"""A CSV file: its bytes, and the names of its columns.

    Attributes:
        path: Name of the table in errors and reports.
        content: Bytes of the file, from the header on.
        header: Names of the columns as they are in the file.
        has_header: Whether the first line is a header; otherwise `header` comes from a format.
        num_skipped: Number of lines of other text, such as a legend, before the header.
        num_below: Number of lines of other text below the table.
        separator: What stands between its columns.

    Examples:
        >>> table = RawTable("a.csv", b"image,MEL\nISIC_1,1.0\n", ("image", "MEL"))
        >>> table.read(["mel"])["mel"].tolist()
        ['1.0']
    """

    path: str
    content: bytes
    header: tuple[str, ...]
    has_header: bool = True
    num_skipped: int = 0
    num_below: int = 0
    separator: str = ","

    @functools.cached_property
    def places(self) -> Mapping[str, list[int]]:
        """Dict from folded name of a column to its positions, of which a name has several where it is repeated."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(self.header):
            places.setdefault(column_names.fold(name), []).append(place)
        return places

    def has(self, column: str) -> bool:
        """Returns whether the table has a column, in any spelling."""
        return column_names.fold(column) in self.places

    def read(self, columns: Sequence[str]) -> dict[str, np.ndarray]:
        """Reads columns as text.

        Args:
            columns: Names in any spelling, each of which the table has.

        Returns:
            Dict from each name to the stripped texts of its column, objects `[n]`, "" where blank or a word like NA.

        Raises:
            IsicError: The file is no CSV table, a row is longer than the header, or two columns of one name differ.
        """
        places = {name: self.places[column_names.fold(name)] for name in columns}
        needed = sorted({place for found in places.values() for place in found})
        cells = self._parse(needed)
        cleaned = {
            place: _clean(self.path, self.header[place], cells[:, column]) for column, place in enumerate(needed)
        }
        return {name: self._merge(name, [cleaned[place] for place in found]) for name, found in places.items()}

    def _parse(self, needed: list[int]) -> np.ndarray:
        """Returns the texts of the columns at some places, and of the one after the last."""
        # A first line with one value more than the header makes a column in which the texts of longer rows show; pandas
        # would pass over them where it does not read all columns.
        extra = len(self.header)
        content = self.separator.join(["-"] * (extra + 1)).encode() + b"\n" + self.content
        try:
            table = pd.read_csv(
                io.BytesIO(content),
                sep=self.separator,
                header=None,
                names=list(range(extra + 1)),
                usecols=[*needed, extra],
                index_col=False,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                skipinitialspace=True,
            )
        except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError, csv.Error) as error:
            raise errors.IsicError(
                f"{self.path} is not a {self.describe_separator()}-separated UTF-8 table: "
                f"{' '.join(str(error).split())}; export it as CSV in UTF-8"
            ) from error
        cells = table.iloc[2 if self.has_header else 1 :].fillna("").to_numpy(object)
        row = next((row for row, text in enumerate(cells[:, -1]) if text and text.strip()), None)
        if row is not None:
            raise errors.IsicError(
                f"{self.path}: row {row + 1} has more values than the header has columns ({extra}); look for a "
                f"{self.describe_separator()} in a text, which needs quotation marks"
            )
        return cells

    def describe_separator(self) -> str:
        """Returns the name of what stands between the columns."""
        return _SEPARATORS[self.separator]

    def _merge(self, name: str, columns: list[np.ndarray]) -> np.ndarray:
        """Returns the first of the columns of one name, filled in from the others, which must not differ from it."""
        merged = columns[0]
        for other in columns[1:]:
            rows = np.flatnonzero((merged != other) & (merged != "") & (other != ""))
            if len(rows):
                raise errors.IsicError(
                    f"{self.path} has two columns {name} that contradict each other in {len(rows)} rows (first: "
                    f"{merged[rows[0]]!r} and {other[rows[0]]!r}); remove or rename one of them"
                )
            merged = np.where(merged != "", merged, other)
        return merged


def read_raw(path: str) -> RawTable:
    """Reads a CSV file and the names of its columns.

    Args:
        path: CSV file, UTF-8 with or without a byte order mark; columns may be separated by tabs, semicolons or
            vertical bars too.

    Returns:
        `RawTable`.

    Raises:
        IsicError: The file does not exist, is of another format, or has no text.
    """
    return make_raw(path, csv_tables.read_file(path))


def make_raw(path: str, content: bytes) -> RawTable:
    """Makes a table of the bytes of a CSV file; see `read_raw`."""
    content, num_below = _read_bars(_skip_empty_lines(content))
    separator = _find_separator(content)
    try:
        header = csv_tables.read_header(content, separator)
    except csv.Error as error:
        raise errors.IsicError(f"{path} is not a CSV file: {error}; export it as CSV in UTF-8") from error
    if not header:
        raise errors.IsicError(f"expected a CSV table with a header, got {path}, which has no text; check the file")
    if len(header) > _MOST_COLUMNS:
        raise errors.IsicError(
            f"expected a table of at most {_MOST_COLUMNS} columns, {path} has {len(header)}; remove some"
        )
    return RawTable(path, content, tuple(header), num_below=num_below, separator=separator)


def _find_separator(content: bytes) -> str:
    """Returns what stands between columns: of the marks in the header outside quotation marks, the most frequent."""
    line = content[:_HEADER_BYTES].lstrip(b"\xef\xbb\xbf\r\n").partition(b"\n")[0].decode("utf-8", "replace")
    unquoted = re.sub(r'"[^"]*"', "", line)
    return max(_SEPARATORS, key=unquoted.count)


def _read_bars(content: bytes) -> tuple[bytes, int]:
    """Gives a table whose rows begin with two bars, as PH2's text file, commas in their place.

    Args:
        content: Bytes of a file, from its first line with text on.

    Returns:
        Bytes of a table with commas, and the number of other lines with text, which are left out; `content` itself
        and 0 where its first line does not begin with two bars.
    """
    if not content.startswith(_BARS):
        return content, 0
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    rows = [line.strip() for line in lines if line.strip().startswith("|")]
    num_other = sum(bool(line.strip()) for line in lines) - len(rows)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerows([cell.strip() for cell in re.split(r"\|\|?", row.strip("|"))] for row in rows)
    return table.getvalue().encode("utf-8", "surrogateescape"), num_other


def _skip_empty_lines(content: bytes) -> bytes:
    """Removes lines without any text before the header, such as `,,,` of spreadsheets."""
    start = 3 if content.startswith(b"\xef\xbb\xbf") else 0
    while start < len(content):
        end = content.find(b"\n", start)
        line = content[start : end if end >= 0 else len(content)]
        if line.strip().strip(_EMPTY_LINE):
            break
        if end < 0:
            return b""
        start = end + 1
    return content[start:]


def _clean(path: str, name: str, values: np.ndarray) -> np.ndarray:
    """Strips the texts of a column, undoes the marks of `csv_output`, and makes words for unknown values blanks."""
    codes, texts = pd.factorize(values)
    cleaned = [csv_output.unmark(text.strip()) for text in texts]
    odd = next((text for text in cleaned if len(text) > _MOST_CHARACTERS or _CONTROL.search(text)), None)
    if odd is not None:
        raise errors.IsicError(
            f"{path}: {name} must be a line of at most {_MOST_CHARACTERS} characters without control characters, got "
            f"{csv_tables.describe_first_cases([odd])}; look for a quotation mark without its partner"
        )
    return value_counts.spread(["" if text in _BLANKS else text for text in cleaned], codes)
