"""Connected components: which of many numbered items belong together, directly or through others."""

import numpy as np
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
