"""Reads the indexes of the record sets of a run, and relates their patients and lesions."""

import itertools
import logging
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import person_numbers
from tfrecord_tools import schema
from tfrecord_tools.io import filesystem, identity, record_index

_LOG = logging.getLogger(__name__)


def read_rows(
    directories: Sequence[str], num_main: int, with_test_split: bool, patients_are: str | None = None
) -> pd.DataFrame:
    """Reads the indexes of record sets as one table, in which equal keys are equal patients and lesions.

    Logs how many spellings of names, patients and lesions are the same.

    Args:
        directories: Directories of record sets.
        num_main: The first of them have folds; the others are extra sets.
        with_test_split: Whether to read the test split of a directory too, where there is one.
        patients_are: Whether equal numbers of patients in several sets are the `same` people or `different` ones; None
            where it is not known.

    Returns:
        DataFrame of all records, with the columns of `record_index.read_index` and of `person_numbers.add_keys`, and
        `source` (the directory, as given) and `extra` (bool). Each patient and each lesion has one spelling.

    Raises:
        ConfigError: Two sets number their patients, and it is not known whether these are the same people.
        IsicError: An index cannot be read.
    """
    tables = [_read_set(directory, place >= num_main, with_test_split) for place, directory in enumerate(directories)]
    if patients_are == "same":
        tables = person_numbers.merge_numbers(tables, directories)
    elif patients_are is None:
        for one, other in itertools.combinations(range(len(tables)), 2):
            numbers = person_numbers.find_open_numbers(tables[one], tables[other])
            person_numbers.refuse_open_numbers(numbers, directories[one], directories[other])
    places = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
    rows = pd.concat(tables, ignore_index=True)
    _log_spellings(rows, ", ".join(directories))
    _log_names_beside_numbers(tables, directories)
    named = {column: _name_people(rows, column, key, places) for key, column in person_numbers.COLUMNS.items()}
    return rows.assign(**named)


def _read_set(directory: str, extra: bool, with_test_split: bool) -> pd.DataFrame:
    index = record_index.read_index(directory, "train").assign(source=directory, extra=extra)
    table = person_numbers.add_keys(index)
    if not with_test_split or not filesystem.exists(os.path.join(directory, "test.index.csv")):
        return table
    index = record_index.read_index(directory, "test").assign(source=os.path.join(directory, "test"), extra=True)
    # A label in the index of a test split is never used for training.
    test = person_numbers.add_keys(index.assign(target=schema.UNKNOWN))
    # The two splits of a directory number the same patients, as far as is known.
    return pd.concat(person_numbers.merge_numbers([table, test], [directory, test["source"].iloc[0]]))


def _log_spellings(rows: pd.DataFrame, source: str) -> None:
    """Logs what the canonical form of names, patients and lesions changed."""
    keys = {column: rows[key] for key, column in person_numbers.COLUMNS.items()}
    for column, values in {**keys, "image_name": identity.image_keys(rows["image_name"])}.items():
        for line in person_numbers.describe_changes(column, rows[column], values):
            _LOG.warning(f"note: {source}: {line}")


def _log_names_beside_numbers(tables: Sequence[pd.DataFrame], directories: Sequence[str]) -> None:
    """Logs that patients with names in one set and with numbers in another cannot be compared."""
    kinds = [person_numbers.list_kinds(table["patient_key"]) for table in tables]
    named = [place for place, found in enumerate(kinds) if found == {"names"}]
    numbered = [place for place, found in enumerate(kinds) if "numbers" in found]
    if named and numbered:
        one, other = (", ".join(directories[place] for place in places) for places in (named, numbered))
        _LOG.warning(
            f"note: the patients of {one} have names and those of {other} numbers, so the same people are not "
            f"recognized; index {other} again with --csv, a table that names the patients, if they may be the same"
        )


def _name_people(rows: pd.DataFrame, column: str, key: str, places: np.ndarray) -> pd.Series:
    """Returns the first spelling of each patient or lesion; a number among several sets after the first of its set.

    Args:
        rows: DataFrame `[n]` with the columns of an index and those of `person_numbers.add_keys`.
        column: `patient_id` or `lesion_id`.
        key: The column of its keys.
        places: int `[n]`, the set of each row, from 0.

    Returns:
        Text `[n]`, "" where unknown.
    """
    names = person_numbers.first_spellings(rows[column], rows[key])
    if not places.any():
        return names
    parts = person_numbers.split_keys(rows[key])
    first_places = pd.Series(places, rows.index).groupby(parts["scope"]).transform("first")
    is_number = parts["number"].notna()
    prefixed = first_places[is_number].astype(int).astype(str) + ":" + parts["number"][is_number]
    return names.where(~is_number, prefixed)
