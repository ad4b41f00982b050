import re

import pandas as pd
import pytest

from tfrecord_tools import errors
from tfrecord_tools.building import shard_assignment


def table(patients, targets=None):
    count = len(patients)
    names = [f"i{number}" for number in range(count)]
    return pd.DataFrame({"image_name": names, "patient_id": list(patients), "target": targets or ["0"] * count})


def test_assign_packs_complete_patients_the_largest_first():
    # Sizes a 3, b 2, c 2, d 1 into two shards: a | b, then c beside b (2 < 3), then d beside a (3 < 4).
    rows = shard_assignment.assign_shards(table("aaabbccd"), num_shards=2, num_folds=0)
    assert rows.groupby("shard")["patient_id"].agg(lambda ids: "".join(sorted(set(ids)))).tolist() == ["ad", "bc"]
    assert (rows["fold"] == -1).all()


def test_assign_gives_each_fold_its_own_shards_and_leaves_no_gap():
    patients = [f"p{number % 7}" for number in range(40)]
    targets = [str(int(number % 5 == 0)) for number in range(40)]
    rows = shard_assignment.assign_shards(table(patients, targets), num_shards=7, num_folds=3)
    assert rows.groupby("shard")["fold"].nunique().max() == 1
    assert rows.groupby("patient_id")["shard"].nunique().max() == 1
    assert sorted(set(rows["shard"])) == list(range(rows["shard"].max() + 1))
    assert rows["shard"].max() < 7


def fold_table(folds):
    return pd.DataFrame({"image_name": [f"i{number}" for number in range(len(folds))], "fold": list(folds)})


def test_assign_takes_given_folds():
    rows = shard_assignment.assign_shards(
        table("aabc"), num_shards=4, num_folds=5, fold_table=fold_table(["1", "1.0", "0", "4"])
    )
    assert dict(zip(rows["image_name"], rows["fold"], strict=True)) == {"i0": 1, "i1": 1, "i2": 0, "i3": 4}


@pytest.mark.parametrize(
    ("folds", "num_shards", "message"),
    [
        ("110", 4, "the folds file must list every image, but lacks 'i3'; add these"),
        (["1", "1", "0", "-2"], 4, "must hold whole numbers from 0, or .* without a fold; got '-2'"),
        (["1", "1", "0", "0.5"], 4, "must hold whole numbers from 0, or .* without a fold; got '0.5'"),
        ("1011", 4, "puts 1 patients in two folds \\(for example a\\), which leaks"),
        ("1102", 2, "at least one shard for each of 3 folds, got num_shards=2; increase --num_shards"),
    ],
)
def test_assign_refuses_folds_that_do_not_fit(folds, num_shards, message):
    with pytest.raises(ValueError, match=message):
        shard_assignment.assign_shards(table("aabc"), num_shards, 5, fold_table(folds))


def test_images_that_a_folds_file_keeps_out_of_all_folds_get_shards_of_their_own():
    rows = shard_assignment.assign_shards(
        table("aabc"), num_shards=4, num_folds=5, fold_table=fold_table(["1", "-1", "0", ""])
    )
    assert dict(zip(rows["image_name"], rows["fold"], strict=True)) == {"i0": 1, "i1": -1, "i2": 0, "i3": -1}
    assert rows.groupby("shard")["fold"].nunique().max() == 1


def test_assign_refuses_a_folds_file_that_lists_an_image_twice():
    twice = pd.DataFrame({"image_name": ["i0", "i0"], "fold": ["0", "1"]})
    with pytest.raises(ValueError, match="the folds file must list every image once, but repeats 1, for example i0"):
        shard_assignment.assign_shards(table("a"), 4, 5, twice)


def test_lesions_and_photographs_stay_in_one_fold_and_shard_where_no_patient_is_known():
    rows = table([""] * 12).assign(lesion_id=[f"L{number // 2}" for number in range(10)] + ["", "-1"])
    rows["image_name"] = [*rows["image_name"][:10], "ISIC_0000001", "isic_1.jpg"]
    assigned = shard_assignment.assign_shards(rows, num_shards=4, num_folds=2).set_index("image_name")
    assert assigned[assigned["lesion_id"].str.startswith("L")].groupby("lesion_id")["shard"].nunique().max() == 1
    assert assigned["shard"]["ISIC_0000001"] == assigned["shard"]["isic_1.jpg"]
    assert assigned["fold"].value_counts().tolist() == [6, 6]


@pytest.mark.parametrize(
    ("columns", "leak"),
    [
        ({"patient_id": ["P1", "p1 ", "", ""]}, "1 patients in two folds (for example P1)"),
        ({"lesion_id": ["x", "X", "", ""]}, "1 lesions in two folds (for example x)"),
        (
            {"patient_id": ["P", "P", "", ""], "lesion_id": ["", "", "x", "x"]},
            "1 patients and 1 lesions in two folds (for example P)",
        ),
    ],
)
def test_a_folds_file_that_splits_patients_or_lesions_is_refused(columns, leak):
    rows = table([""] * 4).assign(**columns)
    with pytest.raises(errors.LeakageError, match=re.escape(f"f.csv puts {leak}, which leaks; put all images of")):
        shard_assignment.look_up_folds(rows, fold_table("0101"), "f.csv")


def test_a_folds_file_may_spell_names_in_another_way_but_not_split_a_photograph(capsys):
    rows = table([""] * 2).assign(image_name=["ISIC_0000001", "b"])
    folds = pd.DataFrame({"image_name": ["B.png", "isic_1_downsampled"], "fold": ["0", ""]})
    assert shard_assignment.look_up_folds(rows, folds, "f.csv").tolist() == [-1, 0]
    out = capsys.readouterr().out
    assert "note: 2 images are spelled in another way in f.csv" in out
    assert "note: 1 of 2 images have no fold in f.csv (first: ISIC_0000001); they are in no fold" in out
    rows = rows.assign(image_name=["ISIC_0000001", "isic_1"])
    folds = pd.DataFrame({"image_name": rows["image_name"], "fold": ["0", "1"]})
    with pytest.raises(errors.LeakageError, match="puts 1 photographs under two names in two folds"):
        shard_assignment.look_up_folds(rows, folds, "f.csv")


@pytest.mark.parametrize(("folds", "is_noted"), [([0, 1, 1], True), ([0, 0, 1], False), ([0, "", 1], False)])
def test_images_of_equal_bytes_in_two_folds_are_noted(folds, is_noted, capsys):
    index = pd.DataFrame({"image_name": list("abc"), "image_digest": ["0f", "0f", ""], "fold": folds})
    shard_assignment.log_copies(index)
    expected = "note: 1 photographs are under two names in two folds, with equal bytes (for example a and b); to"
    assert (expected in capsys.readouterr().out) == is_noted
