import numpy as np
import pytest

from tfrecord_tools.io import components


@pytest.mark.parametrize(
    ("links", "count", "expected"),
    [
        # 0-3 and 3-1 make one component; 2 and 4 are alone.
        ([(0, 3), (3, 1)], 5, [0, 0, 1, 0, 2]),
        # Direction and repetition change nothing.
        ([(1, 0), (0, 1), (1, 0)], 3, [0, 0, 1]),
        # Two separate pairs, given in reverse order.
        ([(2, 3), (0, 1)], 4, [0, 0, 1, 1]),
        # A link from an item to itself.
        ([(1, 1)], 2, [0, 1]),
        # A chain through all items.
        ([(0, 1), (1, 2), (2, 3)], 4, [0, 0, 0, 0]),
        ([], 3, [0, 1, 2]),
    ],
)
def test_label_components_numbers_components_by_first_appearance(links, count, expected):
    labels = components.label_components(np.array(links, np.int64).reshape(-1, 2), count)
    assert labels.tolist() == expected
