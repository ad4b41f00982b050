"""Canonical forms of names and identifiers, with values worked by hand."""

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
    [
        ("IMD003", "imd003"),
        ("Mole 7.PNG", "mole7"),
        ("007", "7"),
        ("7.0", "7"),
        ("a.b", "a.b"),
        ("a.b.JFIF", "a.b"),
        ("ISIC_0", "isic_0"),
    ],
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


def number_within_patients(num_shared, num_own):
    """Returns lesions of two images each: shared ones are of two patients, the others of one; one image of nobody."""
    rows = [
        (f"s{lesion}{patient}", patient, str(lesion)) for lesion in range(1, num_shared + 1) for patient in ("P1", "P2")
    ]
    rows += [(f"o{lesion}{copy}", "P3", f"L{lesion}") for lesion in range(num_own) for copy in range(2)]
    return pd.DataFrame([*rows, ("x", "", "1")], columns=["image_name", "patient_id", "lesion_id"])


@pytest.mark.parametrize(
    ("num_shared", "num_own", "are_keys"),
    # Fewer than 5 may be mistakes, and so may a tenth of all lesions with several images.
    [(4, 0, True), (5, 0, False), (5, 44, False), (5, 45, True), (0, 9, True)],
)
def test_lesions_that_are_numbered_within_each_patient_link_nothing(num_shared, num_own, are_keys):
    table = number_within_patients(num_shared, num_own)
    keys = identity.lesion_keys(table)
    assert keys.tolist() == (
        identity.person_keys(table["lesion_id"]).tolist() if are_keys else [""] * (len(keys) - 1) + ["1"]
    )
    assert identity.lesion_keys(table[["lesion_id"]]).tolist() == identity.person_keys(table["lesion_id"]).tolist()


def test_digests_of_equal_bytes_are_equal():
    # The first digits of SHA-256 of nothing, as published.
    assert identity.image_digest(b"") == "e3b0c44298fc1c14"
    assert identity.image_digest(b"a") != identity.image_digest(b"b")


def test_names_are_found_among_others_in_any_spelling():
    assert identity.find_matches(["ISIC_0000001", "b"], ["isic_1.jpg", "c"]).tolist() == [True, False]


@pytest.mark.parametrize("text", ["IP_7279968", "NA_1", "UNK-7", "Nora", "patient 4", "il_mel"])
def test_names_that_hold_such_a_word_are_no_words_for_an_unknown_patient(text):
    assert identity.person_key(text) != ""


@pytest.mark.parametrize(
    "names",
    [
        # All as the archive writes them: one search for all.
        ["ISIC_0000123", "isic_7", "ISIC_0", "ISIC_0000000"],
        # One that is not, with a line break, with other digits.
        ["ISIC_0000123", "ISIC_5_downsampled"],
        ["ISIC_1\nISIC_2", "x"],
        ["ISIC_1", "ISIC_\u0661"],
        ["Isic_1", "ISIC_2"],
        [],
    ],
)
def test_keys_of_many_names_are_those_of_each(names):
    found = identity.image_keys(pd.Series(names, range(5, 5 + len(names)), dtype=object))
    assert found.tolist() == [identity.image_key(name) for name in names]
    assert found.index.tolist() == list(range(5, 5 + len(names)))


@pytest.mark.parametrize(
    "people",
    [["IP_7", "ip_7", "A_b2", "IP_7"], ["IP_7", "Unknown"], ["IP_7", "7.0"], ["IP_7\nIP_8", "x"], ["P1", " P2"]],
)
def test_keys_of_many_people_are_those_of_each(people):
    found = identity.person_keys(pd.Series(people, dtype=object))
    assert found.tolist() == [identity.person_key(text) for text in people]
