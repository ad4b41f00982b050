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
def test_the_separator_is_named_where_it_is_no_comma(content, name):
    with pytest.raises(ValueError, match=f"t.csv is separated by {name}, expected commas: save it as"):
        csv_tables.refuse_separators("t.csv", content, ("image_name", "target"))


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        (b"image_name,target;note\n", ("image_name",)),
        (b"image_name\n", ("image_name",)),
        # What is missing is another matter.
        (b"image_name;x\n", ("image_name", "target")),
        (b"a;b\n", ()),
        (b"", ("image_name",)),
    ],
)
def test_commas_and_single_columns_are_no_other_separator(content, columns):
    csv_tables.refuse_separators("t.csv", content, columns)


def test_columns_are_spelled_as_they_are_known_unless_two_would_be_one():
    known = {"image_name", "target"}
    assert csv_tables.normalize_column_names(["Image_Name", "TARGET", "Note"], known) == [
        "image_name",
        "target",
        "Note",
    ]
    assert csv_tables.normalize_column_names(["Target", "target"], known) == ["Target", "target"]
