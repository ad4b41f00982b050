"""Keys of patients who are only numbers, with values worked by hand."""

import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import person_numbers
from tfrecord_tools import errors


def table(*rows):
    """A table of (image_name, patient_key, lesion_key)."""
    return pd.DataFrame(rows, columns=["image_name", "patient_key", "lesion_key"])


def test_a_number_has_the_identity_of_its_set_and_a_name_has_none():
    given = pd.DataFrame(
        {
            "image_name": ["b", "a", "c", "d"],
            "patient_id": ["7.0", "007", "IP_1", "-1"],
            "lesion_id": ["", "L", "3", ""],
        }
    )
    found = person_numbers.add_keys(given)
    # The first digits of SHA-256 of "a,7\nb,7" and of "c,3".
    assert found["patient_key"].tolist() == ["58d5f4f8d6378f41#7", "58d5f4f8d6378f41#7", "ip_1", ""]
    assert found["lesion_key"].tolist() == ["", "l", "329f295666dfd538#3", ""]
    # The same set in another order, place and spelling is recognized; another image is another set.
    assert set(person_numbers.add_keys(given[::-1].replace("b", "B.jpg"))["patient_key"]) == set(found["patient_key"])
    assert not set(person_numbers.add_keys(given.replace("b", "x"))["patient_key"][:2]) & set(found["patient_key"])
    assert person_numbers.add_keys(given[["image_name"]])["patient_key"].tolist() == [""] * 4


@pytest.mark.parametrize(
    ("changes", "is_proved"), [({}, True), ({2: "77"}, False), ({0: "", 1: "", 2: ""}, False), ({3: "1"}, True)]
)
def test_three_published_numbers_and_no_other_prove_the_competitions_own(changes, is_proved):
    given = pd.DataFrame(
        {
            "image_name": ["ISIC_0084086", "isic_163767", "ISIC_0148677.jpg", "ISIC_0000001", "ISIC_0177190"],
            "patient_id": ["25", "127", "76", "0", "178"],
        }
    )
    for row, number in changes.items():
        given.loc[row, "patient_id"] = number
    scope = person_numbers.split_keys(person_numbers.add_keys(given)["patient_key"])["scope"].dropna().unique()
    assert (scope.tolist() == ["isic2020"]) is is_proved


@pytest.mark.realdata
def test_any_half_of_the_real_records_proves_its_numbers(real_data):
    given = pd.read_csv(real_data / "isic2020" / "train_cdeotte.csv", dtype=str, keep_default_na=False)
    given = given[["image_name", "patient_code"]].rename(columns={"patient_code": "patient_id"})
    for seed in range(2):
        half = given.sample(frac=0.5, random_state=seed)
        assert person_numbers.add_keys(half)["patient_key"].str.startswith("isic2020#").all()
    # Numbered anew, as a table of these rows would be.
    half = half.assign(patient_id=pd.factorize(half["patient_id"])[0].astype(str))
    assert not person_numbers.add_keys(half)["patient_key"].str.startswith("isic2020#").any()


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([("a", "S#7", "")], [("b", "T#7", "")], ["7"]),
        ([("a", "S#7", "")], [("b", "S#7", "")], []),
        ([("a", "S+T#7", "")], [("b", "T+U#7", "")], []),
        ([("a", "S#7", "")], [("b", "T#8", "")], []),
        ([("a", "p", "")], [("b", "p", "")], []),
        # A photograph with the same number in both.
        ([("a", "S#7", ""), ("c", "S#7", "")], [("b", "T#7", ""), ("C.jpg", "T#7", "")], []),
        ([("a", "S#7", ""), ("c", "S#10", "")], [("b", "T#10", ""), ("a", "T#7", "")], ["10"]),
        # Lesions matter where the patient is unknown.
        ([("a", "", "S#3")], [("b", "", "T#3")], ["3"]),
        ([("a", "", "S#3")], [("b", "p", "T#3")], []),
    ],
)
def test_numbers_of_two_sets_are_open_unless_the_sets_tell(first, second, expected):
    assert person_numbers.find_open_numbers(table(*first), table(*second)) == expected
    assert person_numbers.find_open_numbers(table(*second), table(*first)) == expected


def test_open_numbers_are_refused_with_the_remedy():
    with pytest.raises(errors.ConfigError, match="A and B share 2 numbers .* .such as 7. .* --patients_are=different"):
        person_numbers.refuse_open_numbers(["7", "10"], "A", "B")
    person_numbers.refuse_open_numbers([], "A", "B")


def test_merged_numbers_have_one_scope():
    sets = [table(("a", "T#7", ""), ("b", "p", "")), table(("c", "S#7", "S#1"), ("a", "S#7", ""))]
    one, other = person_numbers.merge_numbers(sets, ["A", "B"])
    assert one["patient_key"].tolist() == ["S+T#7", "p"]
    assert other["patient_key"].tolist() == ["S+T#7", "S+T#7"]
    assert other["lesion_key"].tolist() == ["S#1", ""]


def test_numbers_that_a_photograph_contradicts_are_not_merged():
    sets = [table(("a", "S#7", "")), table(("A.jpg", "T#8", ""))]
    with pytest.raises(errors.ConfigError, match="--patients_are=same, but a has 7 in one and 8 in other; use"):
        person_numbers.merge_numbers(sets, ["one", "other"])


@pytest.mark.parametrize(("same", "expected"), [(False, [True, True, False, True]), (True, [True, True, True, True])])
def test_keys_of_sets_in_common_are_aligned(same, expected):
    keys = pd.Series(["S#7", "U#7", "V#7", "p"])
    others = pd.Series(["S+T#7", "T+U#7", "W#7", "p"])
    one, other = person_numbers.align_keys(keys, others, same)
    assert (one == other).tolist() == expected
    assert one[3] == "p"


def test_keys_without_numbers_stay():
    one, other = person_numbers.align_keys(pd.Series(["p", ""]), pd.Series([""]), same=False)
    assert (one.tolist(), other.tolist()) == (["p", ""], [""])


def test_numbers_and_names_are_told_apart():
    parts = person_numbers.split_keys(pd.Series(["S+T#7", "7", "ip_7", "a#b", ""]))
    assert parts["number"].fillna("-").tolist() == ["7", "7", "-", "-", "-"]
    assert parts["scope"].fillna("-").tolist() == ["S+T", "", "-", "-", "-"]
    assert np.array_equal(parts["scope"].isna(), parts["number"].isna())


def test_lesions_that_are_numbered_within_each_patient_are_no_keys():
    rows = [(f"i{lesion}{patient}", patient, str(lesion)) for lesion in range(1, 6) for patient in ("P1", "P2", "")]
    given = pd.DataFrame(rows, columns=["image_name", "patient_id", "lesion_id"])
    keys = person_numbers.add_keys(given)["lesion_key"]
    assert [key.rpartition("#")[2] for key in keys[:6]] == ["", "", "1", "", "", "2"]
    assert (person_numbers.add_keys(given[given["lesion_id"] < "5"])["lesion_key"] != "").all()
