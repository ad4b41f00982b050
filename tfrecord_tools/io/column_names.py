"""Finds the columns of a table that the package knows, in any spelling and under the names of other data sets."""

import functools
import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import identity

_LOG = logging.getLogger(__name__)

# Columns that are recognized in any case of letters, for example Image_Name.
KNOWN = (
    "image_name",
    *schema.METADATA,
    *schema.INDEX_COLUMNS,
    *schema.OPTIONAL_INDEX_COLUMNS,
    *schema.PAIR_COLUMNS,
    "prediction",
    "source",
    "bytes",
)


def rename_columns(path: str, table: pd.DataFrame, required: Sequence[str] = ()) -> pd.DataFrame:
    """Gives the columns of a table the names that the package knows.

    A column has a known name in any case of letters, with blanks or hyphens in place of underscores, or one of
    `schema.COLUMN_ALIASES`, which is logged. A column with a known name comes before one with another name for it,
    unless it is blank.

    Args:
        path: Name of the table in errors.
        table: DataFrame of stripped text, "" where blank.
        required: Further known names; a column that has one of them is not renamed.

    Returns:
        The table with each known column once; the other columns keep their names.

    Raises:
        IsicError: Two columns for the same known name contradict each other.

    Examples:
        >>> table = pd.DataFrame({"Image Name": ["a"], "gender": ["male"], "note": ["x"]})
        >>> list(rename_columns("train.csv", table))
        ['image_name', 'sex', 'note']
    """
    names = [fold(name) for name in table.columns]
    own = {fold(name): name for name in (*KNOWN, *required)}
    result = [(str(name), table.iloc[:, place]) for place, name in enumerate(table.columns)]
    for known in own.values():
        places = [place for place, name in enumerate(names) if own.get(name) == known]
        if not places or all(_is_blank(table.iloc[:, place]) for place in places):
            aliases = [alias for alias in schema.COLUMN_ALIASES.get(known, ()) if alias not in own]
            others = [place for alias in aliases for place, name in enumerate(names) if name == alias]
            used = [place for place in others if (table.iloc[:, place] != "").any()]
            if used or not places:
                _log_aliases(path, known, [str(table.columns[place]) for place in others])
                places = others + places
        if places:
            merged = _merge(path, known, [table.iloc[:, place] for place in places])
            first, *repeated = places
            result[first] = (known, merged)
            for place in repeated:
                result[place] = ("", merged)
    kept = [(name, values) for name, values in result if name]
    columns = [values for _, values in kept]
    renamed = pd.concat(columns, axis=1) if columns else table
    renamed = renamed.set_axis([name for name, _ in kept], axis=1)
    # Of columns that are not used and share a name, one is enough to name them.
    return renamed.loc[:, ~renamed.columns.duplicated()]


def _is_blank(values: pd.Series) -> bool:
    return values.empty or (values.iloc[0] == "" and bool((values == "").all()))


def find_known(name: object, required: Sequence[str] = ()) -> str | None:
    """Finds the known name of a column.

    Args:
        name: Name of the column in a table.
        required: Further known names.

    Returns:
        The name that the package uses; None where it knows none.

    Examples:
        >>> find_known("Target"), find_known("ISIC_ID"), find_known("hospital")
        ('target', 'image_name', None)
    """
    folded = fold(name)
    own = {fold(known): known for known in (*KNOWN, *required)}
    aliases = {alias: known for known, aliases in schema.COLUMN_ALIASES.items() for alias in aliases}
    return own.get(folded) or aliases.get(folded)


@functools.lru_cache(maxsize=4096)
def fold(name: object) -> str:
    """Folds the case of letters and removes invisible characters; a blank or a hyphen becomes an underscore.

    Args:
        name: Name of a column.

    Returns:
        The form in which names of columns are compared.

    Examples:
        >>> fold(" Image Name"), fold("ISIC-ID")
        ('image_name', 'isic_id')
    """
    visible = "".join(letter for letter in str(name) if unicodedata.category(letter) != "Cf")
    return re.sub(r"[\s-]+", "_", visible.strip()).casefold()


def _log_aliases(path: str, known: str, aliases: Sequence[str]) -> None:
    for alias in aliases:
        _LOG.warning(f"note: {path}: the column {alias} is read as {known}")


def _merge(path: str, known: str, columns: Sequence[pd.Series]) -> pd.Series:
    """Returns the first of several columns, with its blanks filled in from the others, which must not contradict it."""
    merged = columns[0]
    for column in columns[1:]:
        differs = (merged != column) & (merged != "") & (column != "")
        for row in differs.index[differs]:
            if _canonical(known, merged[row]) != _canonical(known, column[row]):
                raise errors.IsicError(
                    f"{path} has two columns for {known}, {columns[0].name} and {column.name}, that contradict each "
                    f"other (first: {merged[row]!r} and {column[row]!r}); remove or rename one of them"
                )
        merged = merged.where(merged != "", column)
    return merged


def _canonical(known: str, value: str) -> object:
    """Returns what a value stands for: an image, a code or a number, or else the text itself."""
    if known == "image_name":
        return identity.image_key(value)
    if known in schema.CATEGORIES:
        code = schema.encode(known, value)
        return code if code >= 0 else value.casefold()
    try:
        return float(value)
    except ValueError:
        return value


def count_unknown_values(column: str, values: pd.Series) -> dict[str, int]:
    """Counts the texts of a column that are no category of the schema.

    Args:
        column: Name of the column.
        values: Text `[n]`, "" where blank.

    Returns:
        Dict from text to its number of rows, the most frequent first; empty if all are categories, blanks or words for
        an unknown value, or if the column has no categories.

    Examples:
        >>> count_unknown_values("sex", pd.Series(["male", "x", "", "y", "y", "unknown"]))
        {'y': 2, 'x': 1}
    """
    if column not in schema.CATEGORIES:
        return {}
    texts = [text for text in pd.unique(values) if text and text.casefold() not in schema.UNKNOWN_WORDS]
    unknown = [text for text in texts if schema.encode(column, text) < 0]
    return (
        {str(text): int(count) for text, count in values[values.isin(unknown)].value_counts().items()}
        if unknown
        else {}
    )


def list_unused(table: pd.DataFrame, used: Iterable[str]) -> list[str]:
    """Lists the columns of a table that are not used, each with what it may be meant to be.

    Args:
        table: DataFrame, see `rename_columns`.
        used: Names of the columns that are used.

    Returns:
        List of texts: the name of a column, and where it resembles a known name that the table lacks, that name too.

    Examples:
        >>> table = pd.DataFrame(columns=["image_name", "anatom_site_genral_challenge", "hospital"])
        >>> list_unused(table, ["image_name"])
        ['anatom_site_genral_challenge (rename it if it is anatom_site_general_challenge)', 'hospital']
    """
    import difflib

    lacking = {name: name for name in (*schema.METADATA, "target", "lesion_id") if name not in table}
    lacking |= {alias: name for name in lacking for alias in schema.COLUMN_ALIASES.get(name, ())}
    texts = []
    unused = set(map(str, table.columns)) - set(used)
    for name in table.columns:
        if str(name) in unused and str(name).strip() and not str(name).startswith("Unnamed: "):
            similar = difflib.get_close_matches(fold(name), lacking, 1, cutoff=0.75)
            texts.append(f"{name} (rename it if it is {lacking[similar[0]]})" if similar else str(name))
    return texts
