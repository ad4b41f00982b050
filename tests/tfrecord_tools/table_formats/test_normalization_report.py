"""The report says what became of every row and every value."""

import json

from table_makers import make_raw

from tfrecord_tools.table_formats import normalization, normalization_report
from tfrecord_tools.table_formats.config import TablesConfig
from tfrecord_tools.table_formats.value_counts import ValueCount

RAW = make_raw(
    "image_name,sex,age_approx,diagnosis,hospital",
    "a,F,50,melanoma,x",
    "b,X,,nevus,y",
    "c,male,50,actinic keratosis,y",
    "c,male,50,actinic keratosis,y",
    ",,,,",
    path="own.csv",
)
EXPECTED = """\
policy: target 1 is melanoma alone; every other diagnosis is 0; images with an indeterminate diagnosis are left out

tables:
  own.csv: 5 rows, read as this package's own columns (isic_tf)
    columns that are not used: hospital

images: 3, kept: 2
  left out, since blank row: 1
  left out, since it repeats another row of its table: 1
  left out, since its diagnosis is indeterminate: 1

sources:
  isic_tf: 2 images, 1 with target 1, 1 with target 0, 0 without target, 0 patients, 0 lesions

what each diagnosis became:
  isic_tf, actinic keratosis -> left out: 1
  isic_tf, melanoma -> target 1: 1
  isic_tf, nevus -> target 0: 1

sex:
  male -> male: 2
  F -> female: 1

age_approx:
  50 -> 50: 3
  (blank) -> unknown: 1

diagnosis:
  actinic keratosis -> actinic keratosis (indeterminate; category actinic keratosis): 2
  melanoma -> melanoma (malignant; category melanoma): 1
  nevus -> nevus (benign; category nevus): 1

values that are not understood, and became unknown:
  sex 'X': 1
"""


def make_report():
    return normalization.normalize([RAW], TablesConfig(tables=("own.csv",)))[1]


def test_the_text_says_everything():
    assert make_report().to_text() == EXPECTED


def test_the_json_has_the_same_figures():
    report = json.loads(json.dumps(make_report().to_dict()))
    assert report["policy"] == "melanoma"
    assert (report["rows_read"], report["images"], report["rows_kept"]) == (5, 3, 2)
    assert report["dropped"]["its diagnosis is indeterminate"] == 1
    assert report["dropped_images"] == {"its diagnosis is indeterminate": ["c"]}
    assert report["not_understood"][0]["original"] == "X"
    assert report["tables"][0]["unused_columns"] == ["hospital"]
    assert {"source": "isic_tf", "diagnosis_source": "melanoma", "diagnosis": "melanoma", "target": "1", "rows": 1} in (
        report["outcomes"]
    )


def test_of_long_lists_the_text_has_the_first_and_says_so(monkeypatch):
    monkeypatch.setattr(normalization_report, "_MOST_LINES", 1)
    assert "  and 2 more, which the JSON report lists" in make_report().to_text()


def test_counts_of_several_tables_are_added_up():
    counts = [ValueCount("sex", "M", "male", 2), ValueCount("sex", "M", "", 1), ValueCount("sex", "M", "male", 3)]
    assert [count.rows for count in normalization_report.merge_counts(counts)] == [5, 1]
