"""Canonical forms of names and identifiers, with values worked by hand."""

import logging

import pandas as pd
import pytest

from tfrecord_tools.io import identity


def widen(text):
    """Returns text in the full-width forms that Asian keyboards type."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


@pytest.mark.parametrize(
    "spelling",
    [
        "ISIC_0000123",
        "isic_0000123",
        "ISIC_0000123_downsampled",
        "ISIC_0000123.jpg",
        "jpeg/train/ISIC_0000123.JPG",
        "C:\\images\\ISIC_0000123.png",
        "ISIC_ 0000123",
        "ISIC_\u200b0000123",
        "\ufeffISIC_0000123",
        widen("ISIC_0000123"),
        "ISIC-123",
    ],
)
def test_all_spellings_of_an_archive_name_are_one_photograph(spelling):
    assert identity.image_key(spelling) == "isic_123"


@pytest.mark.parametrize(
    ("spelling", "key"),
    [("IMD003", "imd003"), ("Mole 7.PNG", "mole7"), ("007", "7"), ("7.0", "7"), ("a.b", "a.b"), ("ISIC_0", "isic_0")],
)
def test_other_names_keep_their_letters_and_digits(spelling, key):
    assert identity.image_key(spelling) == key


@pytest.mark.parametrize(
    ("spelling", "key"),
    [
        ("IP_0000007", "ip_0000007"),
        ("ip_0000007 ", "ip_0000007"),
        ("IP_ 0000007", "ip_0000007"),
        ("IP_\u200b0000007", "ip_0000007"),
        (widen("IP_0000007"), "ip_0000007"),
        ("7", "7"),
        ("7.0", "7"),
        ("007", "7"),
        ("\u0667", "7"),
        ("IP\u20137", "ip-7"),
        ("IP\t_7\x00", "ip_7"),
        ("7.5", "7.5"),
        ("0", "0"),
    ],
)
def test_all_spellings_of_a_patient_are_one_patient(spelling, key):
    assert identity.person_key(spelling) == key


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "-1.0",
        "\u22121",
        "-999",
        "unknown",
        "UNKNOWN ",
        "nan",
        "None",
        "n/a",
        "Not available",
        "Anonymous",
        "?",
        "-",
        "_",
        "unknown_patient",
        "Patient unknown",
        "IP_unknown",
        "(unbekannt)",
        "TBD",
    ],
)
def test_words_for_an_unknown_patient_are_blank(text):
    assert identity.person_key(text) == ""


def test_zero_is_a_code_among_numbers_and_unknown_among_texts():
    codes = pd.Series(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"])
    assert identity.person_keys(codes).tolist() == codes.tolist()
    assert identity.person_keys(pd.Series(["0", "A", "B"])).tolist() == ["", "a", "b"]
    assert identity.person_keys(pd.Series(["0", "0", "0", "1", "2"])).tolist() == ["", "", "", "1", "2"]
    # A small set that numbers its patients from 0.
    assert identity.person_keys(pd.Series(["0", "0", "1", "2"])).tolist() == ["0", "0", "1", "2"]
    assert identity.person_keys(pd.Series(["0", "unknown"])).tolist() == ["", ""]


def test_groups_are_chains_of_patients_lesions_photographs_and_pairs():
    table = pd.DataFrame(
        [
            ("ISIC_1", "IP_1", "", "aa"),
            ("ISIC_2", "", "IL_1", "bb"),
            ("ISIC_3", "ip_1", "il_1", "cc"),
            ("x.png", "unknown", "", "dd"),
            ("y", "unknown", "", "dd"),
            ("ISIC_0000002_downsampled", "", "", "ee"),
            ("z", "", "", ""),
            ("w", "", "", ""),
        ],
        columns=["image_name", "patient_id", "lesion_id", "image_digest"],
    )
    assert identity.group_images(table).tolist() == [0, 0, 0, 1, 1, 0, 2, 3]
    pairs = pd.DataFrame({"image_name_1": ["isic_0000003", "z"], "image_name_2": ["X", "absent"]})
    assert identity.group_images(table, pairs).tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    # z and w are both duplicates of an image that the table does not have.
    pairs = pd.DataFrame({"image_name_1": ["z", "Absent.jpg"], "image_name_2": ["absent", "w"]})
    assert identity.group_images(table, pairs).tolist() == [0, 0, 0, 1, 1, 0, 2, 2]


def test_what_was_merged_is_described_and_logged(caplog):
    table = pd.DataFrame(
        {
            "image_name": [f"a{number}" for number in range(10)],
            "patient_id": ["P1", "p1 ", "-1", "-1", "P2", "P2", "P2", "P3", "P4", "P5"],
        }
    )
    with caplog.at_level(logging.WARNING):
        identity.log_merged(table, "train.csv")
    assert [record.getMessage() for record in caplog.records] == [
        "note: train.csv: 2 values of patient_id ('-1') stand for an unknown one and count as blank",
        "note: train.csv: 2 spellings of patient_id are 1 (for example 'P1' and 'p1 ')",
        "note: train.csv: patient 'P2' has 3 of 10 images; if this is not one person, leave patient_id blank there",
    ]
    assert identity.describe_merged(table.assign(patient_id=[f"P{number}" for number in range(10)])) == []


def test_digests_of_equal_bytes_are_equal():
    # The first digits of SHA-256 of nothing, as published.
    assert identity.image_digest(b"") == "e3b0c44298fc1c14"
    assert identity.image_digest(b"a") != identity.image_digest(b"b")


def test_names_are_found_among_others_in_any_spelling():
    assert identity.find_matches(["ISIC_0000001", "b"], ["isic_1.jpg", "c"]).tolist() == [True, False]


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
    lines = identity.describe_merged(pd.DataFrame({"image_name": names, "patient_id": patients}))
    assert lines == (
        ["patient 'H1' has 8 of 18 images; if this is not one person, leave patient_id blank there"] * is_noted
    )


def test_images_of_equal_bytes_are_described():
    table = pd.DataFrame(
        {"image_name": list("abcde"), "image_digest": ["1f", "", "1f", "2f", ""]}, index=[0, 1, 0, 1, 2]
    )
    assert identity.describe_merged(table) == ["2 images have equal bytes, of 1 photographs (for example 'a' and 'c')"]


@pytest.mark.parametrize("text", ["IP_7279968", "NA_1", "UNK-7", "Nora", "patient 4", "il_mel"])
def test_names_that_hold_such_a_word_are_no_words_for_an_unknown_patient(text):
    assert identity.person_key(text) != ""


@pytest.mark.parametrize(
    ("patients", "is_large"),
    [(["a"] * 11, True), (["a"] * 10, False), (["a"] * 20 + ["b"] * 4, False), (["a"] * 116 + ["b"], True)],
)
def test_one_of_few_patients_is_pointed_out_where_it_has_many_images(patients, is_large):
    names = [f"i{place}" for place in range(len(patients))]
    lines = identity.describe_merged(pd.DataFrame({"image_name": names, "patient_id": patients}))
    assert bool(lines) == is_large
