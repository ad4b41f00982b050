"""Ages, sexes and sites are read as published tables write them; the reference page lists the sites."""

import pathlib
import re

import pytest

from tfrecord_tools import schema
from tfrecord_tools.table_formats import values

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "reference" / "table_values.md"
SITES = "anatom_site_general_challenge"


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("45", "45"),
        ("45.0", "45"),
        ("45.7", "45"),
        (" 0 ", "0"),
        ("85+", "85"),
        (">=90", "90"),
        ("120", "120"),
        ("45 years", "45"),
        ("045Y", "45"),
        ("018M", "1"),
        ("011M", "0"),
        ("104W", "1"),
        ("364D", "0"),
        ("unknown", ""),
        ("NA", ""),
        ("-1", ""),
        ("", ""),
        ("121", None),
        ("999Y", None),
        ("-5", None),
        ("4-6", None),
        ("1e1", None),
        ("old", None),
    ],
)
def test_ages(text, age):
    assert values.read_age(text) == age


@pytest.mark.parametrize(
    ("text", "sex"),
    [
        ("male", "male"),
        ("MALE", "male"),
        ("m", "male"),
        ("M ", "male"),
        ("Female", "female"),
        ("F", "female"),
        ("woman", "female"),
        ("unknown", ""),
        ("U", ""),
        ("O", ""),
        ("", ""),
        ("x", None),
        ("0", None),
    ],
)
def test_sexes(text, sex):
    assert values.read_sex(text) == sex


@pytest.mark.parametrize(
    ("words", "sites"),
    [
        # HAM10000's words; upper extremity is the fifteenth.
        (
            "abdomen|acral|back|chest|ear|face|foot|genital|hand|neck|scalp|trunk|unknown|lower extremity",
            "torso|palms/soles|torso|torso|head/neck|head/neck|lower extremity|oral/genital|upper extremity|head/neck|"
            "head/neck|torso||lower extremity",
        ),
        # The ISIC Archive's general sites.
        (
            "anterior torso|posterior torso|lateral torso|head/neck|palms/soles|oral/genital",
            "torso|torso|torso|head/neck|palms/soles|oral/genital",
        ),
        # Levels of its hierarchy since May 2026.
        (
            "Head and neck|Trunk|Anogenital region|Buttock|Axilla|Nose|Oral mucosa|Lower lip|Sole of foot|Heel|Toes",
            "head/neck|torso|oral/genital|lower extremity|torso|head/neck|oral/genital|head/neck|palms/soles|"
            "palms/soles|lower extremity",
        ),
        (
            "Palm of hand|Dorsum of hand|Fingers and thumb|Shoulder|Scrotum|Pinna|Hip",
            "palms/soles|upper extremity|upper extremity|upper extremity|oral/genital|head/neck|lower extremity",
        ),
        # MILK10k.
        (
            "head_neck_face|trunk|upper_extremity|lower_extremity|hand|foot|genital",
            "head/neck|torso|upper extremity|lower extremity|upper extremity|lower extremity|oral/genital",
        ),
        # Derm7pt.
        (
            "abdomen|acral|back|buttocks|chest|genital areas|head neck|lower limbs|upper limbs",
            "torso|palms/soles|torso|lower extremity|torso|oral/genital|head/neck|lower extremity|upper extremity",
        ),
        # PAD-UFES-20.
        (
            "FACE|FOREARM|CHEST|BACK|ARM|NOSE|HAND|NECK|THIGH|EAR|ABDOMEN|LIP|SCALP|FOOT",
            "head/neck|upper extremity|torso|torso|upper extremity|head/neck|upper extremity|head/neck|lower extremity|"
            "head/neck|torso|head/neck|head/neck|lower extremity",
        ),
        ("left forearm|Right Upper Back|skin of face", "upper extremity|torso|head/neck"),
        ("|UNK|n/a|-1|other|acral NOS", "|||||"),
    ],
)
def test_sites(words, sites):
    assert [values.read_site(word) for word in words.split("|")] == sites.split("|")


@pytest.mark.parametrize("word", ["tarso", "left", "Setting", "upper"])
def test_other_sites_are_not_understood(word):
    assert values.read_site(word) is None


def test_each_site_is_listed_once_and_belongs_to_a_category_of_records():
    sites = values.list_sites()
    assert set(sites) - {""} == set(schema.CATEGORIES[SITES])
    folded = [re.sub(r"[/_-]", " ", word.casefold()) for words in sites.values() for word in words]
    assert len(set(folded)) == len(folded)


def test_names_and_aliases_of_the_schema_are_read_alike():
    for column, reader in (("sex", values.read_sex), (SITES, values.read_site)):
        codes = {word: schema.encode(column, word) for word in (*schema.CATEGORIES[column], *schema._ALIASES)}
        known = {word: schema.CATEGORIES[column][code] for word, code in codes.items() if code >= 0}
        assert {word: reader(word) for word in known} == known


def test_the_reference_page_lists_the_sites_of_the_code():
    rows = re.findall(r"^\| `?([a-z/ ]+?)`? \| (.+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    listed = {name: tuple(words.split(", ")) for name, words in rows if name in (*schema.CATEGORIES[SITES], "unknown")}
    assert listed == {category or "unknown": words for category, words in values.list_sites().items()}


def test_all_sites_of_the_archives_own_package_are_understood():
    fields = pytest.importorskip("isic_metadata.fields")
    for each in (*fields.AnatomSiteEnum, *fields.AnatomSiteGeneralEnum):
        assert (each, bool(values.read_site(each.value.rpartition(":")[2]))) == (each, True)
    assert all(values.read_site(each.value) is not None for each in fields.AnatomSiteSpecialEnum)
