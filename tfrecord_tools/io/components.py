"""Connected components: which items or images belong together, directly or through others."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

# `scipy.sparse` is imported at its first use, which commands do without.
import scipy

from tfrecord_tools import schema
from tfrecord_tools.io import identity


def label_components(links: np.ndarray, count: int) -> np.ndarray:
    """Computes the connected components that links between numbered items form.

    Args:
        links: int `[p, 2]`, pairs of items from 0 to `count` - 1; p may be 0, pairs may repeat.
        count: Number of items.

    Returns:
        int32 `[count]`, each item's component, from 0 without gaps; an item without a link is a component of its own.

    Examples:
        >>> label_components(np.array([[0, 3], [3, 1]]), 5).tolist()
        [0, 0, 1, 0, 2]
    """
    graph = scipy.sparse.coo_array((np.ones(len(links)), tuple(links.T)), shape=(count, count))
    _, labels = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return labels


def link_rows(columns: Iterable[pd.Series], num_items: int) -> tuple[np.ndarray, int]:
    """Links the rows of a table that have a value in common; each distinct value is one more item, linked to its rows.

    Args:
        columns: Columns of text `[n]`, "" where unknown. The rows are the items from 0 to n - 1.
        num_items: Number of items so far, at least n.

    Returns:
        int64 `[p, 2]`, links for `label_components`; and the number of items, with those of the values.

    Examples:
        >>> links, num_items = link_rows([pd.Series(["p", "", "p"]), pd.Series(["", "a", ""])], 3)
        >>> links.tolist(), num_items
        ([[0, 3], [2, 3], [1, 4]], 5)
    """
    links = [np.empty((0, 2), np.int64)]
    for values in columns:
        codes, distinct = pd.factorize(values.replace("", None))
        known = np.flatnonzero(codes >= 0)
        links.append(np.stack([known, codes[known] + num_items], axis=1))
        num_items += len(distinct)
    return np.concatenate(links), num_items


def group_images(table: pd.DataFrame, pairs: pd.DataFrame | None = None) -> np.ndarray:
    """Groups the images that must be in one fold: of one patient, one lesion or one photograph, directly or in a chain.

    Where lesions are numbered within each patient, they link nothing, see `identity.lesion_keys`.

    Args:
        table: DataFrame of text with `image_name` and any of `patient_id`, `lesion_id` and `image_digest`, "" where
            unknown.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`. They may name other images, which link those
            of the table too.

    Returns:
        int64 `[n]`, groups in order of first appearance, from 0 without gaps. An image about which nothing is known is
        a group of its own.

    Examples:
        >>> table = pd.DataFrame({
        ...     "image_name": ["ISIC_1", "ISIC_2", "ISIC_3", "ISIC_4", "isic_1.jpg"],
        ...     "patient_id": ["IP_1", "", "ip_1", "", ""],
        ...     "lesion_id": ["", "IL_1", "IL_1", "", ""],
        ... })
        >>> group_images(table).tolist()
        [0, 0, 0, 1, 0]
    """
    count = len(table)
    if pairs is None:
        names = [identity.photograph_codes(table)]
    else:
        columns = [table["image_name"], *(pairs[column] for column in schema.PAIR_COLUMNS)]
        names = [identity.image_keys(column) for column in columns]
    photographs, distinct = pd.factorize(pd.concat(names))
    # The rows are the first items; each photograph, patient, lesion and digest is one more, linked to its rows.
    num_items = count
    links = []
    # Photographs under one name each link nothing.
    if len(distinct) < len(photographs):
        photographs = photographs + count
        links = [np.stack([np.arange(count), photographs[:count]], axis=1), photographs[count:].reshape(2, -1).T]
        num_items += len(distinct)
    values = [identity.patient_keys(table)] if "patient_id" in table else []
    if "lesion_id" in table:
        values.append(identity.lesion_keys(table))
    if "image_digest" in table:
        values.append(table["image_digest"])
    people, num_items = link_rows(values, num_items)
    if num_items == count:
        return np.arange(count)
    labels = label_components(np.concatenate([*links, people]), num_items)[:count]
    groups, _ = pd.factorize(labels)
    return groups.astype(np.int64)
