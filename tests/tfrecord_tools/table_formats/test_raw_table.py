"""Only the columns that are needed are read, as they are in the file."""

import pytest
from table_makers import make_raw

from tfrecord_tools import errors
from tfrecord_tools.table_formats import raw_table


def test_columns_are_found_in_any_spelling_and_words_for_unknown_are_blank():
    table = make_raw("ISIC-ID,Sex,note", " a ,NA,x", "b,male,", '"c, d",null,y')
    found = table.read(["isic_id", "SEX"])
    assert {name: values.tolist() for name, values in found.items()} == {
        "isic_id": ["a", "b", "c, d"],
        "SEX": ["", "male", ""],
    }
    assert table.has("Isic Id")
    assert not table.has("age")


def test_a_file_may_begin_with_a_mark_and_with_blank_lines(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf\n,,\nimage,sex\na,male\n\n")
    table = raw_table.read_raw(str(path))
    assert table.header == ("image", "sex")
    assert table.read(["image"])["image"].tolist() == ["a"]


def test_a_column_that_is_there_twice_is_filled_in_or_refused():
    table = make_raw("image,sex,sex", "a,,male", "b,female,female")
    assert table.read(["sex"])["sex"].tolist() == ["male", "female"]
    with pytest.raises(errors.IsicError, match=r"two columns sex that contradict .* 1 rows \(first: 'male' and"):
        make_raw("image,sex,sex", "a,male,female").read(["sex"])


def test_a_row_that_is_longer_than_the_header_is_refused_although_its_end_is_not_read():
    with pytest.raises(errors.IsicError, match="row 2 has more values than the header has columns"):
        make_raw("image,site", "a,arm", "b,arm, left").read(["image"])
    assert make_raw("image,site", "a,arm,", "b").read(["site"])["site"].tolist() == ["arm", ""]


def test_text_that_spreadsheets_would_calculate_is_unmarked():
    assert make_raw("image", "'=1+1").read(["image"])["image"].tolist() == ["=1+1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\n\n", "with a header"),
        (b"image;sex\na;male;1\n", "row 1 has more values .* look for a semicolon in a text"),
        (b"image\tsex\n\xff\t1\n", "is not a tab-separated UTF-8 table"),
        (b"image\n\xff\xfe\n", "is not a comma-separated UTF-8 table"),
        (b'image,sex\n"a,male\n', "is not a comma-separated UTF-8 table"),
        (b'image,sex\n"a\nb",male\n', "a line of at most 1000 characters without control characters"),
        (b"," * 10_001 + b"a\n", "at most 10000 columns"),
    ],
)
def test_other_files_are_refused_in_one_line(content, message):
    with pytest.raises(errors.IsicError, match=message):
        raw_table.make_raw("a.csv", content).read(["image"])


@pytest.mark.parametrize(
    ("lines", "separator"),
    [
        (["image\tage\tnote", 'a\t45.0\t"x, y; z"', "b\t\t"], "\t"),
        (["image;age;note", 'a;45,0;"x, y; z"', "b;;"], ";"),
        (["image|age|note", "a|45.0|x, y; z", "b||"], "|"),
        (["image,age,note,a;b;c", 'a,45.0,"x, y; z",', "b,,,"], ","),
    ],
)
def test_the_separator_is_found_in_the_header(lines, separator):
    table = make_raw(*lines)
    assert table.separator == separator
    found = table.read(["image", "note", "age"])
    assert found["image"].tolist() == ["a", "b"]
    assert found["note"].tolist() == ["x, y; z", ""]
    assert found["age"].tolist() == ["45,0" if separator == ";" else "45.0", ""]


def test_rows_between_double_bars_are_a_table_and_other_lines_are_counted():
    lines = [
        "||  Name || Clinical Diagnosis || Streaks | Veil ||",
        "|| IMD1 ||   ||  A |  P ||",
        "|| IMD2 || 2 || , |  ||",
    ]
    table = make_raw(*lines, "", "Legends:", "2 - Melanoma\r")
    assert table.header == ("Name", "Clinical Diagnosis", "Streaks", "Veil")
    assert table.num_below == 2
    found = table.read(["Name", "Clinical Diagnosis", "Streaks", "Veil"])
    assert [values.tolist() for values in found.values()] == [["IMD1", "IMD2"], ["", "2"], ["A", ","], ["P", ""]]


def test_a_missing_file_is_named():
    with pytest.raises(errors.IsicError, match="none.csv not found"):
        raw_table.read_raw("none.csv")
