"""What a log says about spellings that were merged, with values worked by hand."""

import logging

import pandas as pd
import pytest

from tfrecord_tools.io.spellings import merged_identities


def number_within_patients(num_shared, num_own):
    """Returns lesions of two images each: shared ones are of two patients, the others of one; one image of nobody."""
    rows = [
        (f"s{lesion}{patient}", patient, str(lesion)) for lesion in range(1, num_shared + 1) for patient in ("P1", "P2")
    ]
    rows += [(f"o{lesion}{copy}", "P3", f"L{lesion}") for lesion in range(num_own) for copy in range(2)]
    return pd.DataFrame([*rows, ("x", "", "1")], columns=["image_name", "patient_id", "lesion_id"])


def test_lesions_of_several_patients_are_described_with_the_remedy():
    assert merged_identities.describe_merged(number_within_patients(0, 9)) == []
    (line,) = merged_identities.describe_merged(
        number_within_patients(4, 6).replace("P3", "unknown").query("patient_id != 'unknown'")
    )
    assert line == (
        "4 of 4 lesions, 4 of them with several images, are of several patients (for example '1' of 'P1' and 'P2'), "
        "which links all images of these patients; if lesions are numbered within each patient, write both in "
        "lesion_id, such as 'P1_1'"
    )
    lines = merged_identities.describe_merged(number_within_patients(6, 10))
    assert lines[-1] == (
        "lesion_id is no key by itself: 6 of 16 lesions, 16 of them with several images, are of several patients (for "
        "example '1' of 'P1' and 'P2'); a lesion counts within its patient only. If they are the same lesions, correct "
        "patient_id"
    )


def test_what_was_merged_is_described_and_logged(caplog):
    table = pd.DataFrame(
        {
            "image_name": [f"a{number}" for number in range(10)],
            "patient_id": ["P1", "p1 ", "-1", "-1", "P2", "P2", "P2", "P3", "P4", "P5"],
        }
    )
    with caplog.at_level(logging.WARNING):
        merged_identities.log_merged(table, "train.csv")
    assert [record.getMessage() for record in caplog.records] == [
        "note: train.csv: 2 values of patient_id ('-1') stand for an unknown one and count as blank",
        "note: train.csv: 2 spellings of patient_id are 1 (for example 'P1' and 'p1 ')",
        "note: train.csv: patient 'P2' has 3 of 10 images; if this is not one person, leave patient_id blank there",
    ]
    assert merged_identities.describe_merged(table.assign(patient_id=[f"P{number}" for number in range(10)])) == []


@pytest.mark.parametrize(
    ("patients", "is_noted"),
    [
        # Six patients with two images each: nobody has more than others.
        ([f"P{number // 2}" for number in range(12)], False),
        (["H1"] * 8 + [f"P{number}" for number in range(10)], True),
        # The others are unknown, which is a patient each.
        (["H1"] * 8 + [""] * 10, True),
        # A tenth of the images, and not more.
        (["H1"] * 3 + [f"P{number}" for number in range(27)], False),
        (["H1"] * 8, False),
        ([""] * 8, False),
    ],
)
def test_a_patient_with_far_more_images_than_others_is_pointed_out(patients, is_noted):
    names = [f"a{number}" for number in range(len(patients))]
    lines = merged_identities.describe_merged(pd.DataFrame({"image_name": names, "patient_id": patients}))
    assert lines == (
        ["patient 'H1' has 8 of 18 images; if this is not one person, leave patient_id blank there"] * is_noted
    )


def test_images_of_equal_bytes_are_described():
    table = pd.DataFrame(
        {"image_name": list("abcde"), "image_digest": ["1f", "", "1f", "2f", ""]}, index=[0, 1, 0, 1, 2]
    )
    assert merged_identities.describe_merged(table) == [
        "2 images have equal bytes, of 1 photographs (for example 'a' and 'c')"
    ]


@pytest.mark.parametrize(
    ("patients", "is_large"),
    [(["a"] * 11, True), (["a"] * 10, False), (["a"] * 20 + ["b"] * 4, False), (["a"] * 116 + ["b"], True)],
)
def test_one_of_few_patients_is_pointed_out_where_it_has_many_images(patients, is_large):
    names = [f"i{place}" for place in range(len(patients))]
    lines = merged_identities.describe_merged(pd.DataFrame({"image_name": names, "patient_id": patients}))
    assert bool(lines) == is_large
