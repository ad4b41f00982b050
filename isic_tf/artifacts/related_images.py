"""Finds the images that show what other images show: the same photograph, lesion or patient."""

import numpy as np
import pandas as pd

from isic_tf.artifacts import person_numbers
from tfrecord_tools.io import components, duplicate_pairs, identity


def find_photographs(rows: pd.DataFrame, known: pd.DataFrame, pairs: pd.DataFrame | None = None) -> np.ndarray:
    """Finds images that are among others: by name in any spelling, by equal bytes, or as a listed duplicate.

    Args:
        rows: DataFrame `[n]` with `image_name` and perhaps `image_digest` ("" where unknown).
        known: DataFrame with the same columns.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; None for none.

    Returns:
        bool `[n]`.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["ISIC_1", "b", "c"], "image_digest": ["", "0f", ""]})
        >>> known = pd.DataFrame({"image_name": ["isic_0001.jpg", "x"], "image_digest": ["", "0f"]})
        >>> find_photographs(rows, known).tolist()
        [True, True, False]
    """
    has_bytes = find_equal_bytes(rows, known)
    names = {*known["image_name"], *rows.loc[has_bytes, "image_name"]}
    return has_bytes | identity.find_matches(rows["image_name"], duplicate_pairs.find_linked_names(names, pairs))


def find_equal_bytes(rows: pd.DataFrame, known: pd.DataFrame) -> np.ndarray:
    """Finds images whose bytes are those of another.

    Args:
        rows: DataFrame `[n]` with perhaps `image_digest` (text, "" where unknown).
        known: DataFrame with perhaps the same column.

    Returns:
        bool `[n]`.
    """
    if "image_digest" not in rows or "image_digest" not in known:
        return np.zeros(len(rows), bool)
    return rows["image_digest"].isin(set(known["image_digest"]) - {""}).to_numpy()


def find_people(rows: pd.DataFrame, known: pd.DataFrame, is_known: np.ndarray) -> np.ndarray:
    """Finds images of the patients and lesions of others, directly or in a chain of both.

    Args:
        rows: DataFrame `[n]` with the columns of `person_numbers.add_keys`.
        known: DataFrame with the same columns, in which equal keys are equal people.
        is_known: bool `[n]`, rows that show a photograph of `known`, whatever their keys.

    Returns:
        bool `[n]`, true for the rows of `is_known` too.

    Examples:
        >>> rows = pd.DataFrame({"patient_key": ["", "p", ""], "lesion_key": ["a", "a", ""]})
        >>> known = pd.DataFrame({"patient_key": ["p"], "lesion_key": [""]})
        >>> find_people(rows, known, np.array([False, False, False])).tolist()
        [True, True, False]
    """
    table = pd.concat([rows[list(person_numbers.COLUMNS)], known[list(person_numbers.COLUMNS)]], ignore_index=True)
    groups = label_people(table)
    reached = np.concatenate([groups[: len(rows)][is_known], groups[len(rows) :]])
    return np.isin(groups[: len(rows)], reached)


def label_people(table: pd.DataFrame) -> np.ndarray:
    """Groups images by patient and lesion, directly or in a chain of both.

    Args:
        table: DataFrame `[n]` with the columns of `person_numbers.add_keys`.

    Returns:
        int `[n]`, equal in a group; an image of an unknown patient and lesion is a group of its own.

    Examples:
        >>> label_people(pd.DataFrame({"patient_key": ["p", "p", "", ""], "lesion_key": ["", "a", "a", ""]})).tolist()
        [0, 0, 0, 1]
    """
    links, num_items = components.link_rows([table[column] for column in person_numbers.COLUMNS], len(table))
    return components.label_components(links, num_items)[: len(table)]
