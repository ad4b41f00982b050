"""What two training sets put in different folds, worked by hand."""

import pandas as pd
import pytest

from tfrecord_tools.verification import set_overlaps

COLUMNS = ["image_name", "patient_id", "lesion_id", "fold"]
ONE = [("ISIC_0000000", "P1", "L1", "0"), ("b", "7", "3", "1"), ("c", "P2", "", "")]


def find(rows, pairs=None, **others):
    listed = None if pairs is None else pd.DataFrame(pairs, columns=["image_name_1", "image_name_2"])
    sets = {"one": ONE, "other": rows, **others}
    return set_overlaps.find_overlaps(
        {name: pd.DataFrame(table, columns=COLUMNS) for name, table in sets.items()}, listed
    )


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (("x", "p1 ", "", "1"), "1 patients in two folds of one and other (for example P1)"),
        (("x", "", "l1", "1"), "1 lesions in two folds of one and other (for example L1)"),
        (
            ("ISIC_0000000_downsampled", "", "", "1"),
            "1 photographs under two names in two folds of one and other (for example ISIC_0000000 and "
            "ISIC_0000000_downsampled)",
        ),
        (
            ("pair.jpg", "", "", "1"),
            "1 listed duplicate pairs in two folds of one and other (for example ISIC_0 and pair)",
        ),
    ],
)
def test_what_is_in_two_folds_of_two_sets_is_found_with_the_remedy(row, expected):
    pairs = [("ISIC_0", "pair")]
    remedy = (
        "; to train on these sets together, make folds with tfrecord_tools.folds, all tables in --csv, and build or "
    )
    assert find([row], pairs) == [expected + remedy + "index them with these"]
    # The same fold, or none, is no leak.
    assert find([(*row[:3], "0")], pairs) == []
    assert find([(*row[:3], "")], pairs) == []


def test_plain_numbers_mean_other_people_in_every_set():
    assert find([("x", "007", "3", "0"), ("y", "8", "", "1")]) == []


def test_a_leak_within_one_set_is_not_told_again_and_one_set_has_none_between():
    assert find([("x", "P9", "", "0"), ("y", "P9", "", "1")]) == []
    assert set_overlaps.find_overlaps({"one": pd.DataFrame(ONE, columns=COLUMNS)}, None) == []


def test_a_copy_of_a_set_with_its_folds_is_no_leak():
    assert find(ONE) == []
