import pandas as pd
import pytest

from tfrecord_tools import schema
from tfrecord_tools.io import column_names, csv_tables


def rename(**columns):
    renamed = column_names.rename_columns("t.csv", pd.DataFrame(columns))
    return {name: renamed[name].tolist() for name in renamed}


@pytest.mark.parametrize(
    ("name", "known"), [(alias, known) for known, aliases in schema.COLUMN_ALIASES.items() for alias in aliases]
)
def test_a_column_with_the_name_of_another_data_set_is_read_with_a_note(name, known, capsys):
    assert rename(**{name.title(): ["x"]}) == {known: ["x"]}
    assert capsys.readouterr().out == f"note: t.csv: the column {name.title()} is read as {known}\n"


def test_every_other_name_stands_for_one_column():
    aliases = [alias for aliases in schema.COLUMN_ALIASES.values() for alias in aliases]
    assert len(set(aliases)) == len(aliases)
    assert not set(aliases) & set(column_names.KNOWN)


def test_the_known_name_comes_first_unless_its_column_is_blank(capsys):
    assert rename(age=["1", "2"], age_approx=["5", ""]) == {"age": ["1", "2"], "age_approx": ["5", ""]}
    assert capsys.readouterr().out == ""
    assert rename(age=["1", "2"], age_approx=["", ""]) == {"age_approx": ["1", "2"]}


@pytest.mark.parametrize("name", ["Image_Name", "image name", "IMAGE-NAME", "image\ufeff_name", " image_name "])
def test_a_known_name_is_recognized_in_other_spellings(name):
    assert rename(**{name: ["a"], "Clinic": ["x"]}) == {"image_name": ["a"], "Clinic": ["x"]}


def test_two_columns_that_say_the_same_are_one():
    # In words of their own: both sites are torso, both ages 45, and both names one image.
    found = rename(
        anatom_site_general=["anterior torso", ""],
        localization=["chest", "face"],
        age=["45", ""],
        age_approximate=["45.0", "3"],
        isic_id=["ISIC_0000001", "b"],
        image=["jpeg/isic_1.jpg", "b"],
    )
    assert found == {
        "anatom_site_general_challenge": ["anterior torso", "face"],
        "age_approx": ["45", "3"],
        "image_name": ["ISIC_0000001", "b"],
    }


@pytest.mark.parametrize(
    ("columns", "cases"),
    [
        ({"anatom_site": ["torso"], "localization": ["face"]}, "'torso' and 'face'"),
        ({"Sex": ["male"], "SEX": ["female"]}, "'male' and 'female'"),
        ({"image": ["a"], "image_id": ["b"]}, "'b' and 'a'"),
    ],
)
def test_two_columns_that_contradict_each_other_are_refused(columns, cases):
    with pytest.raises(ValueError, match=f"that contradict each other .first: {cases}.; remove or rename one of them"):
        rename(**columns)


def test_of_other_columns_of_one_name_the_first_is_kept():
    table = pd.DataFrame([["a", "1", "2", ""]], columns=["image_name", "note", "note", ""])
    assert column_names.rename_columns("t.csv", table).to_dict("list") == {"image_name": ["a"], "note": ["1"]}


def test_a_required_column_keeps_its_name():
    table = pd.DataFrame({"anatom_site_general": ["torso"]})
    assert list(column_names.rename_columns("t.csv", table, ["anatom_site_general"])) == ["anatom_site_general"]


def test_unused_columns_are_listed_with_what_they_may_be_meant_to_be():
    table = pd.DataFrame(columns=["image_name", "diagnosys", "Unnamed: 3", "hospital", "", "targets"])
    assert column_names.list_unused(table, ["image_name"]) == [
        "diagnosys (rename it if it is diagnosis)",
        "hospital",
        "targets (rename it if it is target)",
    ]


def test_tables_without_columns_or_rows_stay_as_they_are():
    assert rename() == {}
    assert rename(Target=[]) == {"target": []}


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("file", "columns"),
    [
        ("ISIC_2019_Training_Metadata.csv", {"image_name", "age_approx", "anatom_site_general_challenge", "lesion_id"}),
        ("ISIC-2017_Training_Data_metadata.csv", {"image_name", "age_approx", "sex"}),
        ("isic_cli_metadata.csv", {"image_name", "anatom_site_general_challenge", "diagnosis", "lesion_id", "sex"}),
        ("PAD-UFES-20_metadata.csv", {"image_name", "patient_id", "lesion_id", "sex", "age_approx"}),
    ],
)
def test_published_tables_have_the_known_columns(real_data, file, columns):
    table = csv_tables.read_table(str(real_data / "tables" / file), ("image_name",))
    assert columns <= set(table)
    for column in columns & {"sex", "age_approx", "anatom_site_general_challenge"}:
        given = table.loc[~table[column].isin(["", "unknown"]), column]
        assert len(given) > 1000
        assert given.map(lambda value, column=column: schema.encode(column, value)).min() >= 0


@pytest.mark.realdata
def test_the_archives_diagnoses_are_read_as_what_they_are(real_data):
    table = csv_tables.read_table(str(real_data / "tables" / "isic_cli_metadata.csv"), ("image_name",))
    names = [schema.CATEGORIES["diagnosis"][schema.encode("diagnosis", text)] for text in table["diagnosis"] if text]
    # 510 invasive, 362 in situ and 28 metastases; 622 invasive and 360 in situ.
    assert names.count("melanoma") == 900
    assert names.count("squamous cell carcinoma") == 982
    assert names.count("basal cell carcinoma") == 5044
    unknown = column_names.count_unknown_values("diagnosis", table["diagnosis"])
    # Keratoacanthomas, and eleven rarer ones.
    assert unknown["Keratoacanthoma"] == 324
    assert sum(unknown.values()) == 324 + 14 + 8 + 3 * 6 + 4 * 4 + 2 * 2


def test_a_column_that_resembles_another_data_sets_name_is_explained():
    table = pd.DataFrame(columns=["image_name", "localisation", "diagnosis_ful"])
    assert column_names.list_unused(table, ["image_name"]) == [
        "localisation (rename it if it is anatom_site_general_challenge)",
        "diagnosis_ful (rename it if it is diagnosis)",
    ]
