"""What codes of records mean by a table, counted by hand."""

import pandas as pd
import pytest

from tfrecord_tools.building import code_meanings
from tfrecord_tools.io import manifest


def records(**columns):
    integers = [dict(zip(columns, codes, strict=True)) for codes in zip(*columns.values(), strict=True)]
    return pd.DataFrame({"integers": integers}, index=range(3, 3 + len(integers)))


def log(own, texts, split="train", **options):
    listed = None if texts is None else pd.DataFrame(texts)
    return code_meanings.log_meanings("set", records(**own), listed, split, **options)


def test_every_code_is_logged_with_its_meaning_and_its_records(capsys):
    # Of five records with the code 0 and a known sex, four are of women; one record has no row, and one no code.
    own = {"sex": [0, 0, 0, 0, 0, 0, 1, -1], "anatom_site_general_challenge": [3, 3, 5, 5, 5, 5, 5, 5]}
    texts = {
        "sex": ["female", "F", "female", "woman?", "male", "female", "male", "male"],
        "anatom_site_general_challenge": ["torso", "anterior torso", "palms/soles", *[""] * 5],
    }
    assert log(own, texts) == []
    assert capsys.readouterr().out == (
        "set: by the table, sex 0 = female in 4 of 5 records, 1 = male in 1 of 1 records\n"
        "set: by the table, anatom_site_general_challenge 3 = torso in 2 of 2 records, 5 = palms/soles in 1 of 1 "
        "records\n"
    )


def test_a_column_with_codes_that_the_table_does_not_have_is_not_confirmed(capsys):
    assert log({"sex": [0, 0, 1, 1], "diagnosis": [2, 2, -1, -1]}, {"sex": ["male", "male", "", "?"]}) == [
        "sex", "diagnosis",
    ]  # fmt: skip
    assert (
        "note: set: the table does not confirm all codes of sex, so they are not used: 1 (2 records); index them again "
        "with --csv, a table that has these columns for images of every code\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize("texts", [None, {"image_name": ["a", "b"]}, {"sex": ["", "unknown"], "diagnosis": ["x", ""]}])
def test_columns_that_no_table_confirms_are_named_with_the_remedy(texts, capsys):
    assert log({"sex": [0, 1], "diagnosis": [1, -1], "age_approx": [40, 50]}, texts) == ["sex", "diagnosis"]
    assert capsys.readouterr().out == (
        "note: set: no table confirms what the codes of sex, diagnosis mean, so they are not used: records that others "
        "made may number them in another way; index them again with --csv, a table that has these columns for images "
        "of every code\n"
    )


def test_codes_that_records_lack_and_labels_of_a_test_split_need_no_table(capsys):
    assert log({"sex": [-1, -1], "age_approx": [40, 50]}, None) == []
    assert log({"diagnosis": [1, 2]}, None, split="test") == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (None, False),
        ({"source": {"files": ["tfrec"]}}, False),
        ({"source": {"files": ["tfrec"], "csv": "train.csv"}}, True),
        ({"source": {"files": ["jpg"]}}, True),
        ({"source": "elsewhere"}, False),
    ],
)
def test_a_manifest_tells_whether_a_table_gave_the_codes(facts, expected):
    assert code_meanings.were_written_from_a_table(facts) is expected


def test_what_no_table_confirmed_stays_so_where_records_are_built_again(tmp_path):
    (tmp_path / "known").mkdir()
    manifest.write_manifest(str(tmp_path / "known"), "train", [], unconfirmed_codes=["diagnosis", "sex"])
    own = records(sex=[0, 1], anatom_site_general_challenge=[1, 2], diagnosis=[-1, -1])
    assert code_meanings.find_unconfirmed([str(tmp_path / "known")], "train", own) == ["sex"]
    # Without a manifest nothing is known.
    assert code_meanings.find_unconfirmed([str(tmp_path)], "train", own) == ["sex", "anatom_site_general_challenge"]
