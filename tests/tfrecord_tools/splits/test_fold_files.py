import pandas as pd
import pytest

from tfrecord_tools.splits import fold_files


def test_parse_accepts_whole_numbers_and_blanks_only():
    assert fold_files.parse_folds("the column", pd.Series(["0", "-1", "", "12.0"])).tolist() == [0, -1, -1, 12]
    with pytest.raises(
        ValueError,
        match="the column must hold whole numbers from 0, or -1 or a blank for .* a fold; got '-2', '1.5'; correct",
    ):
        fold_files.parse_folds("the column", pd.Series(["0", "-2", "1.5"]))


def test_read_accepts_an_index_joins_by_name_and_logs_the_differences(tmp_path, capsys):
    path = tmp_path / "train.index.csv"
    path.write_text(
        "shard,position,image_name,patient_id,target,fold\n"
        "train00-3.tfrec,0,b,p,1,1\ntrain00-3.tfrec,1,a,q,0,0\ntrain00-3.tfrec,2,x,q,0,\n"
    )
    assert fold_files.read_folds(str(path), pd.Series(["a", "b", "c"])).tolist() == [0, 1, -1]
    out = capsys.readouterr().out
    assert f"1 images of the table are not in {path}: 'c'" in out
    assert f"1 images of {path} are not in the table: 'x'" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0\na,1\n", "must list every image once, but repeats 1, for example a"),
        ("x,0\n", "lists none of the table's 2 images, but for example 'x'; check both paths"),
        ("a,one\n", "must hold whole numbers from 0, or -1 or a blank for images without a fold; got 'one'; correct"),
    ],
)
def test_read_refuses_files_that_are_not_folds_of_the_table(tmp_path, text, message):
    (tmp_path / "folds.csv").write_text(f"image_name,fold\n{text}")
    with pytest.raises(ValueError, match=message):
        fold_files.read_folds(str(tmp_path / "folds.csv"), pd.Series(["a", "b"]))


def test_images_without_a_fold_are_counted_and_the_first_named(tmp_path, capsys):
    path = tmp_path / "folds.csv"
    path.write_text("image_name,fold\na,0\nb,\nc,-1\nd,1\n")
    assert fold_files.read_folds(str(path), pd.Series(list("dcba"))).tolist() == [1, -1, -1, 0]
    assert f"note: 2 of 4 images have no fold in {path} (first: c); they are in no fold\n" in capsys.readouterr().out


def test_folds_are_found_whatever_the_spelling_of_a_name(capsys):
    table = pd.DataFrame({"image_name": ["ISIC_0000001", "b", "ISIC_0000003"], "fold": ["1", "0", "2"]})
    names = pd.Series(["isic_1_downsampled.jpg", "b", "c"], index=[5, 5, 7])
    folds, rows = fold_files.match_folds("f.csv", table, names)
    assert folds.tolist() == [1, 0, -1]
    assert rows.tolist() == [0, 1, -1]
    out = capsys.readouterr().out
    assert "note: 1 images are spelled in another way in f.csv (for example 'isic_1_downsampled.jpg'" in out
    assert "have no fold" not in out


def test_a_second_name_of_a_photograph_in_another_fold_is_refused():
    table = pd.DataFrame({"image_name": ["ISIC_0000001", "b", "isic_1.jpg"], "fold": ["0", "0", "1"]})
    with pytest.raises(ValueError, match=r"two names, 'ISIC_0000001' in fold '0' and 'isic_1.jpg' in fold '1'; give"):
        fold_files.match_folds("f.csv", table, pd.Series(["ISIC_0000001", "b"]))
    folds, _ = fold_files.match_folds("f.csv", table.assign(fold="1"), pd.Series(["ISIC_0000001", "b"]))
    assert folds.tolist() == [1, 1]
