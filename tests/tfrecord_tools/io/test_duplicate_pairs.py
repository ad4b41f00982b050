import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import schema
from tfrecord_tools.io import duplicate_pairs


def make_pairs(*pairs):
    return pd.DataFrame(pairs, columns=list(schema.PAIR_COLUMNS), dtype=object)


def test_read_pairs_leaves_other_columns_out(tmp_path):
    (tmp_path / "pairs.csv").write_text("distance,image_name_1,image_name_2\n3,a,b\n")
    assert duplicate_pairs.read_pairs(str(tmp_path / "pairs.csv")).to_dict("list") == {
        "image_name_1": ["a"],
        "image_name_2": ["b"],
    }


def test_read_pairs_refuses_half_a_pair(tmp_path):
    (tmp_path / "pairs.csv").write_text("image_name_1,image_name_2\na,b\nc,\n,d\n")
    with pytest.raises(ValueError, match=r"must name two images in every row, but 2 rows do not \(first: row 2\)"):
        duplicate_pairs.read_pairs(str(tmp_path / "pairs.csv"))


def test_read_pairs_accepts_a_list_without_rows(tmp_path):
    (tmp_path / "pairs.csv").write_text("image_name_1,image_name_2\n")
    pairs = duplicate_pairs.read_pairs(str(tmp_path / "pairs.csv"))
    assert list(pairs) == ["image_name_1", "image_name_2"]
    assert pairs.empty


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
    labels = duplicate_pairs.label_components(np.array(links, np.int64).reshape(-1, 2), count)
    assert labels.tolist() == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        # b links a and c; d is reached through c. e-f is another component, and z is in no pair.
        ({"a"}, {"a", "b", "c", "d"}),
        ({"d"}, {"a", "b", "c", "d"}),
        ({"e"}, {"e", "f"}),
        ({"a", "f"}, {"a", "b", "c", "d", "e", "f"}),
        ({"z"}, {"z"}),
        (set(), set()),
    ],
)
def test_linked_names_are_found_directly_and_through_others(names, expected):
    pairs = make_pairs(("a", "b"), ("c", "b"), ("d", "c"), ("e", "f"))
    assert duplicate_pairs.find_linked_names(names, pairs) == expected


@pytest.mark.parametrize("pairs", [None, make_pairs()])
def test_without_pairs_the_names_are_linked_to_themselves_alone(pairs):
    assert duplicate_pairs.find_linked_names(pd.Series(["a", "b", "a"]), pairs) == {"a", "b"}


def test_linked_names_match_a_search_by_repeated_expansion():
    rng = np.random.default_rng(4)
    pairs = pd.DataFrame(rng.integers(0, 400, (150, 2)).astype(str), columns=list(schema.PAIR_COLUMNS))
    names = set(rng.integers(0, 400, 40).astype(str))
    expected = set(names)
    while True:
        touched = pairs[pairs.isin(expected).any(axis=1)].to_numpy().ravel()
        if expected.issuperset(touched):
            break
        expected |= set(touched)
    assert len(expected) > len(names)
    assert duplicate_pairs.find_linked_names(names, pairs) == expected
