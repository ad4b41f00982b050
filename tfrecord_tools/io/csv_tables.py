"""Reads CSV tables as text, and checks them."""

import io
import warnings
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import filesystem

# Words for an unknown value, besides a blank.
_BLANKS = ("NA", "N/A", "NaN", "nan", "NULL", "null", "None")
# Columns that are recognized in any case of letters, for example Image_Name.
_NAMES = {
    *schema.METADATA,
    *schema.INDEX_COLUMNS,
    *schema.OPTIONAL_INDEX_COLUMNS,
    *schema.PAIR_COLUMNS,
    "prediction",
    "source",
    "bytes",
}
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars", " ": "spaces"}


def read_table(path: str, columns: Sequence[str], may_be_empty: bool = False) -> pd.DataFrame:
    r"""Reads a CSV file as text, so that no name or identifier is converted to a number.

    Args:
        path: CSV file with a header, UTF-8 with or without a byte order mark. Columns of the schema and `columns` are
            recognized in any case of letters.
        columns: Names of the required columns.
        may_be_empty: Whether a header without rows is allowed.

    Returns:
        DataFrame of stripped strings, "" where blank or, except in `image_name`, a word like NA.

    Raises:
        IsicError: The file does not exist, is not a CSV file (for example has semicolons), has no rows, or lacks a
            column.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("Image_Name,sex,note", "007,NA, 1e5", sep="\n", file=file, flush=True)
        ...     read_table(file.name, ["image_name"]).to_dict("list")
        {'image_name': ['007'], 'sex': [''], 'note': ['1e5']}
    """
    if not filesystem.exists(path):
        raise errors.IsicError(f"CSV file {path} not found; check the path")
    try:
        content = filesystem.read(path)
        refuse_separators(path, content, columns)
        with warnings.catch_warnings():
            # Rows longer than the header would lose a column, or by default shift all of them.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(
                io.BytesIO(content),
                index_col=False,
                dtype=str,
                keep_default_na=False,
                encoding="utf-8-sig",
                skipinitialspace=True,
            )
    except (pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise errors.IsicError(
            f"{path} is not a comma-separated UTF-8 table: {str(error).strip()}; export it as CSV in UTF-8"
        ) from error
    return check_table(path, table, columns, may_be_empty)


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
        IsicError: The table has no rows, or lacks a column.
    """
    table.columns = normalize_column_names(table.columns.str.strip(), {*columns, *_NAMES})
    missing = [column for column in columns if column not in table.columns]
    if missing:
        found = ", ".join(map(str, table.columns))
        raise errors.IsicError(
            f"{path} needs the columns {', '.join(columns)}; it has only {found}; add or rename {', '.join(missing)}"
        )
    if table.empty and not may_be_empty:
        raise errors.IsicError(f"{path} has a header but no rows; add rows or use another file")
    table = table.fillna("").apply(lambda column: column.str.strip())
    return table.apply(lambda column: column if column.name == "image_name" else column.mask(column.isin(_BLANKS), ""))


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


def refuse_separators(path: str, content: bytes, columns: Iterable[str]) -> None:
    """Checks that a table is separated by commas, where another separator would give the required columns.

    Args:
        path: Name of the table in the error.
        content: Bytes of the file.
        columns: Names of the required columns.

    Raises:
        IsicError: The separator is not a comma.
    """
    header = io.BytesIO(content).readline().decode("utf-8-sig", "replace").replace('"', "").casefold()
    required = {column.casefold() for column in columns}
    if not required or "," in header:
        return
    for separator, name in _SEPARATORS.items():
        found = {part.strip() for part in header.split(separator)}
        if len(found) > 1 and required <= found:
            raise errors.IsicError(
                f"{path} is separated by {name}, expected commas: save it as a comma-separated table (CSV)"
            )


def normalize_column_names(found: Iterable[str], known: Iterable[str]) -> list[str]:
    """Returns the column names of a table in their known spelling, whatever their case of letters.

    Args:
        found: Names of the columns of a table.
        known: Known names.

    Returns:
        List of names, as many as `found`. A name stays as it is where two columns would get the same name.

    Examples:
        >>> normalize_column_names(["Image_Name", "Target", "TARGET"], ["image_name", "target"])
        ['image_name', 'Target', 'TARGET']
    """
    originals = list(found)
    spelling = {name.casefold(): name for name in known}
    names = [spelling.get(name.casefold(), name) for name in originals]
    return [name if names.count(name) == 1 else old for old, name in zip(originals, names, strict=True)]


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
    shown = ", ".join(repr(value) for value in rows[:most])
    if len(rows) <= most:
        return shown
    return f"{shown} and {len(rows) - most} more"
