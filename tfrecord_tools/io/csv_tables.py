"""Reads CSV tables as text, and checks them."""

import io
import warnings

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem

# What tables write for an unknown value, besides nothing.
_BLANKS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
# Columns that are known in any case of letters, as Image_Name.
_NAMES = {*schema.METADATA, *schema.INDEX_COLUMNS, *schema.PAIR_COLUMNS, "prediction", "source", "bytes"}


def read_table(path, columns, may_be_empty=False):
    """Reads a CSV file as text, so that no name or identifier is taken for a number.

    Args:
        path: CSV file with a header, UTF-8 with or without a byte order mark. The names of columns that the schema
            knows, or `columns`, may be in capitals.
        columns: Names that must be there.
        may_be_empty: Whether a header without rows will do.

    Returns:
        DataFrame of stripped strings, "" where blank or, but for `image_name`, a word like NA.

    Raises:
        IsicError: The file does not exist, is no CSV file (as one with semicolons), holds no rows, or lacks a column.
    """
    if not filesystem.exists(path):
        raise errors.IsicError(f"expected a CSV file at {path}, found none; check the path")
    try:
        content = filesystem.read(path)
        refuse_separators(path, content, columns)
        options = {"dtype": str, "keep_default_na": False, "encoding": "utf-8-sig", "skipinitialspace": True}
        with warnings.catch_warnings():
            # Rows longer than the header would lose a column, or by default shift all of them.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(io.BytesIO(content), index_col=False, **options)
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise errors.IsicError(f"{path} is no comma-separated UTF-8 table: {str(error).strip()}") from error
    table.columns = normalize_column_names(table.columns.str.strip(), {*columns, *_NAMES})
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise errors.IsicError(f"{path} needs the columns {', '.join(columns)}; it has only {found}")
    if table.empty and not may_be_empty:
        raise errors.IsicError(f"{path} holds a header and no rows")
    table = table.fillna("").apply(lambda column: column.str.strip())
    return table.apply(lambda column: column if column.name == "image_name" else column.mask(column.isin(_BLANKS), ""))


def refuse_repeats(path, table, verb):
    """Raises an IsicError where a table names an image twice: it must `verb` ("hold", "label") every image once."""
    twice = table.loc[table["image_name"].duplicated(), "image_name"]
    if len(twice):
        raise errors.IsicError(f"{path} must {verb} every image once, {len(twice)} come again, {twice.iloc[0]} first")


def read_pairs(path):
    """Reads a list of duplicates, such as ISIC's own or that of `tfrecord_tools.duplicates`.

    Args:
        path: CSV file with `image_name_1` and `image_name_2`; other columns are left out.

    Returns:
        DataFrame of text, `image_name_1` and `image_name_2`.

    Raises:
        IsicError: The file is not there, is no CSV file, lacks a column, or leaves a name blank.
    """
    pairs = read_table(path, schema.PAIR_COLUMNS, may_be_empty=True)[list(schema.PAIR_COLUMNS)]
    blank = (pairs == "").any(axis=1)
    if blank.any():
        row = blank.idxmax() + 1
        raise errors.IsicError(f"{path} must name two images in every row, row {row} and perhaps others do not")
    return pairs


_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}


def refuse_separators(path, content, columns):
    """Refuses a table whose columns would be there if it were not for the separator.

    Args:
        path: The file, for the message.
        content: Its bytes.
        columns: Names that must be there.

    Raises:
        IsicError: The separator is no comma.
    """
    first = io.BytesIO(content).readline().decode("utf-8-sig", "replace").replace('"', "").casefold()
    for separator, name in _SEPARATORS.items():
        found = {part.strip() for part in first.split(separator)}
        if columns and "," not in first and len(found) > 1 and {column.casefold() for column in columns} <= found:
            raise errors.IsicError(
                f"{path} is separated by {name}, expected commas: save it as a comma-separated table (CSV)"
            )


def normalize_column_names(found, known):
    """Spells the columns of a table as they are known, whatever their capitals, unless two would get one name.

    Args:
        found: Names of a table's columns.
        known: Names as they are known.

    Returns:
        List of names, as many as `found`.
    """
    spelling = {name.casefold(): name for name in known}
    names = [spelling.get(name.casefold(), name) for name in found]
    return [name if names.count(name) == 1 else old for old, name in zip(found, names, strict=True)]


def describe_first_cases(rows, most=5):
    """Quotes the first few of many values for an error."""
    shown = ", ".join(repr(value) for value in rows[:most])
    return shown + (f" and {len(rows) - most} more" if len(rows) > most else "")
