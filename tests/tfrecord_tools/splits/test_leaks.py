"""Patients, lesions, photographs and pairs in two places, with cases worked by hand."""

import pandas as pd
import pytest

from tfrecord_tools.splits import leaks

COLUMNS = ["image_name", "patient_id", "lesion_id", "image_digest"]


def find(rows, places, pairs=None):
    table = pd.DataFrame(rows, columns=COLUMNS)
    if pairs is not None:
        pairs = pd.DataFrame(pairs, columns=["image_name_1", "image_name_2"])
    return {kind: cases for kind, cases in leaks.find_split(table, places, pairs).items() if cases}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", "P1", "", ""), ("b", "p1 ", "", "")], {"patients": ["P1"]}),
        ([("a", "", "L1", ""), ("b", "", "l1", "")], {"lesions": ["L1"]}),
        ([("a", "P1", "L1", ""), ("b", "P2", "L1", "")], {"lesions": ["L1"]}),
        ([("ISIC_0000001", "", "", ""), ("isic_1.jpg", "", "", "")], {"photographs": ["ISIC_0000001 and isic_1.jpg"]}),
        ([("a", "", "", "0f"), ("b", "", "", "0f")], {"photographs": ["a and b"]}),
        ([("a", "-1", "unknown", ""), ("b", "-1", "unknown", "")], {}),
        # One name in training and test is no photograph under two names.
        ([("a", "", "", "0f"), ("a", "", "", "0f")], {}),
    ],
)
def test_what_is_in_two_places_is_found_once_and_as_it_is_spelled(rows, expected):
    assert find(rows, [0, 1]) == expected
    assert find(rows, ["train", "test"]) == expected
    assert find(rows, [1, 1]) == {}
    assert find(rows, [1, None]) == {}


def test_pairs_are_found_in_any_spelling_where_both_images_are_in_a_place():
    rows = [(name, "", "", "") for name in ("ISIC_0000001", "b", "c", "d")]
    pairs = [("isic_1.jpg", "B"), ("isic_1", "c"), ("b", "d"), ("b", "gone"), ("b", "c")]
    assert find(rows, [0, 1, 0, None], pairs) == {"pairs": ["isic_1.jpg and B", "b and c"]}
    assert find(rows, [0, 0, 0, 0], pairs) == {}


def test_tables_with_repeated_row_labels_and_few_columns_are_read():
    table = pd.DataFrame({"image_name": ["a", "b", "c"], "lesion_id": ["x", "y", "x"]}, index=[0, 1, 0])
    assert leaks.find_split(table, pd.Series([2, 2, 3], index=[0, 1, 0]))["lesions"] == ["x"]


def test_a_description_counts_each_kind_and_names_the_first():
    found = {"patients": [], "lesions": ["L1"], "photographs": ["a and b", "c and d"], "pairs": []}
    expected = "1 lesions and 2 photographs under two names in two folds (for example L1)"
    assert leaks.describe_split(found, "two folds") == expected
    assert leaks.describe_split({"patients": []}, "two folds") == ""


def test_lesions_that_are_numbered_within_each_patient_are_not_split_by_two_patients():
    rows = [(f"i{lesion}{patient}", patient, str(lesion)) for lesion in range(1, 6) for patient in ("P1", "P2")]
    table = pd.DataFrame(rows, columns=["image_name", "patient_id", "lesion_id"])
    assert leaks.find_split(table, [0, 1] * 5)["lesions"] == []
    # Four such lesions may be mistakes of patient_id, so that they are leaks.
    assert leaks.find_split(table[:8], [0, 1] * 4)["lesions"] == ["1", "2", "3", "4"]
