import pandas as pd
import pytest

from tfrecord_tools.io import csv_output, csv_tables


@pytest.mark.parametrize(
    ("value", "marked"),
    [
        ("=1+1", "'=1+1"),
        ("+a", "'+a"),
        ("-cmd|' /C x'!A0", "'-cmd|' /C x'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        # Text that has the mark already gets another, so that reading gives back what was there.
        ("'=1", "''=1"),
        # Numbers, and names with these characters elsewhere.
        ("-1", "-1"),
        ("+4.5e-3", "+4.5e-3"),
        ("-.5", "-.5"),
        ("a=b", "a=b"),
        ("'a'", "'a'"),
        ("", ""),
        (-3, -3),
        (None, None),
    ],
)
def test_text_that_a_spreadsheet_would_calculate_is_marked(value, marked):
    assert csv_output.mark(value) == marked
    if isinstance(value, str):
        assert csv_output.unmark(marked) == value


def test_a_table_is_written_marked_and_read_back_as_it_was(tmp_path):
    table = pd.DataFrame({"image_name": ["=a", "-7", "'=b", "c"], "=note": ["@x", "", "y", "z"]})
    text = csv_output.format_table(table)
    assert text == "image_name,'=note\n'=a,'@x\n-7,\n''=b,y\nc,z\n"
    (tmp_path / "t.csv").write_text(text)
    assert (
        csv_tables.read_table(str(tmp_path / "t.csv"), ("image_name",)).to_numpy().tolist() == table.to_numpy().tolist()
    )


def test_a_table_without_such_text_is_written_as_pandas_does():
    table = pd.DataFrame({"image_name": ["a", "b"], "fold": [0, -1], "prediction": [0.1, 1e-9], "known": [None, True]})
    assert csv_output.format_table(table, float_format="%.3g") == table.to_csv(index=False, float_format="%.3g")
    assert csv_output.format_table(table[:0]) == table[:0].to_csv(index=False)
