"""Finds patients, lesions, photographs and duplicate pairs whose images are in two places, such as two folds."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.io import components, identity

# What an error calls the kinds of `find_split`.
SPLIT_KINDS = {
    "patients": "patients",
    "lesions": "lesions",
    "photographs": "photographs under two names",
    "pairs": "listed duplicate pairs",
}


def find_split(
    table: pd.DataFrame, places: Sequence[object] | pd.Series | np.ndarray, pairs: pd.DataFrame | None = None
) -> dict[str, list[str]]:
    """Finds patients, lesions, photographs and duplicate pairs whose images are in two places, such as two folds.

    Args:
        table: DataFrame of text with `image_name` and any of `patient_id`, `lesion_id` and `image_digest`, "" where
            unknown.
        places: `[n]`, the fold or the split of each image; None for an image that is in none.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; or None.

    Returns:
        Dict of `patients`, `lesions`, `photographs` (with two names or more) and `pairs`, each the list of those in two
        places, in order of first appearance, as the table spells them.

    Examples:
        >>> table = pd.DataFrame({"image_name": ["ISIC_1", "b", "isic_1.jpg"], "patient_id": ["P1", "p1", ""]})
        >>> find_split(table, [0, 1, 1])
        {'patients': ['P1'], 'lesions': [], 'photographs': ['ISIC_1 and isic_1.jpg'], 'pairs': []}
        >>> find_split(table, [0, 0, None])["patients"]
        []
    """
    table = table.reset_index(drop=True)
    placed = pd.Series(list(places), dtype=object)
    found: dict[str, list[str]] = {"patients": [], "lesions": [], "photographs": [], "pairs": []}
    for kind, column in (("patients", "patient_id"), ("lesions", "lesion_id")):
        if column in table:
            keys = identity.patient_keys(table) if kind == "patients" else identity.lesion_keys(table)
            found[kind] = [rows[column].iloc[0] for rows in _list_split(table, keys, placed)]
    photographs = table[[column for column in ("image_name", "image_digest", *identity.CACHED) if column in table]]
    groups = pd.Series(components.group_images(photographs))
    for rows in _list_split(table, groups, placed):
        names = rows["image_name"].drop_duplicates()
        if len(names) > 1:
            found["photographs"].append(" and ".join(names.iloc[:2]))
    if pairs is not None:
        found["pairs"] = _list_split_pairs(table, placed, pairs)
    return found


def describe_split(found: dict[str, list[str]], places: str) -> str:
    """Describes what `find_split` found.

    Args:
        found: See `find_split`.
        places: What the places are, such as `two folds`.

    Returns:
        Text such as `1 patients and 2 lesions in two folds (for example P1)`; "" if nothing was found.

    Examples:
        >>> describe_split({"patients": ["P1"], "lesions": ["L1", "L2"], "pairs": []}, "two folds")
        '1 patients and 2 lesions in two folds (for example P1)'
    """
    counts = [f"{len(cases)} {SPLIT_KINDS[kind]}" for kind, cases in found.items() if cases]
    if not counts:
        return ""
    first = next(cases[0] for cases in found.values() if cases)
    return f"{' and '.join(counts)} in {places} (for example {first})"


def _list_split(table: pd.DataFrame, keys: pd.Series, places: pd.Series) -> list[pd.DataFrame]:
    """Returns the rows of each key that is in two places, those that are in a place."""
    is_used = places.notna() & (keys != "")
    spread = places[is_used].groupby(keys[is_used], sort=False).nunique()
    split = spread.index[spread > 1]
    if split.empty:
        return []
    is_split = is_used & keys.isin(split)
    return [rows for _, rows in table[is_split].groupby(keys[is_split], sort=False)]


def _list_split_pairs(table: pd.DataFrame, places: pd.Series, pairs: pd.DataFrame) -> list[str]:
    """Returns the pairs whose two images are in different places, each as two names."""
    keys = identity.image_keys(table["image_name"])
    used = places.notna()
    codes = pd.Series(pd.factorize(places[used])[0], keys[used])
    lowest, highest = codes.groupby(level=0).min(), codes.groupby(level=0).max()
    names = [identity.image_keys(pairs[column]) for column in schema.PAIR_COLUMNS]
    low = np.stack([name.map(lowest) for name in names])
    high = np.stack([name.map(highest) for name in names])
    # A missing image has no code, and nothing is above or below it.
    is_apart = (low.min(axis=0) < high.max(axis=0)) & ~np.isnan(low).any(axis=0)
    apart = pairs.loc[is_apart, list(schema.PAIR_COLUMNS)].to_numpy()
    return [f"{first} and {second}" for first, second in apart]
