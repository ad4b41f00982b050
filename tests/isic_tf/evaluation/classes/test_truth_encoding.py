import numpy as np
import pandas as pd
import pytest

from isic_tf.data.targets.class_set import ClassSet
from isic_tf.evaluation import label_columns
from isic_tf.evaluation.classes import truth_encoding
from tfrecord_tools import errors

CLASSES = ClassSet(("MEL", "NV"), ("MEL",))


def test_a_column_of_classes_is_read_in_any_case():
    truth, problems = truth_encoding.encode_column(pd.Series(["nv", "MEL", "", "BCC"]), CLASSES)
    assert truth.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert problems.tolist() == ["", "", "blank", "'BCC'"]


@pytest.mark.parametrize(
    ("row", "multi_label", "problem"),
    [
        (("1", "0.0"), False, ""),
        (("1.0", "1"), False, "several classes"),
        (("1.0", "1"), True, ""),
        (("0", "0"), False, "none of the classes"),
        (("0", "0"), True, ""),
        (("0.5", "1"), False, "MEL='0.5'"),
        (("1", ""), True, "NV=blank"),
    ],
)
def test_columns_of_0_and_1_name_one_class_unless_there_may_be_several(row, multi_label, problem):
    classes = ClassSet(CLASSES.names, CLASSES.positive, multi_label)
    _, problems = truth_encoding.encode_flags(pd.DataFrame([row], columns=["MEL", "NV"]), classes)
    assert problems.tolist() == [problem]


def test_images_without_a_class_are_listed_or_left_out(caplog):
    problems, names = pd.Series(["", "'BCC'", "blank", "'BCC'"]), pd.Series(list("abcd"))
    with pytest.raises(errors.IsicError, match=r"one of the classes MEL, NV .*got 2 'BCC', 1 blank \(first: b\)"):
        truth_encoding.settle(problems, names, "t.csv", CLASSES, allow_missing=False)
    kept = truth_encoding.settle(problems, names, "t.csv", CLASSES, allow_missing=True)
    assert kept.tolist() == [True, False, False, False]
    assert "3 images have none of the classes and are left out" in caplog.text
    with pytest.raises(errors.IsicError, match="no image has one of the classes"):
        truth_encoding.settle(problems[1:], names[1:], "t.csv", CLASSES, allow_missing=True)


def test_a_challenge_scores_the_images_with_a_weight():
    names = ["ISIC_0035068", "ISIC_0000001", "ISIC_0000002"]
    base = pd.DataFrame({"image_name": names})
    (table,) = label_columns.read_raw_tables(base.assign(MEL=1))
    assert truth_encoding.find_scored(table, base).tolist() == [False, True, True]
    (table,) = label_columns.read_raw_tables(base.assign(score_weight=[1.0, 0.0, 1.0]))
    assert truth_encoding.find_scored(table, base).tolist() == [False, False, True]
    (table,) = label_columns.read_raw_tables(base.assign(score_weight=[1.0, 0.5, 1.0]))
    with pytest.raises(errors.IsicError, match=r"score_weight to be 0 or 1, got '0.5' for ISIC_0000001"):
        truth_encoding.find_scored(table, base)
    assert np.array_equal(truth_encoding.find_scored(*label_columns.read_raw_tables(base), base), [False, True, True])
