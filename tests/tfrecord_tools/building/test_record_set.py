import dataclasses

import pandas as pd
import pytest

from tfrecord_tools.building import record_set

FIELDS = {"directory": "records", "split": "train", "records": 3, "shards": ("records/train00-3.tfrec",)}


def test_a_record_set_skips_no_image_unless_it_says_so():
    assert record_set.RecordSet(**FIELDS).skipped == ()
    assert record_set.RecordSet(**FIELDS, skipped=("a", "b")).skipped == ("a", "b")


def test_record_sets_are_compared_by_value():
    assert record_set.RecordSet(**FIELDS) == record_set.RecordSet(**FIELDS)
    assert record_set.RecordSet(**FIELDS) != record_set.RecordSet(**{**FIELDS, "split": "test"})
    assert len({record_set.RecordSet(**FIELDS), record_set.RecordSet(**FIELDS)}) == 1


def test_a_record_set_cannot_be_changed():
    found = record_set.RecordSet(**FIELDS)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'records'"):
        found.records = 4


def test_fields_are_given_by_name_and_none_may_be_missing():
    with pytest.raises(TypeError, match="positional"):
        record_set.RecordSet(*FIELDS.values())
    with pytest.raises(TypeError, match="missing .* 'shards'"):
        record_set.RecordSet(**{name: value for name, value in FIELDS.items() if name != "shards"})


@pytest.mark.parametrize(
    ("patients", "lesions", "text"),
    [
        (["P1", "p1", "P2"], ["", "", "x"], "2 patients"),
        (["", "-1", "nan"], ["x", "X", ""], "unknown patients (3 records, 1 lesions)"),
        (["P1", "", ""], ["x", "", ""], "1 patients and unknown patients (2 records)"),
    ],
)
def test_people_are_counted_in_whatever_spelling_and_unknown_ones_apart(patients, lesions, text):
    assert record_set.describe_people(pd.DataFrame({"patient_id": patients, "lesion_id": lesions})) == text


def test_shards_are_summarized_and_what_was_left_out_is_logged(capsys):
    entries = [
        {"shard": {"name": "train00-2.tfrec", "records": 2}, "skipped": [], "tags": {"files": 2, "sex": 1}},
        {
            "shard": {"name": "train01-0.tfrec", "records": 0},
            "skipped": [{"image_name": "c", "problem": "c.jpg is damaged"}],
            "tags": {"files": 1, "sex": 1, "age_approx": 1},
        },
    ]
    built = record_set.summarize("out", "train", entries)
    assert (built.records, built.shards, built.skipped) == (2, ("out/train00-2.tfrec",), ("c",))
    record_set.log_summary(built, pd.DataFrame({"patient_id": ["P1", "P2"], "lesion_id": ["", ""]}), entries)
    assert capsys.readouterr().out == (
        "train: 2 records of 2 patients in 1 shards in out\n"
        "train: tags of 3 DICOM files differ from the table, whose values are used: sex 2, age_approx 1\n"
        "train: 1 images skipped and listed in the manifest (first: c.jpg is damaged)\n"
    )
    assert record_set.count_tags([{"tags": {}}]) == {}
