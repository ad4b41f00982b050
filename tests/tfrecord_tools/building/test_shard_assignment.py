import pandas as pd
import pytest

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
