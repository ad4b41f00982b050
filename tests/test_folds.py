import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import folds


def test_group_codes_number_patients_in_order_and_keep_blanks_apart():
    assert folds.group_codes(["b", "", "a", "b", ""]).tolist() == [0, 1, 2, 0, 3]


def test_assign_places_a_case_worked_by_hand():
    # Patients: A two malignant images, B one, C one, D two benign. The hardest first: A, then B to the empty fold, then
    # C to B's fold (one malignant image against two), then D to either at four images: A's has two, B's and C's two.
    groups = np.array([0, 0, 1, 2, 3, 3])
    targets = np.array([1, 1, 1, 1, 0, 0])
    result = folds.assign(groups, targets, 2)
    assert result[0] == result[1]
    assert result[2] == result[3] != result[0]
    assert result[4] == result[5]


def test_no_patient_is_split_and_the_seed_decides_alone():
    rng = np.random.default_rng(0)
    groups = folds.group_codes([str(patient) for patient in rng.integers(0, 80, 1000)])
    targets = (rng.random(1000) < 0.05).astype(int)
    first, again, other = (folds.assign(groups, targets, 5, seed) for seed in (1, 1, 2))
    assert pd.Series(first).groupby(groups).nunique().max() == 1
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("num_folds", [1, 4])
def test_assign_refuses_more_folds_than_patients_and_less_than_two(num_folds):
    with pytest.raises(ValueError, match=f"from 2 to the 3 patients there are, got {num_folds}"):
        folds.assign(np.array([0, 1, 2]), np.array([0, 1, 0]), num_folds)


@pytest.mark.realdata
def test_folds_of_the_real_table_are_balanced(real_data):
    table = pd.read_csv(real_data / "isic2020" / "train.csv", keep_default_na=False)
    groups = folds.group_codes(table["patient_id"])
    table["fold"] = folds.assign(groups, table["target"], 5)
    assert table.groupby("patient_id")["fold"].nunique().max() == 1
    by_fold = table.groupby("fold").agg(
        images=("target", "size"), malignant=("target", "sum"), patients=("patient_id", "nunique")
    )
    assert by_fold["malignant"].between(116, 117).all()
    assert by_fold["images"].max() - by_fold["images"].min() <= 40
    assert by_fold["patients"].max() - by_fold["patients"].min() <= 1


def test_write_folds_writes_every_image_once(tmp_path, capsys):
    rows = [(f"i{number}", f"p{number // 2}", str(number % 4 // 3)) for number in range(12)]
    csv, output = tmp_path / "train.csv", tmp_path / "folds.csv"
    pd.DataFrame(rows, columns=["image_name", "patient_id", "target"]).to_csv(csv, index=False)
    folds.write_folds(str(csv), str(output), 3, 0)
    written = pd.read_csv(output)
    assert written["image_name"].tolist() == [row[0] for row in rows]
    assert sorted(set(written["fold"])) == [0, 1, 2]
    assert "malignant_share" in capsys.readouterr().out


def test_write_folds_refuses_a_name_that_comes_twice(tmp_path):
    (tmp_path / "train.csv").write_text("image_name,patient_id\na,1\na,2\n")
    with pytest.raises(ValueError, match="must name every image once, a comes twice"):
        folds.write_folds(str(tmp_path / "train.csv"), str(tmp_path / "folds.csv"), 2, 0)
