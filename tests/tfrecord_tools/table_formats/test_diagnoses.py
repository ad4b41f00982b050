"""Words of diagnoses are understood, with the malignancy of the ISIC Archive's hierarchy."""

import pathlib

import pytest

from tfrecord_tools import schema
from tfrecord_tools.table_formats import diagnoses, vocabularies

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "reference" / "table_values.md"

# Word, name, malignancy, whether it is a melanoma, and category.
KNOWN = [
    ("MEL", "melanoma", "malignant", True, "melanoma"),
    ("Melanoma, NOS", "melanoma", "malignant", True, "melanoma"),
    ("Melanoma Invasive", "melanoma invasive", "malignant", True, "melanoma"),
    ("melanoma (in situ)", "melanoma in situ", "malignant", True, "melanoma"),
    ("melanoma (less than 0.76 mm)", "melanoma invasive", "malignant", True, "melanoma"),
    ("Lentigo maligna", "melanoma in situ", "malignant", True, "melanoma"),
    ("melanoma metastasis", "melanoma metastasis", "malignant", True, "melanoma"),
    ("nv", "nevus", "benign", False, "nevus"),
    ("Blue naevus", "blue nevus", "benign", False, "nevus"),
    ("clark nevus", "nevus, Clark", "benign", False, "nevus"),
    ("Nevus, NOS, Compound", "nevus, compound", "benign", False, "nevus"),
    ("Atypical Nevus", "nevus, atypical", "benign", False, "nevus"),
    ("Epidermal nevus", "epidermal nevus", "benign", False, "unknown"),
    ("bcc", "basal cell carcinoma", "malignant", False, "basal cell carcinoma"),
    ("SCC", "squamous cell carcinoma", "malignant", False, "squamous cell carcinoma"),
    ("Keratoacanthoma", "keratoacanthoma", "malignant", False, "squamous cell carcinoma"),
    ("Merkel cell carcinoma", "Merkel cell carcinoma", "malignant", False, "unknown"),
    ("ACK", "actinic keratosis", "indeterminate", False, "actinic keratosis"),
    ("Solar or actinic keratosis", "actinic keratosis", "indeterminate", False, "actinic keratosis"),
    ("AKIEC", "actinic keratosis or Bowen's disease", "indeterminate", False, "actinic keratosis"),
    ("MELTUMP", "melanocytic tumor of uncertain malignant potential", "indeterminate", False, "unknown"),
    ("Seborrhoeic keratosis", "seborrheic keratosis", "benign", False, "seborrheic keratosis"),
    ("Lichen planus like keratosis", "lichenoid keratosis", "benign", False, "lichenoid keratosis"),
    ("Café-au-lait macule", "cafe-au-lait macule", "benign", False, "cafe-au-lait macule"),
    ("Haemangioma", "hemangioma", "benign", False, "vascular lesion"),
    ("Benign", "benign", "benign", False, "unknown"),
    ("indeterminate/malignant", "indeterminate/malignant", "indeterminate", False, "unknown"),
]


@pytest.mark.parametrize("case", KNOWN, ids=[case[0] for case in KNOWN])
def test_a_word_stands_for_its_diagnosis(case):
    word, *expected = case
    for spelling in (word, word.upper(), f"  {word.lower()} "):
        found = diagnoses.find_diagnosis(spelling)
        assert [found.name, found.malignancy, found.is_melanoma, found.category] == expected


BOWEN = "squamous cell carcinoma in situ, Bowen's disease"


@pytest.mark.parametrize(
    "word", ["Squamous cell carcinoma in situ, Bowens disease", "Bowen\u2019s disease", "morbus-Bowen"]
)
def test_bowens_disease_is_malignant_in_all_spellings(word):
    assert diagnoses.find_diagnosis(word).name == BOWEN
    assert diagnoses.find_diagnosis(word).malignancy == "malignant"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("Melanoma, nodular", "melanoma"),
        (
            "Squamous cell carcinoma, Invasive, Spindle cell, poorly differentiated",
            "squamous cell carcinoma, invasive, spindle cell",
        ),
        ("Malignant::Malignant melanocytic proliferations (Melanoma)::Melanoma in situ", "melanoma in situ"),
        ("Benign:Benign melanocytic proliferations:a nevus of its own", "benign melanocytic proliferations"),
    ],
)
def test_subtypes_and_levels_lead_to_the_nearest_name(word, name):
    assert diagnoses.find_diagnosis(word).name == name


@pytest.mark.parametrize(
    "word", ["", "unknown", "UNK", "other", "nevus, melanoma", "nevus, invasive", "nevus, rule out bcc", "mm", "1"]
)
def test_other_words_are_not_understood(word):
    assert diagnoses.find_diagnosis(word) is None


def test_every_category_is_one_of_records_and_every_name_stands_for_itself():
    names, _ = diagnoses._read_vocabulary()
    for found in names.values():
        assert found.category in schema.CATEGORIES["diagnosis"]
        assert diagnoses.find_diagnosis(found.name) == found
        assert found.is_melanoma == (found.category == "melanoma")


def test_names_and_aliases_of_the_schema_have_the_same_category():
    words = [*schema.CATEGORIES["diagnosis"], *schema._ALIASES]
    codes = {word: schema.encode("diagnosis", word) for word in words}
    known = {word: schema.CATEGORIES["diagnosis"][code] for word, code in codes.items() if code > 0}
    assert len(known) > 30
    assert {word: diagnoses.find_diagnosis(word).category for word in known} == known


@pytest.mark.parametrize(
    ("word", "policy", "indeterminate", "target"),
    [
        ("melanoma", "melanoma", "drop", "1"),
        ("melanoma", "malignant", "drop", "1"),
        ("bcc", "melanoma", "malignant", "0"),
        ("bcc", "malignant", "benign", "1"),
        ("nevus", "melanoma", "malignant", "0"),
        ("nevus", "malignant", "malignant", "0"),
        ("meltump", "melanoma", "drop", None),
        ("meltump", "melanoma", "malignant", "1"),
        ("ak", "malignant", "drop", None),
        ("ak", "malignant", "benign", "0"),
        ("ak", "malignant", "malignant", "1"),
        ("malignant", "malignant", "drop", "1"),
        ("malignant", "melanoma", "drop", None),
        ("malignant", "melanoma", "benign", "0"),
    ],
)
def test_the_policy_makes_a_target_of_a_diagnosis(word, policy, indeterminate, target):
    assert diagnoses.to_target(diagnoses.find_diagnosis(word), policy, indeterminate) == target


def test_all_diagnoses_of_the_archives_own_package_are_understood():
    hierarchy = pytest.importorskip("isic_metadata.diagnosis_hierarchical").DiagnosisEnum
    for each in hierarchy:
        found = diagnoses.find_diagnosis(each.value.rpartition(":")[2])
        assert (each, found.malignancy) == (each, each.value.partition(":")[0].casefold())
        if each is not hierarchy.malignant:
            assert (found.is_melanoma or found.may_be_melanoma) == hierarchy.is_melanoma(each.value)


def test_all_diagnoses_of_the_archive_before_its_hierarchy_are_understood():
    legacy = pytest.importorskip("isic_metadata.fields").LegacyDxEnum
    assert [each.value for each in legacy if diagnoses.find_diagnosis(each.value) is None] == ["other"]


def test_the_reference_page_lists_the_diagnoses_of_the_code():
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    content = vocabularies.read("diagnoses.yaml")
    listed = [cells for cells in rows if cells[0] in ("benign", "indeterminate", "malignant")]
    names = {name: (malignancy, category) for malignancy, category, words in listed for name in words.split("; ")}
    known = {found.name: found for found in diagnoses._read_vocabulary()[0].values()}
    assert names == {name: (found.malignancy, found.category) for name, found in known.items()}
    aliases = {cells[0]: cells[1].split("; ") for cells in rows if len(cells) == 2 and cells[0] in content["aliases"]}
    assert aliases == content["aliases"]
