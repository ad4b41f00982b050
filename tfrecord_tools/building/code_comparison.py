"""Compares the integers of records with a table: other people's records may number categories in another way."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.building import code_meanings, table_validation
from tfrecord_tools.io import column_names, csv_tables, identity, tf_example, tfrecord

_LOG = logging.getLogger(__name__)

# More contradictions than these are no single mistakes.
_MOST_SINGLE = 2
_MOST_SHARE = 0.1
# A code that stands for another category in so many records, and in so large a share of them, is of another code book.
_MIN_RECORDS = 5
_MIN_SHARE = 0.9
_REMEDY = "`tfrecord_tools.build --records --csv` writes a set with the values of the table"


def compare_codes(name: str, records: pd.DataFrame, listed: pd.DataFrame, split: str) -> None:
    """Compares sex, site, diagnosis and age of records with a table; logs single contradictions and what records lack.

    Args:
        name: What the records are called in the log and in errors.
        records: DataFrame with `image_name` and `integers`, see `record_scan.scan_records`.
        listed: DataFrame of text, the row of the table of each record, "" where there is none.
        split: `train` or `test`.

    Raises:
        IsicError: The records contradict the table in more than single cases. Where they use other codes throughout,
            the message says which code means what.
    """
    refused = []
    for column in table_validation.CODED[split]:
        if column not in listed or column == "target":
            continue
        _log_unknown_values(name, column, listed[column])
        compared = code_meanings.read_codes(column, records, listed)
        own, codes = compared["own"], compared["table"]
        is_compared = (own != schema.UNKNOWN) & (codes != schema.UNKNOWN)
        differing = np.flatnonzero(is_compared & (own != codes))
        if len(differing):
            first = differing[0]
            found = (
                f"{column} of {len(differing)} of {is_compared.sum()} records is not the table's (first: "
                f"{records['image_name'].iloc[first]} has {code_meanings.describe_code(column, own.iloc[first])}, in "
                f"the table {listed[column].iloc[first]})"
            )
            meanings = code_meanings.find_meanings(compared)
            # An age is no category.
            meanings = meanings if column in schema.CATEGORIES else meanings[:0]
            if _is_refused(len(differing), int(is_compared.sum()), meanings):
                refused.append(found + _describe_meanings(column, meanings))
            else:
                names = records["image_name"].iloc[differing].tolist()
                _LOG.warning(
                    f"note: {name}: {found}: {csv_tables.describe_first_cases(names)}; the records stay as they are, "
                    f"{_REMEDY}"
                )
        num_lacking = ((own == schema.UNKNOWN) & (codes != schema.UNKNOWN)).sum()
        if num_lacking:
            _LOG.warning(f"note: {name}: {num_lacking} records lack {column}, which the table has; {_REMEDY}")
    if refused:
        raise errors.IsicError(f"{name}: {'; '.join(refused)}; {_REMEDY}, or correct the table")


def _log_unknown_values(name: str, column: str, texts: pd.Series) -> None:
    """Logs the values of a table that no code can be compared with."""
    counts = column_names.count_unknown_values(column, texts)
    if counts:
        _LOG.warning(
            f"note: {name}: {sum(counts.values())} values of {column} in the table are not in the schema, so they are "
            f"not compared with the records: {csv_tables.describe_first_cases(list(counts))}"
        )


def name_patients(name: str, records: pd.DataFrame, listed: pd.Series) -> pd.Series:
    """Names the patients of records: as the table does or, where it does not list an image, by their code's name.

    A table of some of the images would else leave a patient under a name and a number. Logs where the codes and the
    table contradict each other; then no code has a name.

    Args:
        name: What the records are called in the log.
        records: DataFrame `[n]` with `patient_id` (text) and `integers`, see `record_scan.scan_records`.
        listed: Text `[n]`, the patient in the table; missing where the table does not list the image.

    Returns:
        Text `[n]`, "" where unknown.
    """
    codes = pd.Series([integers.get("patient_id", schema.UNKNOWN) for integers in records["integers"]], records.index)
    found = listed.fillna(records["patient_id"])
    keys = identity.person_keys(listed.fillna(""))
    is_known = (codes >= 0) & (keys != "")
    pairs = pd.DataFrame({"code": codes, "key": keys, "text": found})[is_known].drop_duplicates(["code", "key"])
    for column in ("code", "key"):
        repeated = pairs[pairs[column].duplicated(keep=False)]
        if len(repeated):
            first = repeated[repeated[column] == repeated[column].iloc[0]].iloc[:2]
            texts = [f"number {row.code} is {row.text}" for row in first.itertuples()]
            _LOG.warning(
                f"note: {name}: the records number patients in another way than the table names them (for example "
                f"{' and '.join(texts)}); the table counts"
            )
            return found
    names = codes.map(pairs.set_index("code")["text"])
    is_code = listed.isna() & (records["patient_id"] == codes.astype(str))
    return found.where(~(is_code & names.notna()), names)


def _is_refused(num_differing: int, num_compared: int, meanings: pd.DataFrame) -> bool:
    is_moved = (meanings.index != meanings["meaning"]) & (meanings["matching"] >= _MIN_SHARE * meanings["records"])
    has_other_codes = bool((is_moved & (meanings["records"] >= _MIN_RECORDS)).any())
    most = max(_MOST_SINGLE, _MOST_SHARE * num_compared)
    return has_other_codes or num_differing == num_compared or num_differing > most


def _describe_meanings(column: str, meanings: pd.DataFrame) -> str:
    """Describes a code book, where there is one."""
    if meanings.empty or (meanings["matching"] < _MIN_SHARE * meanings["records"]).any():
        return ""
    own, schema_codes = meanings["meaning"], sorted(meanings["meaning"].unique())
    theirs = ", ".join(f"{code} is {code_meanings.describe_code(column, meaning)}" for code, meaning in own.items())
    ours = ", ".join(f"{code} is {code_meanings.describe_code(column, int(code))}" for code in schema_codes)
    return f", because the records have another code book: there {theirs}; in tfrecord_tools.schema {ours}"


def log_foreign_codes(name: str, records: pd.DataFrame) -> None:
    """Logs codes of records that the schema does not have, since such records have another code book.

    Args:
        name: What the records are called in the log.
        records: See `compare_codes`.
    """
    highest = {column: len(categories) - 1 for column, categories in schema.CATEGORIES.items()}
    for column, most in {**highest, "age_approx": schema.MAX_AGE}.items():
        own = pd.Series([integers.get(column, schema.UNKNOWN) for integers in records["integers"]])
        outside = own[(own < schema.UNKNOWN) | (own > most)]
        if len(outside):
            cases = csv_tables.describe_first_cases(outside.unique().tolist())
            _LOG.warning(
                f"note: {name}: {column} must be from {schema.UNKNOWN} to {most}, {len(outside)} records have other "
                f"numbers ({cases}), so they may have another code book than tfrecord_tools.schema; compare them with "
                f"a table: --csv; {_REMEDY}"
            )


def log_unused_features(name: str, records: pd.DataFrame) -> None:
    """Logs the features of records that are not in the schema, by the first record of each shard.

    Args:
        name: What the records are called in the log.
        records: DataFrame with the places of the records, see `record_scan.scan_records`.
    """
    known = {"image", "image_name", *tfrecord.INTEGERS}
    found: set[str] = set()
    for row in records.drop_duplicates("path").itertuples():
        data = tfrecord.read_at(row.path, row.offset, row.length)
        found |= set(tf_example.Example.FromString(data).features.feature) - known
    if found:
        _LOG.warning(f"note: {name}: features of the records that are not used: {', '.join(_explain(sorted(found)))}")


def _explain(features: Sequence[str]) -> list[str]:
    aliases = {alias: column for column, names in schema.COLUMN_ALIASES.items() for alias in names}
    return [
        f"{feature} (in the schema {aliases[feature.casefold()]}; {_REMEDY})"
        if feature.casefold() in aliases
        else feature
        for feature in features
    ]
