import numpy as np
import pandas as pd
import pytest

from tfrecord_tools.io import csv_tables


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"image_name;target\na;1\n", "semicolons"),
        (b"\xef\xbb\xbfImage_Name;target\r\na;0,5\r\n", "semicolons"),
        (b'"image_name"\t"target"\na\t1\n', "tabs"),
        (b"image_name | target\n", "vertical bars"),
        (b"image_name target", "spaces"),
    ],
)
def test_a_separator_other_than_a_comma_is_named(content, name):
    with pytest.raises(ValueError, match=f"t.csv is separated by {name}, expected commas: save it as"):
        csv_tables.refuse_separators("t.csv", content, ("image_name", "target"))


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"image_name,target;note\n", ("image_name",)),
        (b"image_name\n", ("image_name",)),
        # A required column is missing with any separator.
        (b"image_name;x\n", ("image_name", "target")),
        (b"a;b\n", ()),
        (b"", ("image_name",)),
    ],
)
def test_commas_and_single_columns_are_accepted(content, columns):
    csv_tables.refuse_separators("t.csv", content, columns)


def test_columns_get_their_known_spelling_unless_two_would_be_the_same():
    known = {"image_name", "target"}
    assert csv_tables.normalize_column_names(["Image_Name", "TARGET", "Note"], known) == [
        "image_name",
        "target",
        "Note",
    ]
    assert csv_tables.normalize_column_names(["Target", "target"], known) == ["Target", "target"]


def test_factorize_nonblank_numbers_texts_by_first_appearance():
    # Blank is unknown, whatever its place; "0" and "00" are different texts.
    codes = csv_tables.factorize_nonblank(pd.Series(["", "00", "0", "00", "", "b"], dtype=object))
    assert codes.tolist() == [-1, 0, 1, 0, -1, 2]
    assert codes.dtype == np.int64


def test_factorize_nonblank_accepts_no_known_text_and_no_rows():
    assert csv_tables.factorize_nonblank(pd.Series(["", ""], dtype=object)).tolist() == [-1, -1]
    assert csv_tables.factorize_nonblank(pd.Series([], dtype=object)).tolist() == []


def test_read_table_keeps_text_and_accepts_a_byte_order_mark(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfimage_name, patient_id,note\n007, 12 ,1e5\nNA,NA,\n")
    table = csv_tables.read_table(str(path), ("image_name", "patient_id"))
    # A word for a blank becomes one, except in image_name, because an image may have any name.
    assert table.to_numpy().tolist() == [["007", "12", "1e5"], ["NA", "", ""]]


def test_read_table_accepts_capitals_and_the_line_ends_of_any_system(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfImage_Name,TARGET,Sex,Clinic\r\nA,1,Male,X\r\n")
    table = csv_tables.read_table(str(path), ("image_name", "target"))
    # Known columns are renamed; values and other columns stay as they are.
    assert table.to_dict("list") == {"image_name": ["A"], "target": ["1"], "sex": ["Male"], "Clinic": ["X"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a comma-separated UTF-8 table"),
        (b"image_name;x\na;1\n", r"bad.csv is separated by semicolons, expected commas"),
        (b"image_name;x\na;0,5\nb;0,25\n", r"bad.csv is separated by semicolons, expected commas"),
        (b"image_name\n", "has a header but no rows"),
        (b"name,target\na,1\n", r"needs the columns image_name; it has only name, target"),
        (b"image_name,x\n\xff\xfe,1\n", "not a comma-separated UTF-8 table"),
        (b"image_name,x\na,1\nb,1,2,3\n", "not a comma-separated UTF-8 table"),
        (b"image_name,x\na,1,5\nb,0,6\n", "not a comma-separated UTF-8 table: Length of header"),
    ],
)
def test_read_table_names_what_is_wrong_with_a_file(tmp_path, content, message):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        csv_tables.read_table(str(tmp_path / "bad.csv"), ("image_name",))


def test_read_table_names_a_missing_file(tmp_path):
    with pytest.raises(ValueError, match=r"CSV file .*nothing.csv not found"):
        csv_tables.read_table(str(tmp_path / "nothing.csv"), ())


def test_refuse_repeats_counts_repeats_and_names_one():
    table = pd.DataFrame({"image_name": ["a", "b", "b", "a", "b"]})
    # b once more, a once more, b a third time.
    with pytest.raises(ValueError, match="t.csv must list every image once, but repeats 3, for example b; remove"):
        csv_tables.refuse_repeats("t.csv", table, "list")
    csv_tables.refuse_repeats("t.csv", table[:2], "list")


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (1, "'a'"), (2, "'a', 'b'"), (3, "'a', 'b' and 1 more"), (5, "'a', 'b' and 3 more")],
)
def test_describe_first_cases_quotes_at_most_two(count, expected):
    assert csv_tables.describe_first_cases(list("abcde")[:count], most=2) == expected
