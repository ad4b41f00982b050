"""Patients and lesions as texts that can be compared between record sets, also where they are only numbers.

A name such as `IP_7279968` means one patient in all record sets. A number such as `7` means another patient in another
set, so it is kept with the identity of its set, as `SET#7`. SET is a digest of the set's image names and numbers, so
that a set is recognized wherever it lies; `isic2020` for the numbers of the SIIM-ISIC 2020 competition; and `A+B` for
two sets that number the same patients, as the user says (`--patients_are=same`).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import components, identity
from tfrecord_tools.io.spellings import merged_identities

COLUMNS = {"patient_key": "patient_id", "lesion_key": "lesion_id"}
CHOICES = ("same", "different")
_KEY = r"(?:(.*)#)?(\d+)"
_COMPETITION = "isic2020"
# The public record sets number the competition's patients in order of first appearance in its train.csv. Some images by
# the number in their name, and the numbers of their patients; so many of them prove that a set has these numbers.
_COMPETITION_PATIENTS = {
    84086: 25, 148677: 76, 163767: 127, 177190: 178, 195078: 229, 216296: 280, 236778: 331, 253871: 382, 277705: 433,
    295820: 484, 322967: 535, 355705: 586, 384664: 637, 418746: 688, 441845: 739, 481453: 790, 516982: 841, 553565: 892,
    613362: 943, 657596: 994, 696408: 1045, 758704: 1096, 818181: 1147, 880208: 1198, 940385: 1249, 1018265: 1300,
    1113265: 1351, 1210338: 1402, 1327515: 1453, 1450474: 1504, 1579463: 1555, 1732965: 1606, 1932729: 1657,
    2108457: 1708, 2345504: 1759, 2632683: 1810, 3087371: 1861, 3537768: 1912, 4254237: 1963, 5310630: 2014,
}  # fmt: skip
_PROOF = 3


def add_keys(table: pd.DataFrame) -> pd.DataFrame:
    """Adds the keys that say whether two images are of one patient or one lesion.

    Args:
        table: All images of a record set or of a table: DataFrame of text with `image_name` and any of `patient_id`
            and `lesion_id`.

    Returns:
        The table with `patient_key` and `lesion_key` (text, "" where unknown): the canonical form of a name, see
        `identity.person_keys`, or `SET#NUMBER`.

    Examples:
        >>> table = pd.DataFrame({"image_name": ["a", "b"], "patient_id": ["IP_7 ", "007"], "lesion_id": ["", "nan"]})
        >>> add_keys(table)[["patient_key", "lesion_key"]].to_numpy().tolist()
        [['ip_7', ''], ['0d180262affed17e#7', '']]
    """
    names = identity.image_keys(table["image_name"])
    found = {}
    for key, column in COLUMNS.items():
        if column not in table:
            found[key] = ""
            continue
        people = identity.person_keys(table[column]) if column == "patient_id" else identity.lesion_keys(table)
        is_number = people.str.fullmatch(r"\d+").astype(bool)
        scope = _find_scope(column, names[is_number], people[is_number])
        found[key] = people.where(~is_number, f"{scope}#" + people)
    return table.assign(**found)


def with_keys(table: pd.DataFrame) -> pd.DataFrame:
    """Returns a table with the columns of `add_keys`, which are added unless it has them."""
    return table if "patient_key" in table else add_keys(table)


def _find_scope(column: str, names: pd.Series, numbers: pd.Series) -> str:
    """Returns the identity of the set that gives numbers to images."""
    if column == "patient_id":
        expected = names.map({f"isic_{image}": str(number) for image, number in _COMPETITION_PATIENTS.items()})
        is_listed = expected.notna()
        if is_listed.sum() >= _PROOF and (expected == numbers)[is_listed].all():
            return _COMPETITION
    lines = sorted(names + "," + numbers)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def split_keys(keys: pd.Series) -> pd.DataFrame:
    """Splits keys that are numbers.

    Args:
        keys: Text `[n]`, see `add_keys`.

    Returns:
        DataFrame `[n]` of `scope` and `number` (text, missing where a key is a name or blank; a number that is not of
        a known set has the scope "").

    Examples:
        >>> split_keys(pd.Series(["isic2020#7", "ip_7"])).fillna("-").to_numpy().tolist()
        [['isic2020', '7'], ['-', '-']]
    """
    parts = keys.str.extract(f"^{_KEY}$").set_axis(["scope", "number"], axis=1)
    return parts.assign(scope=parts["scope"].where(parts["number"].isna(), parts["scope"].fillna("")))


def list_kinds(keys: pd.Series) -> set[str]:
    """Returns the kinds of known keys.

    Args:
        keys: Text `[n]`, see `add_keys`.

    Returns:
        Some of `names` and `numbers`. Patients of which one table has names and another numbers cannot be compared.

    Examples:
        >>> list_kinds(pd.Series(["isic2020#7", ""])), list_kinds(pd.Series(["ip_7"]))
        ({'numbers'}, {'names'})
    """
    is_number = split_keys(keys)["number"].notna()
    found = {"numbers": is_number, "names": ~is_number & (keys != "")}
    return {kind for kind, rows in found.items() if rows.any()}


def first_spellings(texts: pd.Series, keys: pd.Series) -> pd.Series:
    """Returns the first spelling of each patient or lesion.

    Args:
        texts: Text `[n]`, identifiers as given.
        keys: Text `[n]`, see `add_keys`.

    Returns:
        Text `[n]`, "" where the key is blank.

    Examples:
        >>> first_spellings(pd.Series(["P1", "p1 ", "nan"]), pd.Series(["p1", "p1", ""])).tolist()
        ['P1', 'P1', '']
    """
    codes, distinct = pd.factorize(keys)
    place = np.full(len(distinct), len(codes))
    np.minimum.at(place, codes, np.arange(len(codes)))
    first = np.where(distinct == "", "", texts.to_numpy(object)[place])
    return pd.Series(first[codes], texts.index, name=texts.name, dtype=object)


def describe_changes(column: str, texts: pd.Series, keys: pd.Series) -> list[str]:
    """Describes what the canonical form of a column changed, for a log.

    Args:
        column: Name of the column.
        texts: Text `[n]`, as given.
        keys: Text `[n]`, canonical forms.

    Returns:
        A line with the counts and an example for values that stand for an unknown one, and for several spellings.
    """
    is_known = keys != ""
    lines = merged_identities.describe_spellings(column, texts[is_known], keys[is_known])
    unknown = texts[~is_known]
    unknown = unknown[unknown != ""]
    if len(unknown):
        then = "; each of these images, or its lesion, counts as a patient" if column == "patient_id" else ""
        lines.append(f"{len(unknown)} values of {column} (such as {unknown.iloc[0]!r}) stand for an unknown one{then}")
    return lines


def find_open_numbers(first: pd.DataFrame, second: pd.DataFrame) -> list[str]:
    """Finds numbers that two tables give to images, of which it is not known whether they mean the same people.

    That is known where the numbers are of one set, and where a photograph has the same number in both. Numbers of
    lesions matter only where the patient is unknown.

    Args:
        first: DataFrame with `image_name` and the columns of `add_keys`.
        second: The same.

    Returns:
        Numbers as text, sorted by their size.
    """
    found: set[str] = set()
    for column in COLUMNS:
        one, other = (_list_numbers(table, column) for table in (first, second))
        numbers = set(one["number"]) & set(other["number"])
        if not numbers:
            continue
        pairs = (
            one[["scope", "number"]]
            .drop_duplicates()
            .merge(other[["scope", "number"]].drop_duplicates(), on="number", suffixes=("", "_other"))
        )
        related = [_is_related(*scopes) for scopes in zip(pairs["scope"], pairs["scope_other"], strict=True)]
        unrelated = set(pairs.loc[~np.array(related, bool), "number"])
        shown = one[["photograph", "number"]].merge(other[["photograph", "number"]])
        found |= unrelated - set(shown["number"])
    return sorted(found, key=lambda number: (len(number), number))


def _list_numbers(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Lists the rows whose key is a number: `scope`, `number` and `photograph`."""
    parts = split_keys(table[column])
    is_wanted = parts["number"].notna()
    if column == "lesion_key":
        is_wanted &= table["patient_key"] == ""
    return parts[is_wanted].assign(photograph=identity.image_keys(table.loc[is_wanted, "image_name"]))


def _is_related(scope: str, other: str) -> bool:
    """Returns whether two scopes have a set in common."""
    return bool(set(scope.split("+")) & set(other.split("+")) - {""})


def merge_numbers(tables: Sequence[pd.DataFrame], sources: Sequence[str]) -> list[pd.DataFrame]:
    """Gives equal numbers of several sets one key: they are the same people (`--patients_are=same`).

    Args:
        tables: DataFrames with `image_name` and the columns of `add_keys`.
        sources: What each set is called in errors.

    Returns:
        The tables with keys of one scope, the sets joined by `+`.

    Raises:
        ConfigError: A photograph has another number in another set, so that the numbers are not the same people.
    """
    merged = list(tables)
    for column in COLUMNS:
        parts = [split_keys(table[column]) for table in merged]
        _refuse_other_numbers(merged, parts, sources)
        scopes = {one for part in parts for scope in part["scope"].dropna().unique() for one in scope.split("+")}
        joint = "+".join(sorted(scopes - {""}))
        for place, (table, part) in enumerate(zip(merged, parts, strict=True)):
            keys = table[column].where(part["number"].isna(), f"{joint}#" + part["number"].fillna(""))
            merged[place] = table.assign(**{column: keys})
    return merged


def _refuse_other_numbers(
    tables: Sequence[pd.DataFrame], parts: Sequence[pd.DataFrame], sources: Sequence[str]
) -> None:
    numbered = []
    for table, part, source in zip(tables, parts, sources, strict=True):
        is_number = part["number"].notna()
        photographs = identity.image_keys(table.loc[is_number, "image_name"])
        numbered.append(pd.DataFrame({"number": part["number"][is_number], "photograph": photographs, "set": source}))
    rows = pd.concat(numbered, ignore_index=True).drop_duplicates(["photograph", "number"])
    repeated = rows[rows["photograph"].duplicated(keep=False)]
    if len(repeated):
        one, other = repeated[repeated["photograph"] == repeated["photograph"].iloc[0]].iloc[:2].to_dict("records")
        raise errors.ConfigError(
            f"expected one patient's number for each image with --patients_are=same, but {one['photograph']} has "
            f"{one['number']} in {one['set']} and {other['number']} in {other['set']}; use --patients_are=different"
        )


def align_keys(keys: pd.Series, others: pd.Series, same: bool) -> tuple[pd.Series, pd.Series]:
    """Gives numbers of sets that number the same people one scope, so that equal keys are equal people.

    Args:
        keys: Text `[n]`, see `add_keys`.
        others: Text `[m]`.
        same: Whether all sets number the same people; else those whose scopes have a set in common.

    Returns:
        Text `[n]` and text `[m]`.
    """
    parts = [split_keys(values) for values in (keys, others)]
    scopes = pd.concat(parts)["scope"].dropna().unique().tolist()
    codes, _ = pd.factorize(np.array([one for scope in scopes for one in scope.split("+")], object))
    owners = np.repeat(np.arange(len(scopes)), [len(scope.split("+")) for scope in scopes])
    links = np.stack([owners, codes + len(scopes)], axis=1)
    labels = components.label_components(links, len(scopes) + len(codes))[: len(scopes)]
    names = {scope: "" if same else str(label) for scope, label in zip(scopes, labels, strict=True)}
    one, other = (
        values.where(
            part["number"].isna(), part["scope"].map(names).astype(object).fillna("") + "#" + part["number"].fillna("")
        )
        for values, part in zip((keys, others), parts, strict=True)
    )
    return one, other


def refuse_open_numbers(numbers: Sequence[str], first: str, second: str) -> None:
    """Raises an error where numbers may be the same people.

    Args:
        numbers: See `find_open_numbers`.
        first: What the one table is called.
        second: What the other is called.

    Raises:
        ConfigError: There are such numbers.
    """
    if numbers:
        raise errors.ConfigError(
            f"{first} and {second} share {len(numbers)} numbers of patients or lesions (such as {numbers[0]}) that may "
            "be the same people: expected --patients_are=same or --patients_are=different, got neither; choose one, or "
            "index the sets again with --csv, a table that names the patients"
        )
