"""Describes what links the images of a group that must stay in one fold."""

import numpy as np
import pandas as pd

from tfrecord_tools import schema
from tfrecord_tools.io import identity


def describe_largest(table: pd.DataFrame, groups: np.ndarray, pairs: pd.DataFrame | None = None) -> str:
    """Describes the groups of images, how large the largest is, and what links its images.

    Args:
        table: DataFrame of text `[n]`, see `components.group_images`.
        groups: int `[n]`, the group of each image, from 0 without gaps.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; or None.

    Returns:
        One line.

    Examples:
        >>> table = pd.DataFrame({"image_name": ["a", "b", "c"], "patient_id": ["P1", "p1", ""]})
        >>> describe_largest(table, np.array([0, 0, 1]))
        "3 images in 2 groups of patients, lesions and duplicates; the largest has 2 images, linked by patient 'P1'"
    """
    largest = np.bincount(groups).argmax()
    is_member = groups == largest
    links = _list_links(table.reset_index(drop=True), is_member, pairs)
    linked = f", linked by {' and '.join(links)}" if links else ""
    return (
        f"{len(table)} images in {groups.max() + 1} groups of patients, lesions and duplicates; the largest has "
        f"{is_member.sum()} images{linked}"
    )


def _list_links(table: pd.DataFrame, is_member: np.ndarray, pairs: pd.DataFrame | None) -> list[str]:
    """Lists what two or more images of a group have in common, one text per kind."""
    rows = table[is_member]
    photographs = identity.image_keys(rows["image_name"])
    links = []
    for kind, column in (("patient", "patient_id"), ("lesion", "lesion_id")):
        if column in table:
            # Whether a lesion is a key follows from all images.
            keys = identity.patient_keys(table) if kind == "patient" else identity.lesion_keys(table)
            links += _describe_shared(kind, rows[column], keys[is_member])
    links += _describe_names("photograph", rows["image_name"], photographs)
    if "image_digest" in table:
        links += _describe_names("equal bytes of", rows["image_name"], rows["image_digest"])
    if pairs is not None:
        listed = [identity.image_keys(pairs[column]).isin(photographs) for column in schema.PAIR_COLUMNS]
        found = pairs[listed[0] | listed[1]]
        if len(found):
            first, second = found.iloc[0][list(schema.PAIR_COLUMNS)]
            links.append(f"{len(found)} listed pairs of duplicates (for example {first!r} and {second!r})")
    return links


def _describe_shared(kind: str, texts: pd.Series, keys: pd.Series) -> list[str]:
    """Describes the patients or lesions with several images."""
    sizes = keys[keys != ""].value_counts()
    sizes = sizes[sizes > 1]
    if sizes.empty:
        return []
    name = texts[keys == sizes.index[0]].iloc[0]
    if len(sizes) == 1:
        return [f"{kind} {name!r}" + ("" if sizes.iloc[0] == len(keys) else f" ({sizes.iloc[0]} images)")]
    return [f"{len(sizes)} {kind}s (the largest, {name!r}, has {sizes.iloc[0]} images)"]


def _describe_names(kind: str, names: pd.Series, keys: pd.Series) -> list[str]:
    """Describes photographs that several images show."""
    repeated = keys[(keys != "") & keys.duplicated(keep=False)]
    if repeated.empty:
        return []
    first, second = names[repeated.index[repeated == repeated.iloc[0]]].iloc[:2]
    count = repeated.nunique()
    what = f"{count} photographs under several names" if kind == "photograph" else f"{kind} {len(repeated)} images"
    return [f"{what} (for example {first!r} and {second!r})"]
