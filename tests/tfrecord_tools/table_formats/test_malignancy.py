"""Targets follow the policy, and a table's own truth where it is stated under that policy."""

import numpy as np
import pandas as pd
import pytest

from tfrecord_tools.table_formats import malignancy
from tfrecord_tools.table_formats.diagnoses import Diagnosis

MELANOMA = Diagnosis("melanoma", "malignant", True, "melanoma")
CARCINOMA = Diagnosis("basal cell carcinoma", "malignant", False, "basal cell carcinoma")
KERATOSIS = Diagnosis("actinic keratosis", "indeterminate", False, "actinic keratosis")
NEVUS = Diagnosis("nevus", "benign", False, "nevus")


def make_rows(findings, truth=None, truth_policy=""):
    count = len(findings)
    return pd.DataFrame(
        {
            "finding": pd.Series(findings, dtype=object),
            "diagnosis_source": pd.Series(["words" if finding else "" for finding in findings], dtype=object),
            "truth": pd.Series(truth or [""] * count, dtype=object),
            "truth_policy": pd.Series([truth_policy] * count, dtype=object),
        }
    )


@pytest.mark.parametrize(
    ("policy", "indeterminate", "expected"),
    [
        ("melanoma", "drop", ["1", "0", "", "0"]),
        ("malignant", "drop", ["1", "1", "", "0"]),
        ("malignant", "benign", ["1", "1", "0", "0"]),
        ("malignant", "malignant", ["1", "1", "1", "0"]),
    ],
)
def test_the_policy_decides_by_the_diagnosis(policy, indeterminate, expected):
    rows = make_rows([MELANOMA, CARCINOMA, KERATOSIS, NEVUS])
    target, reason = malignancy.decide_targets(rows, policy, indeterminate)
    assert target.tolist() == expected
    assert reason.tolist() == [malignancy.INDETERMINATE if value == "" else "" for value in expected]


def test_a_tables_own_truth_stands_under_its_own_policy():
    # As in ISIC 2024, which counts indeterminate ones as 0, and in ISIC 2020.
    rows = make_rows([KERATOSIS, NEVUS, ""], ["0", "1", "1"], "malignant")
    assert malignancy.decide_targets(rows, "malignant", "drop")[0].tolist() == ["0", "1", "1"]
    rows["truth_policy"] = "any"
    assert malignancy.decide_targets(rows, "melanoma", "malignant")[0].tolist() == ["0", "1", "1"]


def test_what_is_benign_is_no_melanoma_and_else_the_diagnosis_decides():
    rows = make_rows([KERATOSIS, MELANOMA, CARCINOMA, "", KERATOSIS], ["0", "1", "1", "1", "1"], "malignant")
    target, reason = malignancy.decide_targets(rows, "melanoma", "drop")
    assert target.tolist() == ["0", "1", "0", "", ""]
    assert reason.tolist()[3:] == [malignancy.NO_MELANOMA, malignancy.INDETERMINATE]


def test_a_melanoma_is_malignant_and_else_the_diagnosis_decides():
    rows = make_rows(["", CARCINOMA, "", NEVUS], ["1", "0", "0", "0"], "melanoma")
    target, reason = malignancy.decide_targets(rows, "malignant", "drop")
    assert target.tolist() == ["1", "1", "", "0"]
    assert reason.tolist()[2] == malignancy.NO_MALIGNANCY


def test_a_malignant_diagnosis_may_leave_open_whether_it_is_a_melanoma():
    collision = Diagnosis("collision", "malignant", False, "unknown", may_be_melanoma=True)
    rows = make_rows([collision])
    assert malignancy.decide_targets(rows, "malignant", "drop")[0].tolist() == ["1"]
    target, reason = malignancy.decide_targets(rows, "melanoma", "drop")
    assert (target.tolist(), reason.tolist()) == ([""], [malignancy.MAY_BE_MELANOMA])
    assert malignancy.decide_targets(rows, "melanoma", "benign")[0].tolist() == ["0"]
    first = np.array([collision] * 4, object)
    second = np.array([MELANOMA, CARCINOMA, KERATOSIS, NEVUS], object)
    assert malignancy.find_contradictions(first, second).tolist() == [False, False, False, True]


def test_why_there_is_no_target_is_said():
    rows = make_rows(["", "", MELANOMA])
    rows.loc[0, "diagnosis_source"] = "xyz"
    reasons = malignancy.decide_targets(rows, "melanoma", "drop")[1].tolist()
    assert reasons == [malignancy.NOT_UNDERSTOOD, malignancy.NO_LABEL, ""]


def test_what_a_table_says_for_sure_leaves_indeterminate_ones_open():
    rows = make_rows([MELANOMA, KERATOSIS, ""], ["", "", "1"])
    assert malignancy.decide_verdicts(rows, "malignant", "malignant").tolist() == ["1", "", "1"]
    assert malignancy.decide_verdicts(rows, "malignant", "melanoma").tolist() == ["1", "", ""]


def test_diagnoses_contradict_where_both_are_definite_and_differ():
    one = np.array([MELANOMA, MELANOMA, MELANOMA, NEVUS, MELANOMA, ""], object)
    other = np.array([CARCINOMA, NEVUS, KERATOSIS, NEVUS, "", ""], object)
    assert malignancy.find_contradictions(one, other).tolist() == [True, True, False, False, False, False]
