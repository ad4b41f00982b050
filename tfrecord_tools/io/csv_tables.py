"""Reads CSV tables as text, and checks them."""

import codecs
import contextlib
import csv
import io
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import column_names, csv_output, filesystem

# Words for an unknown value, besides a blank.
_BLANKS = frozenset(("NA", "N/A", "NaN", "nan", "NULL", "null", "None"))
_PEOPLE = ("patient_id", "lesion_id")
# Rows that tell whether the texts of a column repeat.
_SAMPLE = 1000
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}
# The first bytes of files that people take for CSV files.
_OTHER_FORMATS = {
    codecs.BOM_UTF16_LE: "encoded in UTF-16",
    codecs.BOM_UTF16_BE: "encoded in UTF-16",
    b"PK\x03\x04": "an Excel workbook or a ZIP archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "compressed by GZIP",
}
# Longest text in a known column.
_MAX_CELL = 1000
_MAX_SHOWN = 80
_HEADER_BYTES = 2**20
_CONTROL_BYTES = bytes({*range(32), 127} - {*b"\r\n"})


def read_table(path: str, columns: Sequence[str], may_be_empty: bool = False) -> pd.DataFrame:
    r"""Reads a CSV file as text, so that no name or identifier is converted to a number.

    Args:
        path: CSV file with a header, UTF-8 with or without a byte order mark. Columns of the schema and `columns` are
            recognized as `column_names.rename_columns` does.
        columns: Names of the required columns.
        may_be_empty: Whether a header without rows is allowed.

    Returns:
        DataFrame of stripped strings, "" where blank or, except in `image_name`, a word like NA.

    Raises:
        IsicError: The file does not exist, is not a CSV file (for example has semicolons), has no rows, lacks a column,
            has two columns that contradict each other, or a known column has no name or a text that no such column has.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("Image_Name,sex,note", "007,NA, 1e5", sep="\n", file=file, flush=True)
        ...     read_table(file.name, ["image_name"]).to_dict("list")
        {'image_name': ['007'], 'sex': [''], 'note': ['1e5']}
    """
    content = read_file(path)
    refuse_separators(path, content, columns)
    try:
        with warnings.catch_warnings():
            # Rows longer than the header would lose a column, or by default shift all of them.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(content),
                index_col=False,
                # Texts of pandas' own type would be converted to and fro by most of what follows.
                dtype=object,
                keep_default_na=False,
                encoding="utf-8-sig",
                skipinitialspace=True,
            )
        # pandas renames the second of two columns of one name.
        header = read_header(content)
    except pd.errors.EmptyDataError as error:
        raise errors.IsicError(f"{path} is empty, expected a table with a header and rows; export it again") from error
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError, csv.Error) as error:
        _refuse_long_rows(path, content)
        raise errors.IsicError(
            f"{path} is not a comma-separated UTF-8 table: {' '.join(str(error).split())}; export it as CSV in UTF-8"
        ) from error
    if len(header) == len(table.columns):
        table.columns = pd.Index(header, dtype=object)
    is_marked = b"'" in content
    is_odd = b'"' in content or _may_have_odd_cells(content)
    # As large as the table.
    del content
    table = check_table(path, table, columns, may_be_empty)
    if is_marked:
        table = table.apply(csv_output.unmark_column)
    if is_odd:
        _refuse_odd_cells(path, table, columns)
    return table


def _refuse_long_rows(path: str, content: bytes) -> None:
    """Refuses rows with more fields than the header, by the line of the first."""
    lines = csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline=""), skipinitialspace=True)
    with contextlib.suppress(csv.Error):
        header = next((names for names in lines if any(names)), [])
        if len(header) < 2:
            # The first line is no header, but a title, or of another separator.
            return
        start = lines.line_num + 1
        for fields in lines:
            if len(fields) > len(header):
                raise errors.IsicError(
                    f"{path} has {len(fields)} fields in line {start}, expected the {len(header)} of its header; "
                    f"correct line {start}: a text with a comma needs quotation marks"
                )
            start = lines.line_num + 1


def check_paths(*lists: str | None) -> None:
    """Checks that tables exist.

    Args:
        lists: Paths separated by commas; None for none.

    Raises:
        IsicError: See `check_path`.
    """
    for path in filesystem.split_list(",".join(filter(None, lists))):
        check_path(path)


def check_path(path: str) -> None:
    """Checks that a path is a file.

    Raises:
        IsicError: It does not exist, or is a directory or a device.
    """
    if not filesystem.exists(path):
        raise errors.IsicError(f"CSV file {path} not found; check the path")
    if filesystem.isdir(path) or not filesystem.is_regular(path):
        raise errors.IsicError(f"expected a CSV file, got {path}, which is a directory or a device; add a file name")


def read_file(path: str) -> bytes:
    """Reads a file that may be a CSV file; refuses other formats by their first bytes.

    Args:
        path: Path of the file.

    Returns:
        Bytes of the file.

    Raises:
        IsicError: The file does not exist, or is of another format.
    """
    check_path(path)
    content = filesystem.read(path)
    for start, kind in _OTHER_FORMATS.items():
        if content.startswith(start):
            raise errors.IsicError(f"{path} is {kind}, expected a CSV file; export it as CSV in UTF-8")
    place = content.find(b"\0")
    if place >= 0:
        raise errors.IsicError(
            f"{path} has a zero byte (the first at byte {place}), expected text in UTF-8; it is encoded in UTF-16, or "
            "damaged: export it as CSV in UTF-8"
        )
    return content


def read_header(content: bytes, separator: str = ",") -> list[str]:
    """Returns the names of the columns as they are in a file.

    Args:
        content: Bytes of a CSV file.
        separator: What stands between its columns.

    Returns:
        List of text; an empty list where the file has no text.
    """
    text = content[:_HEADER_BYTES].decode("utf-8-sig", "replace")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    return next((names for names in lines if any(names)), [])


def _may_have_odd_cells(content: bytes) -> bool:
    """Returns whether a file has a control character or a very long line."""
    if max(map(len, io.BytesIO(content)), default=0) > _MAX_CELL:
        return True
    return len(content.translate(None, _CONTROL_BYTES)) < len(content)


def _refuse_odd_cells(path: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuses line breaks, other control characters and pages of text in known columns."""
    for name in dict.fromkeys((*column_names.KNOWN, *columns)):
        if name not in table:
            continue
        is_odd = table[name].str.contains(r"[\x00-\x1f\x7f]") | (table[name].str.len() > _MAX_CELL)
        if is_odd.any():
            row = int(np.flatnonzero(is_odd)[0])
            raise errors.IsicError(
                f"{path}: {name} must be a line of at most {_MAX_CELL} characters without control characters, row "
                f"{row + 1} has {describe_first_cases([table[name].iloc[row]])}; look for a quotation mark without its "
                "partner"
            )


def check_table(path: str, table: pd.DataFrame, columns: Sequence[str], may_be_empty: bool = False) -> pd.DataFrame:
    """Checks and cleans a table of text; see `read_table`.

    Args:
        path: Name of the table in errors.
        table: DataFrame of text.
        columns: Names of the required columns.
        may_be_empty: Whether a table without rows is allowed.

    Returns:
        DataFrame of stripped strings, "" where blank or, except in `image_name`, a word like NA.

    Raises:
        IsicError: The table has no rows, lacks a column or an image name, or has two columns that contradict each
            other.
    """
    names = [str(name) for name in table.columns]
    table = pd.DataFrame({place: _clean(name, table.iloc[:, place]) for place, name in enumerate(names)})
    table = column_names.rename_columns(path, table.set_axis(names, axis=1), columns)
    if "patient_id" in columns:
        table = add_blank_patients(table)
    require_columns(path, table, columns)
    if "image_name" in table:
        table = _drop_blank_rows(path, table, "image_name" in columns)
    if table.empty and not may_be_empty:
        raise errors.IsicError(f"{path} has a header but no rows; add rows or use another file")
    return table


def require_columns(path: str, table: pd.DataFrame, columns: Sequence[str]) -> None:
    """Checks that a table has columns.

    Args:
        path: Name of the table in the error.
        table: DataFrame.
        columns: Names of the required columns.

    Raises:
        IsicError: A column is missing.
    """
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise errors.IsicError(
            f"{path} needs the columns {', '.join(columns)}; it has only {describe_columns(table)}; add or rename "
            f"{', '.join(missing)}"
        )


def add_blank_patients(table: pd.DataFrame) -> pd.DataFrame:
    """Adds a blank `patient_id` to a table that has a `lesion_id` in its place, as those of HAM10000 and ISIC 2019.

    Args:
        table: DataFrame of text.

    Returns:
        The table with `patient_id`, if it has `lesion_id`.

    Examples:
        >>> add_blank_patients(pd.DataFrame({"lesion_id": ["HAM_1"]})).to_dict("list")
        {'lesion_id': ['HAM_1'], 'patient_id': ['']}
    """
    if "patient_id" in table or "lesion_id" not in table:
        return table
    return table.assign(patient_id=pd.Series("", table.index, dtype=object))


def _clean(name: str, values: pd.Series) -> pd.Series:
    """Strips the texts of a column, and makes words for unknown values blanks."""
    known = column_names.find_known(name)
    blanks = frozenset() if known == "image_name" else _BLANKS
    texts = values.fillna("").to_numpy(object)
    codes = None
    # Texts that repeat are cleaned once each, and share their memory; those of people do in large tables.
    if known in _PEOPLE or len(set(texts[:_SAMPLE])) < len(texts[:_SAMPLE]) / 2:
        codes, texts = pd.factorize(texts)
    joined = "".join(texts)
    # Of printable ASCII only the blank can be stripped.
    may_strip = " " in joined or not (joined.isascii() and joined.isprintable())
    if may_strip or not blanks.isdisjoint(texts):
        stripped = [text.strip() for text in texts]
        texts = np.array(["" if text in blanks else text for text in stripped], object)
    return pd.Series(texts if codes is None else texts[codes], values.index, name=values.name, dtype=object)


def _drop_blank_rows(path: str, table: pd.DataFrame, needs_names: bool) -> pd.DataFrame:
    """Leaves out rows without any text, as spreadsheets append them; refuses other rows without a name."""
    unnamed = table["image_name"] == ""
    if not unnamed.any():
        return table
    is_blank = (table == "").all(axis=1)
    rows = np.flatnonzero(unnamed & ~is_blank)
    if needs_names and len(rows):
        raise errors.IsicError(
            f"{path} must name the image of every row, but the image_name of {len(rows)} is blank (first: row "
            f"{rows[0] + 1}); fill it in, or delete these rows"
        )
    return table[~is_blank].reset_index(drop=True)


def describe_columns(table: pd.DataFrame, most: int = 30) -> str:
    """Returns the names of the first columns of a table, separated by commas."""
    names = [_shorten(str(name)) for name in table.columns]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def refuse_repeats(path: str, table: pd.DataFrame, verb: str) -> None:
    """Checks that a table names every image once.

    Args:
        path: Name of the table in the error.
        table: DataFrame with `image_name`.
        verb: What the table does to an image in the error: "hold", "label", "list", "name".

    Raises:
        IsicError: An image name occurs more than once.
    """
    repeated = table.loc[table["image_name"].duplicated(), "image_name"]
    if len(repeated):
        raise errors.IsicError(
            f"{path} must {verb} every image once, but repeats {len(repeated)}, for example {repeated.iloc[0]}; "
            "remove the repeats"
        )


def factorize_nonblank(values: pd.Series) -> np.ndarray:
    """Numbers the distinct texts of a column in order of first appearance; blank means unknown.

    Args:
        values: Text `[n]`, "" where unknown.

    Returns:
        int64 `[n]`, codes from 0 without gaps, -1 where blank.

    Examples:
        >>> factorize_nonblank(pd.Series(["b", "", "a", "b"])).tolist()
        [0, -1, 1, 0]
    """
    codes, _ = pd.factorize(values.replace("", None))
    return codes.astype(np.int64)


def refuse_separators(path: str, content: bytes, columns: Sequence[str]) -> None:
    """Checks that a table is separated by commas, where another separator would give the required columns.

    Args:
        path: Name of the table in the error.
        content: Bytes of the file.
        columns: Names of the required columns.

    Raises:
        IsicError: The separator is not a comma.
    """
    first_line = content[:_HEADER_BYTES].decode("utf-8-sig", "replace").lstrip("\r\n").splitlines()[:1]
    header = "".join(first_line).replace('"', "")
    if "," in header:
        return
    for separator, name in _SEPARATORS.items():
        parts = header.split(separator)
        found = {column_names.find_known(part, columns) for part in parts} - {None}
        if len(parts) > 1 and (found >= set(columns) if columns else len(found) > 1):
            raise errors.IsicError(
                f"{path} is separated by {name}, expected commas: save it as a comma-separated table (CSV)"
            )


def describe_first_cases(rows: Sequence[object], most: int = 5) -> str:
    """Formats the first few of many values for an error message.

    Args:
        rows: The values.
        most: Number of values to quote.

    Returns:
        The values in quotes, separated by commas, with the number of the others.

    Examples:
        >>> describe_first_cases(["a", "b", "c"], most=2)
        "'a', 'b' and 1 more"
    """
    shown = ", ".join(_shorten(repr(value)) for value in rows[:most])
    if len(rows) <= most:
        return shown
    return f"{shown} and {len(rows) - most} more"


def _shorten(text: str) -> str:
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
