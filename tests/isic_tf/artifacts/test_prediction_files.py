import json

import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import prediction_files


def write(path, text):
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,0.1\na,0.2", "must hold every image once, but repeats 1, for example a"),
        ("a,0.1\nb,nan", r"p.csv: expected predictions from 0 to 1, 1 of 2 are not \(b\); correct these rows"),
        ("a,1.2\nb,0.3", r"expected predictions from 0 to 1, 1 of 2 are not \(a\)"),
        ("a,inf\nb,x", r"expected predictions from 0 to 1, 2 of 2 are not \(a, b\)"),
    ],
)
def test_damaged_prediction_files_are_refused(tmp_path, rows, message):
    path = write(tmp_path / "p.csv", f"image_name,prediction\n{rows}\n")
    with pytest.raises(ValueError, match=message):
        prediction_files.read_prediction_file(path)


def test_only_the_columns_asked_for_are_kept(tmp_path):
    path = write(tmp_path / "p.csv", "fold,image_name,note,prediction\n0,007,x,0.25\n1,b,y,1\n")
    table = prediction_files.read_prediction_file(path)
    assert table.to_dict("list") == {"image_name": ["007", "b"], "prediction": [0.25, 1.0]}
    assert table["prediction"].dtype == np.float64
    table = prediction_files.read_prediction_file(path, keep=("fold", "target"))
    assert list(table) == ["image_name", "prediction", "fold"]
    assert table["fold"].tolist() == ["0", "1"]


def test_a_submission_is_read_only_where_it_is_accepted(tmp_path):
    path = write(tmp_path / "s.csv", "image_name,target\na,0.5\n")
    table = prediction_files.read_prediction_file(path, submission=True)
    assert table.to_dict("list") == {"image_name": ["a"], "prediction": [0.5]}
    with pytest.raises(ValueError, match="s.csv needs the columns image_name, prediction"):
        prediction_files.read_prediction_file(path)
    # Where there are both, the target of an out-of-fold file is a label.
    both = write(tmp_path / "oof.csv", "image_name,target,prediction\na,1,0.5\n")
    assert prediction_files.read_prediction_file(both, submission=True)["prediction"].tolist() == [0.5]


def test_a_table_without_predictions_is_refused():
    table = pd.DataFrame({"image_name": ["a"], "score": ["0.5"]})
    with pytest.raises(ValueError, match="scores needs a column prediction, or target as in a submission; it has neit"):
        prediction_files.check_predictions("scores", table)


@pytest.mark.parametrize("value", ["far", "-0.5", "inf", "nan"])
def test_values_that_no_detector_gives_are_refused(value):
    with pytest.raises(ValueError, match=f"p.csv: expected numbers of 0 or more, or blanks, in the column .*{value}'"):
        prediction_files.parse_unlike("p.csv", pd.Series(["0", "", value]))


def tables(*names):
    return [pd.DataFrame({"image_name": list(text), "row": range(len(text))}) for text in names]


def test_tables_are_brought_into_the_order_of_the_first():
    joined, notes = prediction_files.join_by_name(["x", "y"], tables("bca", "abc"), "equal")
    assert [table["image_name"].tolist() for table in joined] == [["b", "c", "a"]] * 2
    assert [table["row"].tolist() for table in joined] == [[0, 1, 2], [1, 2, 0]]
    assert notes == []


def test_an_inner_join_keeps_the_common_images_and_notes_the_others():
    joined, notes = prediction_files.join_by_name(["x", "y", "z"], tables("abcd", "dxb", "bdy"), "inner")
    assert [table["row"].tolist() for table in joined] == [[1, 3], [2, 0], [0, 1]]
    assert notes == [
        "2 images are in all files; left out: 2 only in x (a, c); 1 only in y (x); 2 only in x (a, c); 1 only in z (y)"
    ]


def test_different_images_are_refused_unless_joined_inner():
    message = r"same images, but 4 only in x \(a, b, c, ...\); 1 only in y \(f\); use --join=inner to keep only the"
    with pytest.raises(ValueError, match=message):
        prediction_files.join_by_name(["x", "y"], tables("abcde", "ef"), "equal")
    with pytest.raises(ValueError, match="expected files of the same images, but no image is in all of x, y"):
        prediction_files.join_by_name(["x", "y"], tables("ab", "cd"), "inner")


def test_a_prediction_file_is_written_with_its_sidecar(tmp_path, capsys):
    path = str(tmp_path / "p.csv")
    table = pd.DataFrame({"image_name": ["a", "b"], "prediction": [0.25, 0.75], "fold": [0, 1]})
    prediction_files.write_predictions(path, table, patient_context=None, made_by="test", tta=8)
    assert (tmp_path / "p.csv").read_text() == "image_name,prediction,fold\na,0.25,0\nb,0.75,1\n"
    assert json.loads((tmp_path / "p.csv.json").read_text()) == {"patient_context": None, "made_by": "test", "tta": 8}
    assert capsys.readouterr().out == f"wrote 2 predictions to {path}, mean 0.5000\n"
    back = prediction_files.read_prediction_file(path)
    assert back["prediction"].tolist() == table["prediction"].tolist()


def test_nothing_is_written_where_a_prediction_is_invalid(tmp_path):
    table = pd.DataFrame({"image_name": ["a", "b"], "target": [0.5, np.nan]})
    with pytest.raises(ValueError, match=r"o.csv is not written: expected predictions from 0 to 1, 1 of 2 are not \(b"):
        prediction_files.write_predictions(str(tmp_path / "o.csv"), table, patient_context=False, made_by="test")
    assert list(tmp_path.iterdir()) == []


def test_names_in_another_spelling_are_joined_under_the_first_files_names(capsys):
    given = tables(["ISIC_0000001", "b"], ["b", "isic_1.jpg"])
    joined, notes = prediction_files.join_by_name(["1.csv", "2.csv"], given, "equal")
    assert [table["image_name"].tolist() for table in joined] == [["ISIC_0000001", "b"]] * 2
    assert notes == []
    assert "1 images are spelled in another way in 1.csv (for example 'isic_1.jpg'" in capsys.readouterr().out
    with pytest.raises(ValueError, match="'a.jpg' and 'a.png' are spellings of one photograph"):
        prediction_files.join_by_name(["1.csv", "2.csv"], tables(["A"], ["a.jpg", "a.png"]), "inner")
