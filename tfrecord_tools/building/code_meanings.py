"""Finds out by a table what the codes of records mean: other people's records may number categories in another way.

Public merged sets number sex and site in the order of their own table. A code of a record is trusted only where a table
confirms it: `index` logs what each code means by the table, and the manifest lists the columns that none confirms.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.building import table_validation
from tfrecord_tools.io import manifest

_LOG = logging.getLogger(__name__)

_REMEDY = "index them again with --csv, a table that has these columns for images of every code"


def read_codes(column: str, records: pd.DataFrame, listed: pd.DataFrame | None) -> pd.DataFrame:
    """Puts the codes of a column in records beside those of a table.

    Args:
        column: A column of the schema.
        records: DataFrame `[n]` with `integers`, see `record_scan.scan_records`.
        listed: DataFrame `[n]` of text, the row of the table of each record, "" where there is none; None without a
            table.

    Returns:
        DataFrame `[n]` of `own` and `table` (int64, -1 where unknown), by the labels of the records.
    """
    own = pd.Series([integers.get(column, schema.UNKNOWN) for integers in records["integers"]], records.index)
    codes = pd.Series(schema.UNKNOWN, records.index)
    if listed is not None and column in listed:
        texts = listed[column].set_axis(records.index)
        codes = texts.map({text: _encode(column, text) for text in texts.unique()})
    return pd.DataFrame({"own": own.astype("int64"), "table": codes.astype("int64")})


def _encode(column: str, text: str) -> int:
    try:
        return schema.encode(column, text)
    except ValueError:
        return schema.UNKNOWN


def find_meanings(codes: pd.DataFrame) -> pd.DataFrame:
    """Finds what each code of the records means by the table.

    Args:
        codes: See `read_codes`.

    Returns:
        DataFrame by code of the records, in their order, of `meaning` (the most frequent code of the table), `records`
        (of this code, with a code of the table) and `matching` (those of them with this meaning).

    Examples:
        >>> find_meanings(pd.DataFrame({"own": [0, 0, 0, 1], "table": [1, 1, 0, -1]})).reset_index().to_numpy().tolist()
        [[0, 1, 3, 2]]
    """
    known = codes[(codes["own"] != schema.UNKNOWN) & (codes["table"] != schema.UNKNOWN)]
    rows = []
    for code, found in known["table"].groupby(known["own"]):
        counts = found.value_counts()
        rows.append((code, counts.index[0], len(found), counts.iloc[0]))
    return pd.DataFrame(rows, columns=["code", "meaning", "records", "matching"]).set_index("code")


def describe_code(column: str, code: int) -> str:
    """Returns the category of a code of the schema; the code where it has none."""
    categories = schema.CATEGORIES.get(column, ())
    return categories[code] if 0 <= code < len(categories) else str(code)


def log_meanings(name: str, records: pd.DataFrame, listed: pd.DataFrame | None, split: str) -> list[str]:
    """Logs what each code of the records means by the table, and which codes no table confirms.

    Args:
        name: What the records are called in the log.
        records: See `read_codes`.
        listed: See `read_codes`.
        split: `train` or `test`.

    Returns:
        The columns that have codes which the table does not confirm.
    """
    unconfirmed = []
    partly = []
    for column in schema.CATEGORIES:
        if column not in table_validation.CODED[split]:
            continue
        codes = read_codes(column, records, listed)
        meanings = find_meanings(codes)
        counts = codes.loc[codes["own"] != schema.UNKNOWN, "own"].value_counts().sort_index()
        if len(meanings):
            texts = [
                f"{code} = {describe_code(column, row.meaning)} in {row.matching} of {row.records} records"
                for code, row in zip(meanings.index, meanings.itertuples(), strict=True)
            ]
            _LOG.info(f"{name}: by the table, {column} {', '.join(texts)}")
            others = [f"{code} ({count} records)" for code, count in counts.items() if code not in meanings.index]
            if others:
                partly.append(column)
                _LOG.warning(
                    f"note: {name}: the table does not confirm all codes of {column}, so they are not used: "
                    f"{', '.join(others)}; {_REMEDY}"
                )
        elif len(counts):
            unconfirmed.append(column)
    log_unconfirmed(name, unconfirmed)
    return [column for column in schema.CATEGORIES if column in (*unconfirmed, *partly)]


def log_unconfirmed(name: str, columns: Sequence[str]) -> None:
    """Logs the columns whose codes no table confirms.

    Args:
        name: What the records are called in the log.
        columns: Names of the columns; nothing is logged where there are none.
    """
    if columns:
        _LOG.warning(
            f"note: {name}: no table confirms what the codes of {', '.join(columns)} mean, so they are not used: "
            f"records that others made may number them in another way; {_REMEDY}"
        )


def were_written_from_a_table(found: Mapping[str, Any] | None) -> bool:
    """Returns whether a build of this package wrote the codes of a record set, from a table or from image files.

    Args:
        found: The manifest of the set, see `manifest.read_manifest`; None if there is none.
    """
    source = (found or {}).get("source")
    return isinstance(source, dict) and ("csv" in source or source.get("files") != ["tfrec"])


def find_unconfirmed(directories: Iterable[str], split: str, records: pd.DataFrame) -> list[str]:
    """Finds the columns whose codes no table has confirmed, of records that are built again without a table.

    Args:
        directories: Directories of the records.
        split: `train` or `test`.
        records: See `read_codes`.

    Returns:
        Names of columns: those that the manifests list; all that have codes where there is no manifest.
    """
    found: set[str] = set()
    for directory in directories:
        facts = manifest.read_manifest(directory, split)
        found |= set(schema.CATEGORIES if facts is None else facts.get(manifest.UNCONFIRMED, ()))
    coded = [column for column in schema.CATEGORIES if column in table_validation.CODED[split]]
    return [column for column in coded if column in found and (read_codes(column, records, None)["own"] >= 0).any()]
