"""Formats are read from JSON and YAML, published ones from the package."""

import json

import pytest

from tfrecord_tools import errors
from tfrecord_tools.table_formats import table_format

YAML = """
# Values stay text: no is not false here.
name: clinic
recognized_by: [photo, histology]
columns:
  image_name: photo
  diagnosis: [histology, impression]
  sex: sex
classes: {MEL: melanoma}
values:
  sex: {no: male, 1: female}
  diagnosis:
    MM: melanoma
    odd: {diagnosis: oddity, malignancy: indeterminate}
target: {from: column, column: malignant, policy: malignant}
"""


def test_yaml_and_json_give_the_same_format(tmp_path):
    (tmp_path / "a.yaml").write_text(YAML)
    fields = {
        "name": "clinic",
        "recognized_by": ["photo", "histology"],
        "columns": {"image_name": "photo", "diagnosis": ["histology", "impression"], "sex": "sex"},
        "classes": {"MEL": "melanoma"},
        "values": {
            "sex": {"no": "male", "1": "female"},
            "diagnosis": {"MM": "melanoma", "odd": {"diagnosis": "oddity", "malignancy": "indeterminate"}},
        },
        "target": {"from": "column", "column": "malignant", "policy": "malignant"},
    }
    (tmp_path / "a.json").write_text(json.dumps(fields))
    found = table_format.read_format(str(tmp_path / "a.yaml"))
    assert found == table_format.read_format(str(tmp_path / "a.json"))
    assert found.values["sex"] == {"no": "male", "1": "female"}
    assert found.diagnoses["mm"].is_melanoma
    assert found.diagnoses["odd"].malignancy == "indeterminate"
    assert found.title == found.source == "clinic"
    assert found.used_columns == ("photo", "histology", "impression", "sex", "MEL", "malignant")
    assert found.label_columns == ("histology", "impression", "MEL", "malignant")


def test_what_a_format_does_not_say_it_is_told_by_follows_from_its_columns():
    fields = {"name": "a", "columns": {"image_name": ["x", "y"], "sex": "s"}, "classes": {"MEL": "melanoma"}}
    assert table_format.parse_format("a.yaml", fields).recognized_by == ("x", "MEL")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "is not a format in YAML"),
        ("name: &a b\nsource: *a", "refers to a value by an alias"),
        ("[" * 9, "is not a format in YAML"),
        ("[" * 60 + "]" * 60, "more than 50 lists and pairs in brackets"),
        ("name: a", "expected a column for image_name in columns, got none"),
        ("name: a\njoins: lesion\ncolumns: {image_name: x}", "expected a column for lesion_id"),
        ("name: ''\ncolumns: {image_name: x}", "expected a name of letters"),
        ("name: a\ncolums: {image_name: x}", "got 'colums'; did you mean columns"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, monkeypatch, text, message):
    monkeypatch.setattr(table_format, "_MOST_BRACKETS", 50)
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(errors.IsicError, match=message) as raised:
        table_format.read_format(str(path))
    assert "\n" not in str(raised.value)


def test_a_missing_and_a_large_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(errors.IsicError, match=r"or one of .*isic_tf.*; got 'nonesuch'"):
        table_format.read_format("nonesuch")
    monkeypatch.setattr(table_format, "_MAX_BYTES", 3)
    (tmp_path / "a.json").write_text("{   }")
    with pytest.raises(errors.IsicError, match="at most 1 MB"):
        table_format.read_format(str(tmp_path / "a.json"))


def test_every_published_format_is_named_after_its_file():
    published = table_format.list_published()
    assert {"isic_tf", "isic2019_truth"} <= set(published)
    assert all(name == each.name for name, each in published.items())
