import pandas as pd
import pytest

from isic_tf.evaluation import label_columns
from tfrecord_tools import errors

ROWS = pd.DataFrame({"image_name": list("abcd"), "lesion_id": ["l1", "l2", "l2", ""]})


def read(table, columns, rows=ROWS):
    (raw,) = label_columns.read_raw_tables(table)
    return label_columns.read_texts(raw, columns, rows).to_dict("list")


def test_columns_are_read_by_image_in_any_spelling_of_their_name():
    table = pd.DataFrame({"isic_id": ["c", "a", "x"], "Skin Tone": ["3", None, "1"]})
    assert read(table, ["skin_tone"]) == {"skin_tone": ["", "", "3", ""]}


def test_columns_of_lesions_are_read_by_lesion():
    assert read(pd.DataFrame({"lesion_id": ["l2", "l1"], "dx": ["NV", "MEL"]}), ["dx"]) == {
        "dx": ["MEL", "NV", "NV", ""]
    }


def test_several_tables_are_separated_by_commas_and_the_first_that_has_a_column_counts(tmp_path):
    (tmp_path / "one.csv").write_text("image,dx\na,mel\n")
    (tmp_path / "two.csv").write_text("image_name,dx,clinic\na,nv,north\n")
    paths = f"{tmp_path}/one.csv,{tmp_path}/two.csv"
    tables = label_columns.read_raw_tables(paths)
    assert label_columns.name_labels(paths) == paths
    assert label_columns.require_table(tables, ["DX"], "--target").path.endswith("one.csv")
    assert label_columns.require_table(tables, ["dx", "clinic"], "--target").path.endswith("two.csv")
    with pytest.raises(
        errors.IsicError, match=r"column hospital \(--groups\) in .*one.csv and .*two.csv, which has only"
    ):
        label_columns.require_table(tables, ["dx", "hospital"], "--groups")


@pytest.mark.parametrize(
    ("table", "rows", "message"),
    [
        ({"image": ["a", "a"], "dx": "x"}, ROWS, "every image or lesion once, but repeats 1, for example a"),
        ({"dx": ["x"]}, ROWS, "the labels needs the column image_name or lesion_id; it has only dx"),
        ({"lesion_id": ["l1"], "dx": "x"}, ROWS[["image_name"]], "or lesions in another table of the labels"),
        ({"image": ["z"], "dx": "x"}, ROWS, "to have names in common"),
    ],
)
def test_tables_that_cannot_be_joined_are_refused(table, rows, message):
    with pytest.raises(errors.IsicError, match=message):
        read(pd.DataFrame(table), ["dx"], rows)
