import pydicom
import pytest
from pydicom.sequence import Sequence

from tfrecord_tools.building import dicom_rows


def tagged(**tags):
    dataset = pydicom.Dataset()
    for name, value in tags.items():
        setattr(dataset, name, value)
    return dicom_rows.read_tags(dataset)


def test_tags_lose_their_quotes_and_use_the_words_of_the_schema():
    found = tagged(PatientID='"IP_1"', PatientSex="F", PatientAge="055Y", BodyPartExamined='"UPPER EXTREMITY"')
    assert found == {
        "patient_id": "IP_1",
        "sex": "female",
        "age_approx": "55",
        "anatom_site_general_challenge": "upper extremity",
    }


@pytest.mark.parametrize(
    ("age", "years"),
    [("018M", "1"), ("104W", "2"), ("800D", "2"), ("old", ""), ("", ""), ("999Y", ""), ("120Y", "120")],
)
def test_ages_in_other_units_become_whole_years(age, years):
    assert tagged(PatientAge=age)["age_approx"] == years


@pytest.mark.parametrize(
    ("part", "site"), [("SKIN", ""), ("HEADNECK", "head/neck"), ("TRUNK", "torso"), ("Torso", "torso"), ("KIDNEY", "")]
)
def test_body_parts_without_a_code_are_unknown(part, site):
    assert tagged(BodyPartExamined=part)["anatom_site_general_challenge"] == site


def test_values_without_a_counterpart_are_listed():
    dataset = pydicom.Dataset()
    dataset.PatientSex, dataset.BodyPartExamined, dataset.AnatomicRegionSequence = "O", "SKIN", region("Kidney")
    found = dicom_rows.list_unknown_values(dataset, dicom_rows.read_tags(dataset))
    assert found == ["PatientSex 'O'", "AnatomicRegionSequence 'Kidney'", "BodyPartExamined 'SKIN'"]
    dataset.PatientSex, dataset.BodyPartExamined = "f", "ARM"
    assert dicom_rows.list_unknown_values(dataset, dicom_rows.read_tags(dataset)) == []


def test_absent_tags_are_unknown():
    assert set(tagged().values()) == {""}


@pytest.mark.parametrize("value", [["F", "M"], ["045Y", "050Y"], 12.5, "\\\\"])
def test_tags_that_are_lists_or_damaged_are_unknown(value):
    dataset = pydicom.Dataset()
    for name in ("PatientSex", "PatientAge", "BodyPartExamined"):
        dataset.add(pydicom.DataElement(name, "LO" if isinstance(value, (str, list)) else "FD", value))
    assert set(dicom_rows.read_tags(dataset).values()) == {""}


def region(*meanings):
    items = []
    for meaning in meanings:
        item = pydicom.Dataset()
        item.CodeMeaning = meaning
        items.append(item)
    return Sequence(items)


@pytest.mark.parametrize(
    ("meaning", "site"),
    [
        ("Skin of upper arm", "upper extremity"),
        ("Palm of hand", "palms/soles"),
        ("Back of neck", "head/neck"),
        ("Skin structure of left lower leg", "lower extremity"),
        ("Upper limb", "upper extremity"),
        ("Back", "torso"),
        ("Vulva", "oral/genital"),
        ("Kidney", ""),
        ("", ""),
    ],
)
def test_the_meaning_of_the_anatomic_region_is_the_site(meaning, site):
    assert tagged(AnatomicRegionSequence=region(meaning))["anatom_site_general_challenge"] == site


def test_the_anatomic_region_comes_before_the_body_part_which_stands_in_for_it():
    both = {"AnatomicRegionSequence": region("Unknown", "Face"), "BodyPartExamined": "TRUNK"}
    assert tagged(**both)["anatom_site_general_challenge"] == "head/neck"
    both["AnatomicRegionSequence"] = region("Kidney")
    assert tagged(**both)["anatom_site_general_challenge"] == "torso"
    assert tagged(AnatomicRegionSequence=Sequence())["anatom_site_general_challenge"] == ""


def test_a_lesion_is_its_unique_id_or_else_one_of_the_patients():
    dataset = pydicom.Dataset()
    assert dicom_rows.read_lesion(dataset) == ("", True)
    dataset.TrackingID = "mole 1"
    assert dicom_rows.read_lesion(dataset) == ("mole 1", True)
    dataset.TrackingUID = "1.2.3"
    assert dicom_rows.read_lesion(dataset) == ("1.2.3", False)


@pytest.mark.parametrize(("date", "digits"), [("20200131", "20200131"), ("2020.01.31", "20200131"), ("2020", "")])
def test_dates_are_eight_digits(date, digits):
    dataset = pydicom.Dataset()
    dataset.add(pydicom.DataElement("StudyDate", "LO", date))
    assert dicom_rows.read_date(dataset) == digits
