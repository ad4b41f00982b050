"""One-hot columns become one diagnosis."""

import pytest
from table_makers import normalize

from tfrecord_tools import errors

CLASSES = {"MEL": "melanoma", "NV": "nevus", "UNK": ""}
COLUMNS = {"image_name": "image"}


def read(*lines, **fields):
    table = normalize(*lines, columns=COLUMNS, classes=CLASSES, **fields)
    words = table.rows["diagnosis_source"].tolist()
    return [finding.name if finding else "" for finding in table.rows["finding"]], words


def test_the_class_that_is_set_is_the_diagnosis_in_any_way_of_setting_it():
    rows = ("a,1.0,0.0", "b,0,1", "c,X,", "d,False,True", "e,0,0", "f,,")
    found = read("image,MEL,nv", *rows)
    assert found == (["melanoma", "nevus", "melanoma", "nevus", "", ""], ["MEL", "NV", "MEL", "NV", "", ""])


def test_no_class_means_what_the_format_says_where_all_are_filled():
    rows = ("a,1,0", "b,0,0", "c,0,", "d,,")
    assert read("image,MEL,NV", *rows, otherwise="nevus")[0] == ["melanoma", "nevus", "", ""]
    # Without the column of melanomas, that it is no nevus says nothing.
    assert read("image,NV", "a,1", "b,0", otherwise="nevus", recognized_by="image")[0] == ["nevus", ""]


def test_several_classes_and_other_values_are_refused():
    with pytest.raises(errors.IsicError, match=r"at most one class in each row, 1 have more \(first: row 2, MEL, NV\)"):
        read("image,MEL,NV", "a,1,0", "b,1,1")
    with pytest.raises(errors.IsicError, match="expected 0 or 1 in the column MEL, got '0.7'"):
        read("image,MEL,NV", "a,0.7,0.3")
