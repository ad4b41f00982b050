import pathlib

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


def test_patients_and_lesions_have_one_spelling_and_unknown_ones_are_blank(write, capsys):
    path = write(
        "image_name,patient_id,target,lesion_id",
        "a,IP_1,0,L1",
        "b,ip_ 1,1,unknown",
        "c,-1,1,l1",
        "d,IP_2,0,",
    )
    table = label_tables.read_labels(path)
    assert table["patient_id"].tolist() == ["IP_1", "IP_1", "", "IP_2"]
    assert table["lesion_id"].tolist() == ["L1", "", "L1", ""]
    assert capsys.readouterr().out.splitlines() == [
        f"note: {path}: 2 spellings of patient_id are 1 (for example 'IP_1' and 'ip_ 1')",
        f"note: {path}: 1 values of patient_id (such as '-1') stand for an unknown one; each of these images, or its "
        "lesion, counts as a patient",
        f"note: {path}: 2 spellings of lesion_id are 1 (for example 'L1' and 'l1')",
        f"note: {path}: 1 values of lesion_id (such as 'unknown') stand for an unknown one",
    ]


def test_labels_may_be_a_published_table_or_several(write, capsys):
    path = write("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC", "a,1,0,0,0,0,0,0,0", "b,0,0,0,1,0,0,0,0")
    metadata = pathlib.Path(path).with_name("metadata.csv")
    metadata.write_text("image,age_approx,anatom_site_general,lesion_id,sex\na,45,posterior torso,L1,male\n")
    table = label_tables.read_labels(f"{path},{metadata}")
    columns = ["image_name", "target", "lesion_id", "sex", "anatom_site_general_challenge"]
    assert table[columns].to_numpy().tolist() == [["a", 1, "L1", "male", "torso"]]
    assert "1 left out, since its diagnosis is indeterminate" in capsys.readouterr().out


def test_values_that_are_no_category_are_counted(capsys):
    values = pd.Series(["ARM", "torso", "", "leg", "ARM", "unknown"])
    found = label_tables.encode_columns("t.csv", "anatom_site_general_challenge", values)
    assert found.tolist() == [-1, 3, -1, -1, -1, -1]
    assert capsys.readouterr().out == (
        "note: t.csv: 3 values of anatom_site_general_challenge are not in the schema and taken as unknown: 'ARM', "
        "'leg'\n"
    )
