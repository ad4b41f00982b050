"""Connected components: which of many numbered items belong together, directly or through others."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import sparse


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
