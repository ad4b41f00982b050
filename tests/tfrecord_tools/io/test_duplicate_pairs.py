import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import errors, schema
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


def test_pairs_of_several_lists_are_put_together_and_one_of_other_data_is_noted(tmp_path, capsys):
    (tmp_path / "one.csv").write_text("image_name_1,image_name_2\na,b\n")
    (tmp_path / "two.csv").write_text("image_name_1,image_name_2,distance\nx,y,0.1\nx,z,0.2\n")
    paths = f"{tmp_path}/one.csv, {tmp_path}/two.csv"
    pairs = duplicate_pairs.read_pairs(paths)
    assert pairs.to_numpy().tolist() == [["a", "b"], ["x", "y"], ["x", "z"]]
    assert pairs.index.tolist() == [0, 1, 2]
    duplicate_pairs.log_foreign_pairs(paths, pairs, pd.Series(["b"]))
    assert capsys.readouterr().out.startswith(f"note: {tmp_path}/two.csv names none of the 1 images ('b' is an image")
    with pytest.raises(errors.ConfigError, match="expected CSV files of pairs in --duplicates, got ','"):
        duplicate_pairs.read_pairs(",")


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


def test_linked_names_are_found_in_any_spelling_and_returned_as_the_pairs_spell_them():
    pairs = make_pairs(("ISIC_0000001_downsampled", "b"), ("B.jpg", "ISIC_0000003"), ("x", "y"))
    found = duplicate_pairs.find_linked_names({"isic_1"}, pairs)
    assert found == {"isic_1", "ISIC_0000001_downsampled", "b", "B.jpg", "ISIC_0000003"}


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


def test_a_list_of_other_images_is_pointed_out_with_a_name_of_each_side(capsys):
    pairs = pd.DataFrame({"image_name_1": ["x"], "image_name_2": ["ISIC_1.jpg"]})
    duplicate_pairs.log_foreign_pairs("p.csv", pairs, pd.Series(["a", "b"]))
    assert capsys.readouterr().out == (
        "note: p.csv names none of the 2 images ('a' is an image, the list begins with 'x'); check that both are of "
        "the same data\n"
    )
    duplicate_pairs.log_foreign_pairs("p.csv", pairs, pd.Series(["isic_0000001", "b"]))
    duplicate_pairs.log_foreign_pairs("p.csv", pairs[:0], pd.Series(["a"]))
    assert capsys.readouterr().out == ""
