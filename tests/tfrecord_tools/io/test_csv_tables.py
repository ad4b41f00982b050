import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import errors
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
        (b"", "bad.csv is empty, expected a table with a header and rows"),
        (b"\n\n", "bad.csv is empty"),
        (b"image_name;x\na;1\n", r"bad.csv is separated by semicolons, expected commas"),
        (b"image_name;x\na;0,5\nb;0,25\n", r"bad.csv is separated by semicolons, expected commas"),
        (b"image_name\n", "has a header but no rows"),
        (b"name,target\na,1\n", r"needs the columns image_name; it has only name, target"),
        (b"image_name,x\n\xff\xfe,1\n", "not a comma-separated UTF-8 table"),
        (
            b"image_name,x\na,1\nb,1,2,3\n",
            "bad.csv has 4 fields in line 3, expected the 2 of its header; correct line 3",
        ),
        (
            b"image_name,x\na,1,5\nb,0,6\n",
            "bad.csv has 3 fields in line 2, expected the 2 of its header; correct line 2",
        ),
        (b'image_name,x\n\na,"1\n2",3\n', "bad.csv has 3 fields in line 3, expected the 2 of its header"),
        (b"A title\nimage_name,x\na,1\n", "not a comma-separated UTF-8 table"),
        (b"isic_id;x\ra;1\r", r"bad.csv is separated by semicolons, expected commas"),
        ("image_name,x\na,1\n".encode("utf-16"), r"bad.csv is encoded in UTF-16, expected a CSV file; export it as"),
        ("image_name,x\na,1\n".encode("utf-16-le"), r"bad.csv has a zero byte \(the first at byte 1\), expected text"),
        (b"image_name,x\na\0,1\n", r"bad.csv has a zero byte \(the first at byte 14\), expected text in UTF-8"),
        (b"PK\x03\x04zip", r"bad.csv is an Excel workbook or a ZIP archive, expected a CSV file"),
        (b"image_name,x\n,1\na,2\n,3\n", r"the image_name of 2 is blank \(first: row 1\); fill it in, or delete"),
        (b'image_name,x\na,1\n"b,2\nc",3\n', r"image_name must be a line of .* row 2 has 'b,2\\nc'; look for a quot"),
        (b"image_name,sex\na,\x1bmale\n", r"sex must be a line of at most 1000 characters without control"),
        (b"image_name,x\n" + b"a" * 1001 + b",1\n", r"row 1 has 'a{79}\.\.\.; look for"),
        (b'image_name,x\n"a,1\nb,2\n', "not a comma-separated UTF-8 table: .*EOF inside string"),
        (
            b"image_name,sex,Sex\na,male,female\n",
            r"two columns for sex, sex and Sex, that contradict .*'male' and 'fem",
        ),
        (b"image_name,x,image_name\na,1,b\n", r"two columns for image_name, .* \(first: 'a' and 'b'\); remove or ren"),
    ],
)
def test_read_table_names_what_is_wrong_with_a_file(tmp_path, content, message):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        csv_tables.read_table(str(tmp_path / "bad.csv"), ("image_name",))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        # Line ends of old Macintoshes, quotation marks, blanks, and the blank rows that spreadsheets append.
        (b"image_name,x\ra,1\rb,2\r", [["a", "1"], ["b", "2"]]),
        (b'"image_name","x"\r\n"a","1, ""2"""\r\n', [["a", '1, "2"']]),
        (b"image_name , x\n a ,1 \n,\n , \n", [["a", "1"]]),
        (b"\n\nimage_name,x\na,1\n", [["a", "1"]]),
        # A column twice with the same values is one, and a blank one is filled in.
        (b"image_name,x,Image Name\na,1,\nb,2,b\n", [["a", "1"], ["b", "2"]]),
        # Other columns may have line breaks.
        (b'image_name,x\na,"1\n2"\n', [["a", "1\n2"]]),
        # The mark of text that a spreadsheet would calculate is removed.
        (b"image_name,x\n'=a,'b'\n", [["=a", "'b'"]]),
    ],
)
def test_read_table_accepts_what_other_programs_write(tmp_path, content, rows):
    (tmp_path / "t.csv").write_bytes(content)
    table = csv_tables.read_table(str(tmp_path / "t.csv"), ("image_name",))
    assert list(table) == ["image_name", "x"]
    assert table.to_numpy().tolist() == rows
    assert table.index.tolist() == list(range(len(rows)))


def test_a_directory_in_place_of_a_table_is_named(tmp_path):
    with pytest.raises(ValueError, match="expected a CSV file, got .*, which is a directory or a device; add a file"):
        csv_tables.read_table(str(tmp_path), ())


def test_semicolons_are_named_where_no_column_is_required():
    with pytest.raises(ValueError, match="t.csv is separated by semicolons"):
        csv_tables.refuse_separators("t.csv", b"image_id;gender;age\na;f;5\n", ())


def test_long_values_and_many_columns_are_cut_in_errors():
    assert csv_tables.describe_first_cases(["x" * 100]) == "'" + "x" * 79 + "..."
    table = pd.DataFrame(columns=[f"c{place}" for place in range(32)])
    assert csv_tables.describe_columns(table).endswith("c28, c29 and 2 more")


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


def test_every_damaged_table_is_read_or_refused_in_one_line(tmp_path):
    intact = b'image_name,patient_id,sex,target\nISIC_1,"IP, 1",male,0\nISIC_2,IP_2,,1\n'
    pieces = [b'"', b"\0", b"\r", b"\n", b",", b";", b"\xff", b"'", b"\t", b"=", b"\x1b", b"a" * 2000, b"sex,"]
    rng = np.random.default_rng(0)
    refusals = []
    for _ in range(60):
        content = bytearray(intact)
        for _ in range(rng.integers(1, 4)):
            place = rng.integers(len(content))
            content[place : place + rng.integers(3)] = pieces[rng.integers(len(pieces))]
        (tmp_path / "t.csv").write_bytes(content)
        try:
            csv_tables.read_table(str(tmp_path / "t.csv"), ("image_name",))
        except errors.IsicError as error:
            refusals.append(str(error))
    assert 10 < len(refusals) < 50
    assert max(len(refusal.splitlines()) for refusal in refusals) == 1
    assert max(map(len, refusals)) < 600


def test_columns_of_repeated_and_of_distinct_texts_are_cleaned_alike(tmp_path):
    path = tmp_path / "table.csv"
    # Ten texts that repeat, and as many as there are rows; among both blanks, words for a blank and texts to strip.
    few = ["a", " b ", "NA", "nan", "", "c d", "\u00a0e", "None", "f\u2003", "NAN"]
    lines = [f"i{row},{few[row % 10]},{few[row % 10]}{row if row % 10 in (0, 5) else ''}" for row in range(2000)]
    path.write_text("\n".join(["image_name,few,many", *lines]) + "\n", encoding="utf-8")
    table = csv_tables.read_table(str(path), ["image_name"])
    cleaned = ["a", "b", "", "", "", "c d", "e", "", "f", "NAN"]
    assert table["few"].tolist() == cleaned * 200
    expected = [f"{cleaned[row % 10]}{row if row % 10 in (0, 5) else ''}" for row in range(2000)]
    assert table["many"].tolist() == expected
