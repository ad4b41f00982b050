"""Finds the format of a table by its columns."""

import dataclasses
import re
from collections.abc import Iterable, Sequence

from tfrecord_tools import errors
from tfrecord_tools.io import column_names, csv_tables
from tfrecord_tools.table_formats import raw_table, table_format
from tfrecord_tools.table_formats.table_format import TableFormat

# Longest text of a first row that is compared with the patterns of a format.
_MAX_CELL = 200
# Where a header below a legend is looked for, and the columns that tell it.
_MOST_LEGEND_LINES = 30
_FEWEST_COLUMNS = 3
_MAX_HEADER = 2**16

# Published tables that are none of images and diagnoses: their columns, and what they are and where they belong.
_OTHERS = (
    (("image_name_1", "image_name_2"), "is a list of pairs of duplicates; give it as --duplicates of folds or verify"),
    (("indexes",), "lists the rows of a part of Derm7pt; use its meta.csv"),
    (("pixel0000", "label"), "has the pixels of small images; use the set's table of diagnoses"),
)


def choose_formats(names: Sequence[str]) -> tuple[list[TableFormat], list[TableFormat]]:
    """Returns the formats that a user named, and those to recognize the other tables by.

    Args:
        names: `auto`, names of published formats, or paths of JSON and YAML files.

    Returns:
        The named formats, and the published ones.

    Raises:
        IsicError: A file does not exist or is no format.
    """
    published = table_format.list_published()
    named = [published.get(name) or table_format.read_format(name) for name in names if name != "auto"]
    return named, list(published.values())


def recognize(
    table: raw_table.RawTable, named: Sequence[TableFormat], published: Sequence[TableFormat]
) -> tuple[raw_table.RawTable, TableFormat]:
    """Finds the format of a table.

    Args:
        table: The table.
        named: Formats that come before the others.
        published: The others.

    Returns:
        The table, with the names of its columns where it has no header, and its format.

    Raises:
        IsicError: No format, or more than one, fits.
    """
    table = skip_legend(table, [*named, *published])
    for formats in (named, published):
        found = find_formats(table, formats)
        if len(found) > 1:
            names = ", ".join(sorted(each.name for each in found))
            raise errors.IsicError(
                f"{table.path} may be a table of several formats: {names}; name one of them with --format"
            )
        if found:
            return _add_header(table, found[0]), found[0]
    if len(named) == 1:
        raise errors.IsicError(f"{table.path} {_describe_difference(table, named[0])}")
    for columns, description in _OTHERS:
        if all(table.has(name) for name in columns):
            raise errors.IsicError(f"expected a table of images and their diagnoses; {table.path} {description}")
    raise errors.IsicError(f"{table.path} {_describe_nearest(table, [*named, *published])}")


def find_formats(table: raw_table.RawTable, formats: Iterable[TableFormat]) -> list[TableFormat]:
    """Returns the formats that fit a table, without those that are told by fewer of its columns than another.

    Args:
        table: The table.
        formats: Formats to choose from.

    Returns:
        List of formats; one if the table is recognized.
    """
    fitting = [each for each in formats if _fits(table, each)]
    keys = [_fold_all(each.recognized_by) for each in fitting]
    return [each for each, key in zip(fitting, keys, strict=True) if not any(key < other for other in keys)]


def _fits(table: raw_table.RawTable, each: TableFormat) -> bool:
    if each.header:
        cells = table.header
        return len(cells) == len(each.header) and all(
            re.fullmatch(pattern, cell.strip()[:_MAX_CELL], re.IGNORECASE)
            for pattern, cell in zip(each.header_matches, cells, strict=True)
        )
    columns = set(table.places)
    return _fold_all(each.recognized_by) <= columns and not _fold_all(each.not_with) & columns


def skip_legend(table: raw_table.RawTable, formats: Sequence[TableFormat]) -> raw_table.RawTable:
    """Finds the header below lines of other text, as spreadsheets have them.

    Args:
        table: The table.
        formats: Formats that it may have.

    Returns:
        The table from its header on; the table itself if its first line fits a format, or none of the next 30 does.
    """
    if find_formats(table, formats):
        return table
    # Fewer columns could stand in a legend too.
    candidates = [each for each in formats if len(each.recognized_by) >= _FEWEST_COLUMNS and not each.header]
    start = 0
    for _ in range(_MOST_LEGEND_LINES):
        start = table.content.find(b"\n", start) + 1
        if not start:
            break
        try:
            below = raw_table.make_raw(table.path, table.content[start : start + _MAX_HEADER])
        except errors.IsicError:
            continue
        if find_formats(below, candidates):
            whole = raw_table.make_raw(table.path, table.content[start:])
            above = table.content[: len(table.content) - len(whole.content)]
            return dataclasses.replace(whole, num_skipped=above.count(b"\n"))
    return table


def _add_header(table: raw_table.RawTable, each: TableFormat) -> raw_table.RawTable:
    if not each.header:
        return table
    return dataclasses.replace(table, header=each.header, has_header=False)


def _fold_all(names: Iterable[str]) -> set[str]:
    return {column_names.fold(name) for name in names}


def _describe_nearest(table: raw_table.RawTable, formats: Sequence[TableFormat]) -> str:
    """Describes the format with the largest share of columns in common."""
    columns = set(table.places)

    def rate(each: TableFormat) -> tuple[float, int, str]:
        key = _fold_all(each.recognized_by)
        excess = len(_fold_all(each.not_with) & columns)
        return (len(key & columns) - excess) / max(len(key), 1), len(key), each.name

    candidates = [each for each in formats if not each.header]
    shared = [each for each in candidates if _fold_all(each.recognized_by) & columns]
    if not shared:
        return (
            f"has no column of a known format, it has {describe_header(table)}; describe it in a file and give that as "
            "--format=FILE"
        )
    return _describe_difference(table, max(shared, key=rate))


def _describe_difference(table: raw_table.RawTable, each: TableFormat) -> str:
    columns = set(table.places)
    missing = [name for name in each.recognized_by if column_names.fold(name) not in columns]
    excess = [name for name in each.not_with if column_names.fold(name) in columns]
    parts = [f"lacks {', '.join(missing)}"] if missing else []
    parts += [f"has {', '.join(excess)}, which that has not"] if excess else []
    parts = parts or ["has a header, which that has not"]
    title = each.name if each.title == each.name else f"{each.name} ({each.title})"
    return (
        f"is no table of a known format: the nearest is {title}, but it {' and '.join(parts)}; it has "
        f"{describe_header(table)}; rename its columns, or describe it in a file and give that as --format=FILE"
    )


def describe_header(table: raw_table.RawTable) -> str:
    """Returns the names of the first columns of a table."""
    names = [name.strip() or "(blank)" for name in table.header]
    return csv_tables.describe_first_cases(names, most=12)
