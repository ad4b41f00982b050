"""Pairs of duplicate images: reads them, and groups the images that they link."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables


def read_pairs(path: str) -> pd.DataFrame:
    r"""Reads a list of duplicate images, such as ISIC's own or the output of `tfrecord_tools.duplicates`.

    Args:
        path: CSV file with the columns `image_name_1` and `image_name_2`; other columns are ignored. It may have no
            rows.

    Returns:
        DataFrame of text with the columns `image_name_1` and `image_name_2`, one row per pair.

    Raises:
        IsicError: The file does not exist, is not a CSV file, lacks a column, or leaves a name blank.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image_name_1,image_name_2,distance", "a,b,0.1", sep="\n", file=file, flush=True)
        ...     read_pairs(file.name).to_dict("list")
        {'image_name_1': ['a'], 'image_name_2': ['b']}
    """
    table = csv_tables.read_table(path, schema.PAIR_COLUMNS, may_be_empty=True)
    pairs = table[list(schema.PAIR_COLUMNS)]
    blank = (pairs == "").any(axis=1)
    if blank.any():
        raise errors.IsicError(
            f"{path} must name two images in every row, but {blank.sum()} rows do not (first: row "
            f"{blank.idxmax() + 1}); fill in the missing names or delete these rows"
        )
    return pairs


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
    graph = sparse.coo_array((np.ones(len(links)), tuple(links.T)), shape=(count, count))
    _, labels = sparse.csgraph.connected_components(graph, directed=False)
    return labels


def find_linked_names(names: Iterable[str], pairs: pd.DataFrame | None) -> set[str]:
    """Returns names and all names that duplicate pairs link to them, directly or through other images.

    Args:
        names: Image names to start from; pairs need not mention them.
        pairs: See `read_pairs`; None for no pairs.

    Returns:
        Set of image names, a superset of `names`.

    Examples:
        >>> pairs = pd.DataFrame({"image_name_1": ["a", "c", "x"], "image_name_2": ["b", "b", "y"]})
        >>> sorted(find_linked_names({"a", "z"}, pairs))
        ['a', 'b', 'c', 'z']
    """
    given = set(names)
    if pairs is None or pairs.empty:
        return given
    flat = pairs[list(schema.PAIR_COLUMNS)].to_numpy(object).ravel()
    codes, listed = pd.factorize(flat)
    labels = label_components(codes.reshape(-1, 2), len(listed))
    reached = labels[pd.Index(listed).isin(given)]
    return given | set(listed[np.isin(labels, reached)])
