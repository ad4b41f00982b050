import pandas as pd
import pytest

from tfrecord_tools.building import table_validation
from tfrecord_tools.imaging import image_files
from tfrecord_tools.io import csv_tables


def table(**columns):
    base = {"image_name": ["a", "b"], "patient_id": ["p", ""], "target": ["0", "1"], "age_approx": ["45.0", ""]}
    return pd.DataFrame({**base, **columns})


PATHS = {"a": ["in/a.jpg"], "b": ["in/b.png"]}


def test_a_valid_table_has_no_problems():
    assert table_validation.find_problems(table(), "train", PATHS) == []


@pytest.mark.parametrize(
    ("columns", "paths", "problem"),
    [
        ({"image_name": ["../x", "b"]}, PATHS, "1 image names that are blank or lead outside the directory: '../x'"),
        ({"image_name": ["a", ".."]}, PATHS, "1 image names that are blank or lead outside the directory: '..'"),
        ({"image_name": ["a", "c\\d"]}, PATHS, r"1 image names that are blank or lead outside the directory: 'c\\d'"),
        ({"image_name": ["a", ""]}, PATHS, "1 image names that are blank or lead outside the directory: ''"),
        ({"image_name": ["a", "a"]}, PATHS, "1 image names listed more than once: 'a'"),
        ({"image_name": ["a", "c"]}, PATHS, "1 listed images without a file: 'c'"),
        (
            {},
            {**PATHS, "a": ["a.jpg", "a.png"]},
            "1 images with more than one file: 'a' (a.jpg, a.png); remove the others, or name each file in the table "
            "with its directory",
        ),
        ({"target": ["0", "yes"]}, PATHS, "1 invalid target values (expected 0 or 1): 'yes'"),
        ({"target": ["0", ""]}, PATHS, "1 images without a target: 'b'"),
        ({"age_approx": ["old", ""]}, PATHS, "1 invalid age_approx values (expected 0 to 120 or blank): 'old'"),
    ],
)
def test_each_kind_of_problem_is_named_with_its_case(columns, paths, problem):
    assert problem.replace(r"\\", "\\\\") in table_validation.find_problems(table(**columns), "train", paths)


def test_problems_are_reported_together_and_a_test_split_needs_no_target():
    found = table_validation.find_problems(table(image_name=["../x", "c"], target=["", ""]), "train", PATHS)
    assert len(found) == 3
    assert len(table_validation.find_problems(table(target=["", ""]), "test", PATHS)) == 0


def test_long_lists_are_cut():
    assert csv_tables.describe_first_cases(list("abcdefg")) == "'a', 'b', 'c', 'd', 'e' and 2 more"


def test_find_images_looks_in_the_folder_and_in_its_split(tmp_path):
    (tmp_path / "train").mkdir()
    for file in ("a.jpg", "notes.txt", "train/b.PNG", "train/a.jpeg"):
        (tmp_path / file).touch()
    found = image_files.find_images(str(tmp_path), "train")
    assert found == {
        "a": [str(tmp_path / "a.jpg"), str(tmp_path / "train" / "a.jpeg")],
        "b": [str(tmp_path / "train" / "b.PNG")],
    }


def test_find_images_names_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"jpg not found; check the path"):
        image_files.find_images(str(tmp_path / "jpg"), "train")


def test_categories_without_a_code_are_logged(capsys):
    table_validation.log_unknown_categories(table(diagnosis=["XYZ", "nevus"]), "train")
    assert capsys.readouterr().out == (
        "note: 1 values of diagnosis are not in the schema and are written as unknown: 'XYZ'\n"
    )


def test_categories_without_a_code_are_counted_and_words_for_unknown_are_none(capsys):
    diagnoses = ["Merkel cell carcinoma", "Melanoma, NOS", "Unknown", "cyst", "cyst", "-1", ""]
    names = [f"i{place}" for place in range(7)]
    found = pd.DataFrame({"image_name": names, "diagnosis": diagnoses, "sex": ["unk"] * 7})
    table_validation.log_unknown_categories(found, "train")
    assert capsys.readouterr().out == (
        "note: 3 values of diagnosis are not in the schema and are written as unknown: 'cyst (2)', "
        "'Merkel cell carcinoma (1)'\n"
    )
    # Labels of a test table are ignored.
    table_validation.log_unknown_categories(found, "test")
    assert capsys.readouterr().out == ""


def test_where_no_name_is_that_of_a_file_a_file_is_named():
    found = table_validation.find_problems(table(image_name=["x", "y"]), "train", PATHS)
    assert found == ["2 listed images without a file (the first file is 'a'): 'x', 'y'"]


def test_unused_columns_are_named_once(capsys):
    found = table(sex="male", lesion_id="", hospital="A", anatom_site_general_chalenge="torso", fold="0")
    table_validation.log_unused_columns("t.csv", found, ["fold"])
    assert capsys.readouterr().out == (
        "note: t.csv: columns that are not used: hospital, anatom_site_general_chalenge (rename it if it is "
        "anatom_site_general_challenge)\n"
    )
    table_validation.log_unused_columns("t.csv", table())
    assert capsys.readouterr().out == ""
