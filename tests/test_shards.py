import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tfrecord_tools import shards


def table(patients, targets=None):
    count = len(patients)
    names = [f"i{number}" for number in range(count)]
    return pd.DataFrame({"image_name": names, "patient_id": list(patients), "target": targets or ["0"] * count})


def test_plan_packs_whole_patients_the_largest_first():
    # Sizes a 3, b 2, c 2, d 1 into two shards: a | b, then c beside b (2 < 3), then d beside a (3 < 4).
    rows = shards.plan(table("aaabbccd"), num_shards=2, num_folds=0)
    assert rows.groupby("shard")["patient_id"].agg(lambda ids: "".join(sorted(set(ids)))).tolist() == ["ad", "bc"]
    assert (rows["fold"] == -1).all()


def test_plan_gives_each_fold_its_own_shards_and_leaves_no_gap():
    patients = [f"p{number % 7}" for number in range(40)]
    targets = [str(int(number % 5 == 0)) for number in range(40)]
    rows = shards.plan(table(patients, targets), num_shards=7, num_folds=3)
    assert rows.groupby("shard")["fold"].nunique().max() == 1
    assert rows.groupby("patient_id")["shard"].nunique().max() == 1
    assert sorted(set(rows["shard"])) == list(range(rows["shard"].max() + 1))
    assert rows["shard"].max() < 7


def fold_table(folds):
    return pd.DataFrame({"image_name": [f"i{number}" for number in range(len(folds))], "fold": list(folds)})


def test_plan_takes_given_folds():
    rows = shards.plan(table("aabc"), num_shards=4, num_folds=5, fold_table=fold_table(["1", "1.0", "0", "4"]))
    assert dict(zip(rows["image_name"], rows["fold"], strict=True)) == {"i0": 1, "i1": 1, "i2": 0, "i3": 4}


@pytest.mark.parametrize(
    ("folds", "num_shards", "message"),
    [
        ("110", 4, "must give every image a fold from 0; not so 'i3: nan'"),
        (["1", "1", "0", "-1"], 4, "must give every image a fold from 0; not so 'i3: -1'"),
        (["1", "1", "0", "0.5"], 4, "must give every image a fold from 0; not so 'i3: 0.5'"),
        ("1011", 4, "puts 1 patients in two folds, a first: a leak"),
        ("1102", 2, "at least one shard for each of 3 folds, got num_shards=2"),
    ],
)
def test_plan_refuses_folds_that_do_not_fit(folds, num_shards, message):
    with pytest.raises(ValueError, match=message):
        shards.plan(table("aabc"), num_shards, 5, fold_table(folds))


def test_plan_refuses_a_folds_file_that_lists_an_image_twice():
    twice = pd.DataFrame({"image_name": ["i0", "i0"], "fold": ["0", "1"]})
    with pytest.raises(ValueError, match="must list every image once; not so 'i0'"):
        shards.plan(table("a"), 4, 5, twice)


def write(folder, count, convert, split="train"):
    rows = pd.DataFrame({"shard": np.arange(count) // 2})
    entries, in_place = shards.write(rows, convert, str(folder), split, workers=2)
    with in_place:
        shards.remove_others(str(folder), split, entries)
    return entries


def test_write_keeps_the_order_and_names_shards_by_their_counts(tmp_path):
    entries = write(tmp_path, 5, lambda row: str(row).encode())
    names = ["train00-2.tfrec", "train01-2.tfrec", "train02-1.tfrec"]
    assert [(entry["name"], entry["records"]) for entry in entries] == list(zip(names, (2, 2, 1), strict=True))
    assert [entry["bytes"] for entry in entries] == [(tmp_path / name).stat().st_size for name in names]
    read = [list(tf.data.TFRecordDataset(str(tmp_path / name)).as_numpy_iterator()) for name in names]
    assert read == [[b"0", b"1"], [b"2", b"3"], [b"4"]]


def test_nothing_is_in_place_before_the_last_shard_is_whole(tmp_path):
    rows = pd.DataFrame({"shard": [0, 1]})
    _, in_place = shards.write(rows, lambda row: b"new", str(tmp_path), "train", workers=1)
    assert all(path.name.startswith(".tmp-") for path in tmp_path.iterdir())
    in_place.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train00-1.tfrec", "train01-1.tfrec"]


def test_write_replaces_an_earlier_set_of_its_split_only_and_what_a_killed_run_left(tmp_path):
    write(tmp_path, 5, lambda row: b"old")
    write(tmp_path, 2, lambda row: b"test", "test")
    (tmp_path / ".tmp-77-train05-2.tfrec").touch()
    write(tmp_path, 4, lambda row: b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["test00-2.tfrec", "train00-2.tfrec", "train01-2.tfrec"]


def test_an_error_half_way_leaves_the_earlier_set_as_it_was(tmp_path):
    write(tmp_path, 4, lambda row: b"old")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def convert(row):
        if row == 3:
            raise ValueError("broken image")
        return b"new"

    with pytest.raises(ValueError, match="broken image"):
        write(tmp_path, 4, convert)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_foreign_shards_are_not_overwritten(tmp_path):
    (tmp_path / "train00-2071.tfrec").touch()
    with pytest.raises(ValueError, match="holds train shards without a manifest, as train00-2071.tfrec"):
        shards.refuse_foreign(str(tmp_path), "train")
    shards.refuse_foreign(str(tmp_path), "test")
