import pandas as pd
import pytest

from isic_tf.data import targets

ROWS = pd.DataFrame(
    {
        "image_name": ["a", "b", "ISIC_0000003", "d", "e"],
        "source": ["one", "one", "one", "two", "one"],
        "extra": [False, False, False, True, False],
        "fold": [0, 1, 0, -1, -1],
        "target": [0, 0, 0, -1, 0],
        "label": [0.0, 0.0, 0.0, -1.0, 0.0],
    }
)


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_classes_are_the_sorted_values_of_the_main_sets(tmp_path):
    # `e` is in no fold, and so never used.
    path = write(tmp_path / "t.csv", "image,dx,x", "a,NV,0", "b,MEL,1", "isic_3.jpg,BCC,0", "d,NV,1", "z,other,0")
    rows, classes = targets.add_labels(ROWS, path, "column:dx", positive_classes="MEL,BCC")
    assert classes == targets.ClassSet(("BCC", "MEL", "NV"), ("BCC", "MEL"))
    assert rows["target"].tolist() == [0, 1, 1, 0, -1]
    assert rows["label"].tolist() == [0, 1, 1, 0, -1]
    assert targets.label(rows[:4], "column:dx", classes).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert rows["image_name"].tolist() == ROWS["image_name"].tolist()


def test_several_columns_are_labels_of_their_own(tmp_path):
    path = write(tmp_path / "t.csv", "image,MEL,Ulcer", "a,0.0,1", "b,1,1", "isic_3,0,0", "d,1,0")
    rows, classes = targets.add_labels(ROWS, path, "columns:ulcer,MEL")
    assert classes == targets.ClassSet(("ulcer", "MEL"), ("MEL",), multi_label=True)
    assert rows["target"].tolist() == [0, 1, 0, 1, -1]
    assert targets.label(rows[:4], "columns:ulcer,MEL", classes).tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("target", "classes", "message"),
    [
        ("column:dx", "", "one of the classes BCC, MEL in the column dx .* got 1 blank or not .*, 1 'NV' .first: b."),
        ("column:dx", "MEL,NV", "one of the classes MEL, NV in .* got 1 'BCC', 1 blank or not in the table .first: a."),
        ("columns:MEL,BAD", "", "t.csv: expected 0 or 1 in the column BAD .* got 2 '2', 1 blank .*; correct the table"),
        ("column:stage", "", "needs the columns image_name, stage; it has only image, dx, MEL, BAD"),
    ],
)
def test_values_that_are_no_class_are_listed_with_their_counts(tmp_path, target, classes, message):
    path = write(tmp_path / "t.csv", "image,dx,MEL,BAD", "a,BCC,0,2", "b,,1,1", "isic_3,MEL,0,2", "d,NV,1,")
    with pytest.raises(ValueError, match=message):
        targets.add_labels(ROWS, path, target, classes, "MEL")
