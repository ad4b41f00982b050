"""Codes of records against tables, with code books worked out by hand."""

import pandas as pd
import pytest
from shard_files import JPEG, write_shard

from tfrecord_tools import errors
from tfrecord_tools.building import code_comparison
from tfrecord_tools.io import tf_example, tfrecord


def compare(column, codes, texts, split="train"):
    names = [f"i{place}" for place in range(len(codes))]
    records = pd.DataFrame({"image_name": names, "integers": [{column: code} for code in codes]})
    code_comparison.compare_codes("set", records, pd.DataFrame({column: texts}), split)


@pytest.mark.parametrize(
    ("column", "codes", "texts", "message"),
    [
        (
            "sex",
            [0, 1, 0, 1, -1, 0],
            ["female", "male", "female", "male", "male", ""],
            "sex of 4 of 4 records is not the table's (first: i0 has male, in the table female), because the records "
            "have another code book: there 0 is female, 1 is male; in tfrecord_tools.schema 0 is male, 1 is female; "
            "`tfrecord_tools.build --records --csv` writes a set with the values of the table, or correct the table",
        ),
        # One code in five images of fifty, and all of them are of another site.
        (
            "anatom_site_general_challenge",
            [3] * 45 + [4] * 5,
            ["torso"] * 45 + ["oral/genital"] * 5,
            "there 3 is torso, 4 is oral/genital; in tfrecord_tools.schema 3 is torso, 5 is oral/genital",
        ),
        # Codes that the schema does not have.
        (
            "sex",
            [1, 2, 1, 2],
            ["male", "female"] * 2,
            "there 1 is male, 2 is female; in tfrecord_tools.schema 0 is male, 1 is female",
        ),
        ("sex", [0] * 10, ["male", "female"] * 5, "sex of 5 of 10 records is not the table's (first: i1 has male, in"),
        (
            "age_approx",
            [40, 45, 50],
            ["45.0", "50", "55"],
            "age_approx of 3 of 3 records is not the table's (first: i0",
        ),
    ],
)
def test_records_that_contradict_a_table_are_refused(column, codes, texts, message):
    with pytest.raises(errors.IsicError) as caught:
        compare(column, codes, texts)
    assert message in str(caught.value)


def test_no_code_book_is_claimed_where_none_explains_the_records():
    with pytest.raises(errors.IsicError) as caught:
        compare("sex", [0] * 10, ["male", "female"] * 5)
    assert "code book" not in str(caught.value)


def test_single_contradictions_are_counted_and_listed(capsys):
    compare("sex", [0, 1] * 10, ["male", "female"] * 9 + ["female", "male"])
    assert capsys.readouterr().out == (
        "note: set: sex of 2 of 20 records is not the table's (first: i18 has male, in the table female): 'i18', "
        "'i19'; the records stay as they are, `tfrecord_tools.build --records --csv` writes a set with the values of "
        "the table\n"
    )


def test_what_records_lack_is_counted(capsys):
    compare("sex", [-1, 0, -1], ["male", "male", ""])
    assert capsys.readouterr().out.startswith("note: set: 1 records lack sex, which the table has; `tfrecord_tools")


def test_equal_values_and_the_labels_of_a_test_set_say_nothing(capsys):
    compare("anatom_site_general_challenge", [3, 0, -1], ["anterior torso", "head/neck", "unknown"])
    compare("age_approx", [45, 50], ["45.0", "old"])
    compare("diagnosis", [2, 1], ["nevus", "melanoma"], split="test")
    assert capsys.readouterr().out == ""


def test_features_that_are_not_used_are_named(tmp_path, capsys):
    features = {"image": JPEG, "image_name": b"a", "target": 0, "anatom_site_general": 2, "source": 1}
    with (tmp_path / "train00-1.tfrec").open("wb") as file:
        tfrecord.write(file, tf_example.serialize(features))
    places = [(str(tmp_path / "train00-1.tfrec"), 0, len(tf_example.serialize(features)))]
    records = pd.DataFrame(places, columns=["path", "offset", "length"])
    code_comparison.log_unused_features("set", records)
    assert capsys.readouterr().out == (
        "note: set: features of the records that are not used: anatom_site_general (in the schema "
        "anatom_site_general_challenge; `tfrecord_tools.build --records --csv` writes a set with the values of the "
        "table), source\n"
    )


def test_a_record_of_the_schema_has_no_unused_features(tmp_path, capsys):
    path = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "a", "sex": 0, "width": 9}])
    offset, length, _ = next(tfrecord.read(path))
    code_comparison.log_unused_features("set", pd.DataFrame([{"path": path, "offset": offset, "length": length}]))
    assert capsys.readouterr().out == ""


def test_values_of_a_table_that_no_code_can_be_compared_with_are_noted(capsys):
    compare("sex", [0, 1], ["Mann", "female"])
    out = capsys.readouterr().out
    assert (
        "1 values of sex in the table are not in the schema, so they are not compared with the records: 'Mann'" in out
    )


@pytest.mark.parametrize(
    ("codes", "listed", "named", "note"),
    [
        # The second image of p is not in the table; 2 is no patient of the table.
        ([0, 0, 1, 2], ["p", None, "q", None], ["p", "p", "q", "2"], ""),
        ([-1, 0, 0, 1], ["p", "q", "Q ", ""], ["p", "q", "Q ", ""], ""),
        ([0, 0, 0, 1], ["p", None, "q", None], ["p", "0", "q", "1"], "number 0 is p and number 0 is q"),
        ([0, 1, 0, 1], ["p", "p", None, None], ["p", "p", "0", "1"], "number 0 is p and number 1 is p"),
    ],
)
def test_patients_have_the_names_of_the_table_also_where_it_lacks_an_image(codes, listed, named, note, capsys):
    integers = [{"patient_id": code} for code in codes]
    records = pd.DataFrame({"patient_id": [str(code) for code in codes], "integers": integers})
    assert code_comparison.name_patients("set", records, pd.Series(listed, dtype=object)).tolist() == named
    out = capsys.readouterr().out
    assert (note in out) if note else not out
