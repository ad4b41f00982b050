"""Finds what several training sets put in different folds, which leaks where a run trains on them together."""

from collections.abc import Mapping

import pandas as pd

from tfrecord_tools.io import identity
from tfrecord_tools.splits import leaks

_COLUMNS = ("image_name", "patient_id", "lesion_id", "image_digest")


def find_overlaps(indexes: Mapping[str, pd.DataFrame], pairs: pd.DataFrame | None) -> list[str]:
    """Finds patients, lesions, photographs and duplicates that are in one fold of a set and in another of another set.

    A patient or a lesion that is a plain number is another one in every set.

    Args:
        indexes: For each directory of a training set a DataFrame of text with `image_name`, `patient_id`, `fold` and
            optionally `lesion_id` and `image_digest`.
        pairs: DataFrame of text with `image_name_1` and `image_name_2`, the known duplicates; or None.

    Returns:
        One line with the counts and the remedy; an empty list if there are none.

    Examples:
        >>> one, other = (pd.DataFrame({"image_name": [name], "patient_id": ["P1"], "fold": ["0"]}) for name in "ab")
        >>> find_overlaps({"x": one, "y": other}, None)
        []
        >>> find_overlaps({"x": one, "y": other.assign(fold="1")}, None)[0].partition(";")[0]
        '1 patients in two folds of x and y (for example P1)'
    """
    if len(indexes) < 2:
        return []
    tables = []
    within: dict[str, set[str]] = {kind: set() for kind in leaks.SPLIT_KINDS}
    for directory, index in indexes.items():
        table = index.reindex(columns=[*_COLUMNS, "fold"], fill_value="").fillna("")
        for column in ("patient_id", "lesion_id"):
            keys = identity.person_keys(table[column])
            is_number = keys.str.fullmatch(r"\d+").astype(bool)
            table[column] = table[column].mask(is_number, f"{directory}: " + keys)
        tables.append(table)
        for kind, cases in leaks.find_split(table, _find_places(table), pairs).items():
            # Each set is checked by itself, too.
            within[kind] |= set(cases)
    joined = pd.concat(tables, ignore_index=True)
    found = leaks.find_split(joined, _find_places(joined), pairs)
    between = {kind: [case for case in cases if case not in within[kind]] for kind, cases in found.items()}
    text = leaks.describe_split(between, f"two folds of {' and '.join(indexes)}")
    if not text:
        return []
    return [
        f"{text}; to train on these sets together, make folds with tfrecord_tools.folds, all tables in --csv, and "
        "build or index them with these"
    ]


def _find_places(table: pd.DataFrame) -> pd.Series:
    return table["fold"].astype(object).replace("", None)
