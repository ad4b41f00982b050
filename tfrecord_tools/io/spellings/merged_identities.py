"""Describes what the canonical forms of names and identifiers changed in a table, for logs."""

import logging

import numpy as np
import pandas as pd

from tfrecord_tools.io import identity

_LOG = logging.getLogger(__name__)

# A patient with more than this share of the images, and so many times the images of others, is rarely one person.
_LARGE_SHARE = 0.1
_LARGE_RATIO = 2
# Images from which on one of so few patients is large; no patient of the competition has more than 115.
_LARGE_OF_FEW = {1: 10, 2: 115}


def describe_merged(table: pd.DataFrame) -> list[str]:
    """Describes what the canonical form changed in a table, for a log.

    Args:
        table: See `components.group_images`.

    Returns:
        One line per fact: identifiers that stand for an unknown patient or lesion, spellings that were merged, a
        patient with more than a tenth of the images, and images of equal bytes; an empty list where there is nothing to
        say.
    """
    lines = []
    for column in ("patient_id", "lesion_id"):
        if column not in table:
            continue
        texts = table[column]
        keys = identity.patient_keys(table) if column == "patient_id" else identity.person_keys(texts)
        is_known = keys != ""
        unknown = texts[~is_known]
        unknown = unknown[unknown != ""]
        if len(unknown):
            words = ", ".join(repr(text) for text in sorted(unknown.unique())[:5])
            lines.append(f"{len(unknown)} values of {column} ({words}) stand for an unknown one and count as blank")
        lines += describe_spellings(column, texts[is_known], keys[is_known])
        if column == "patient_id":
            lines += _describe_large(texts, keys)
    if "patient_id" in table and "lesion_id" in table:
        lines += _describe_shared_lesions(table)
    names = table["image_name"]
    lines += describe_spellings("image_name", names, identity.photograph_codes(table))
    if "image_digest" in table:
        lines += _describe_copies(names, table["image_digest"])
    return lines


def _describe_large(patient_ids: pd.Series, keys: pd.Series) -> list[str]:
    """Describes the largest patient, where it has far more images than others."""
    known = keys != ""
    codes, _ = pd.factorize(keys[known])
    counts = np.bincount(codes)
    if not len(counts):
        return []
    # An image of an unknown patient counts as a patient.
    sizes = np.append(counts, np.ones((~known).sum()))
    relative = max(_LARGE_SHARE * len(keys), _LARGE_RATIO * np.median(sizes))
    largest = counts.argmax()
    if counts[largest] <= _LARGE_OF_FEW.get(len(sizes), relative):
        return []
    name = patient_ids[known].iloc[np.flatnonzero(codes == largest)[0]]
    remedy = "if this is not one person, leave patient_id blank there"
    return [f"patient {name!r} has {counts[largest]} of {len(keys)} images; {remedy}"]


def _describe_shared_lesions(table: pd.DataFrame) -> list[str]:
    """Describes lesions of several patients, and what they link."""
    lesions = identity.person_keys(table["lesion_id"])
    if not (lesions != "").any():
        return []
    patients = identity.patient_keys(table)
    shared, num_repeated = identity.find_shared_lesions(patients, lesions)
    if shared.empty:
        return []
    rows = table[(lesions == shared[0]) & (patients != "")]
    people = rows["patient_id"][~patients[rows.index].duplicated()]
    case = f"for example {rows['lesion_id'].iloc[0]!r} of {people.iloc[0]!r} and {people.iloc[1]!r}"
    fact = (
        f"{len(shared)} of {lesions[lesions != ''].nunique()} lesions, {num_repeated} of them with several images, are "
        f"of several patients ({case})"
    )
    if identity.are_numbered_within_patients(len(shared), num_repeated):
        return [
            f"lesion_id is no key by itself: {fact}; a lesion counts within its patient only. If they are the same "
            "lesions, correct patient_id"
        ]
    return [
        f"{fact}, which links all images of these patients; if lesions are numbered within each patient, write both in "
        f"lesion_id, such as {people.iloc[0] + '_' + rows['lesion_id'].iloc[0]!r}"
    ]


def _describe_copies(names: pd.Series, digests: pd.Series) -> list[str]:
    """Describes images of equal bytes."""
    copies = digests[(digests != "") & digests.duplicated(keep=False)]
    if copies.empty:
        return []
    example = names[digests == copies.iloc[0]]
    shown = " and ".join(repr(name) for name in example.iloc[:2])
    return [f"{len(copies)} images have equal bytes, of {copies.nunique()} photographs (for example {shown})"]


def describe_spellings(column: str, texts: pd.Series, keys: pd.Series) -> list[str]:
    """Describes keys that have several spellings.

    Args:
        column: Name of the column.
        texts: Text `[n]`, as given.
        keys: `[n]`, canonical forms, or numbers for them.

    Returns:
        A line with the counts and an example; an empty list where no key has several spellings.

    Examples:
        >>> describe_spellings("patient_id", pd.Series(["P1", "p1", "P2"]), pd.Series(["p1", "p1", "p2"]))
        ["2 spellings of patient_id are 1 (for example 'P1' and 'p1')"]
    """
    # A text has one key: with as many keys as texts, none has two spellings.
    num_keys = len(pd.unique(keys))
    if num_keys == len(keys) or num_keys == len(pd.unique(texts)):
        return []
    spellings = pd.DataFrame({"text": texts, "key": keys}).drop_duplicates()
    merged = spellings[spellings["key"].duplicated(keep=False)]
    if merged.empty:
        return []
    example = merged.loc[merged["key"] == merged["key"].iloc[0], "text"]
    shown = " and ".join(repr(text) for text in example.iloc[:2])
    return [f"{len(merged)} spellings of {column} are {merged['key'].nunique()} (for example {shown})"]


def log_merged(table: pd.DataFrame, source: str) -> None:
    """Logs `describe_merged`, each line with the name of the table.

    Args:
        table: See `components.group_images`.
        source: Path of the table.
    """
    for line in describe_merged(table):
        _LOG.warning(f"note: {source}: {line}")
