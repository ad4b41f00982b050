"""Each distinct value is translated once, and counted."""

import numpy as np

from tfrecord_tools.table_formats import value_counts
from tfrecord_tools.table_formats.diagnoses import Diagnosis


def test_values_are_translated_once_each_and_counted():
    seen = []

    def rule(text):
        seen.append(text)
        return {"F": "female", "?": ""}.get(text)

    texts = np.array(["F", "", "x", "F", "?"], object)
    values, counts = value_counts.translate(texts, "sex", rule)
    assert values.tolist() == ["female", "", "", "female", ""]
    assert sorted(seen) == ["?", "F", "x"]
    assert [(count.original, count.became, count.rows, count.understood) for count in counts] == [
        ("F", "female", 2, True),
        ("?", "", 1, True),
        ("x", "", 1, False),
    ]


def test_a_diagnosis_is_counted_with_what_it_stands_for():
    count = value_counts.count_value("diagnosis", "MEL", Diagnosis("melanoma", "malignant", True, "melanoma"), 3)
    assert count.to_dict() == {
        "column": "diagnosis",
        "original": "MEL",
        "became": "melanoma",
        "rows": 3,
        "understood": True,
        "malignancy": "malignant",
        "category": "melanoma",
    }


def test_a_table_without_rows_has_no_values():
    assert len(value_counts.spread([], np.zeros(0, np.int64))) == 0
