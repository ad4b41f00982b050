import pandas as pd
import pytest

from isic_tf.data import label_tables
from tfrecord_tools import errors


@pytest.fixture
def write(tmp_path):
    def write_table(*lines):
        path = tmp_path / "labels.csv"
        path.write_text("\n".join(lines) + "\n")
        return str(path)

    return write_table


def test_labels_are_read_with_the_known_columns_that_are_there(write):
    path = write(
        "image_name,patient_id,target,fold,width,comment,age_approx,sex",
        "a,IP_1,0,0.0,6000,x,45,male",
        "b,,1,-1,,y,,",
    )
    table = label_tables.read_labels(path)
    assert list(table) == ["image_name", "patient_id", "target", "fold", "sex", "age_approx", "width"]
    assert table["target"].tolist() == [0, 1]
    assert table["patient_id"].tolist() == ["IP_1", ""]
    # Other tools write folds with decimals, and -1 where there is none.
    assert table["fold"].tolist() == ["0", ""]
    assert table["width"].tolist() == [6000, -1]
    assert table["width"].dtype == "int64"
    # Kept as text, for subgroups.
    assert table["age_approx"].tolist() == ["45", ""]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a,p,0", "a,p,1"], "labels.csv must label every image once"),
        (["a,p,0", "b,p,"], "must label every image, the target of b is blank; fill it in with 0 or 1"),
        (["a,p,2"], "labels.csv: .*2"),
    ],
)
def test_damaged_labels_are_refused(write, lines, message):
    with pytest.raises(errors.IsicError, match=message):
        label_tables.read_labels(write("image_name,patient_id,target", *lines))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("width", "wide", "labels.csv: the column width must hold whole numbers or blanks, got 'wide'"),
        ("bytes", "-5", "labels.csv: the column bytes must hold whole numbers or blanks, got '-5'"),
        ("age_approx", "old", "labels.csv: .*old"),
    ],
)
def test_damaged_numbers_are_refused(write, column, value, message):
    with pytest.raises(errors.IsicError, match=message):
        label_tables.read_labels(write(f"image_name,patient_id,target,{column}", f"a,p,0,{value}"))


def test_columns_are_encoded_by_the_schema():
    values = pd.Series(["male", "", "female", "male"])
    assert label_tables.encode_columns("t.csv", "sex", values).tolist() == [0, -1, 1, 0]
    with pytest.raises(errors.IsicError, match="^t.csv: .*3"):
        label_tables.encode_columns("t.csv", "target", pd.Series(["1", "3"]))
