"""Joins by name, with rows found by hand."""

import pytest

from tfrecord_tools import errors
from tfrecord_tools.io import name_join


@pytest.mark.parametrize(
    ("names", "listed", "rows"),
    [
        (["b", "a", "x"], ["a", "b"], [1, 0, -1]),
        ([], ["a"], []),
        (["a"], [], [-1]),
        (["ISIC_0000001", "ISIC_0000002_downsampled"], ["isic_2", "ISIC_1.jpg"], [1, 0]),
        # The name as it is comes first, and what it takes is not given twice.
        (["ISIC_1", "isic_0001"], ["isic_0001", "ISIC_1"], [1, 0]),
        (["ISIC_1", "ISIC_1_downsampled"], ["ISIC_1"], [0, -1]),
        (["ISIC_1"], ["ISIC_1", "ISIC_1_downsampled"], [0]),
    ],
)
def test_names_are_found_as_they_are_and_then_in_another_spelling(names, listed, rows):
    assert name_join.find_rows(names, listed, "table.csv").tolist() == rows


def test_what_was_found_in_another_spelling_is_counted(capsys):
    name_join.find_rows(["a", "B ", "C.png"], ["a", "b", "c"], "table.csv")
    assert capsys.readouterr().out == (
        "note: 2 images are spelled in another way in table.csv (for example 'B ', there 'b'); they are joined\n"
    )
    name_join.find_rows(["a", "b"], ["a", "b"], "table.csv")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("names", "listed", "pair"),
    [(["A", "x"], ["a.jpg", "a.png"], "'a.jpg' and 'a.png'"), (["A", "a.jpg"], ["a"], "'A' and 'a.jpg'")],
)
def test_two_spellings_of_one_photograph_are_not_told_apart_by_guessing(names, listed, pair):
    with pytest.raises(errors.IsicError, match=f"row of table.csv, but {pair} are spellings of one photograph"):
        name_join.find_rows(names, listed, "table.csv")


def test_a_join_that_finds_nothing_is_refused_with_a_name_of_each_side():
    rows = name_join.find_rows(["a", "b"], ["c.png"], "table.csv")
    message = r"expected A and B to have names in common, got none \('a' in one, 'c.png' in the other\); check"
    with pytest.raises(errors.IsicError, match=message):
        name_join.refuse_empty_join(rows, ["a", "b"], ["c.png"], "A and B")
    name_join.refuse_empty_join(name_join.find_rows(["a", "b"], ["b"], "t"), ["a", "b"], ["b"], "A and B")
    name_join.refuse_empty_join(name_join.find_rows([], ["b"], "t"), [], ["b"], "A and B")


def test_what_one_list_lacks_is_refused_or_said(capsys):
    name_join.settle_missing([], "images lack a file", "add it", allowed=False)
    with pytest.raises(
        errors.IsicError, match=r"^2 images lack a file \(first: b\); add it, or go on .* --allow_missing$"
    ):
        name_join.settle_missing(["b", "a"], "images lack a file", "add it", allowed=False)
    assert capsys.readouterr().out == ""
    name_join.settle_missing(["b", "a"], "images lack a file", "add it", allowed=True)
    assert capsys.readouterr().out == "note: 2 images lack a file (first: b)\n"
