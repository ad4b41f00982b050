import numpy as np
import pandas as pd
import pytest

from isic_tf.data import fold_split, mixture
from tfrecord_tools import errors, schema
from tfrecord_tools.io import duplicate_pairs


@pytest.fixture
def folders(tmp_path):
    """Three indexes with empty shards: two sets with folds, `a` and `b`, and one more, `c`."""
    sets = {
        "a": [("x0", "7", 0, 0), ("x1", "7", 1, 0), ("x2", "8", 0, 1), ("x3", "8", 1, 1), ("x4", "", 0, -1)],
        "b": [("y0", "7", 1, 1), ("y1", "7", 0, 1), ("y2", "IP_1", 0, 0), ("y3", "IP_1", 1, 0)],
        "c": [("x0", "7", 0, 0), ("z1", "IP_1", 1, 0), ("z2", "", 0, 3), ("z3", "", 1, 0), ("z4", "", -1, 0)],
    }
    for name, rows in sets.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "train00-5.tfrec").touch()
        table = pd.DataFrame(rows, columns=["image_name", "patient_id", "target", "fold"], dtype=str).replace("-1", "")
        table = table.assign(shard="train00-5.tfrec", position=range(len(rows)))
        table[list(schema.INDEX_COLUMNS)].to_csv(tmp_path / name / "train.index.csv", index=False)
    return {name: str(tmp_path / name) for name in sets}


def test_sets_become_one_table_in_order(folders):
    rows = mixture.read_sets(f"{folders['a']}, {folders['b']}", folders["c"], patients_are="different")
    assert " ".join(rows["image_name"]) == "x0 x1 x2 x3 x4 y0 y1 y2 y3 x0 z1 z2 z3 z4"
    assert rows["number"].tolist() == list(range(14))
    assert rows["extra"].tolist() == [False] * 9 + [True] * 5
    assert rows["source"].tolist() == [folders["a"]] * 5 + [folders["b"]] * 4 + [folders["c"]] * 5
    # The copy of x0 in another set is another record, with augmentation of its own.
    assert " ".join(rows["key"]) == "x0 x1 x2 x3 x4 y0 y1 y2 y3 x0#1 z1 z2 z3 z4"


def test_a_sets_own_patient_codes_are_not_those_of_another(folders):
    rows = mixture.read_sets(f"{folders['a']},{folders['b']}", folders["c"], patients_are="different")
    found = rows.set_index("key")["patient_id"]
    assert found["x0"] == "0:7"
    assert found["y0"] == "1:7"
    assert found["y2"] == found["z1"] == "IP_1"
    assert found["x4"] == ""
    assert mixture.read_sets(folders["a"])["patient_id"].tolist() == ["7", "7", "8", "8", ""]


@pytest.mark.parametrize(
    ("main", "extra", "message"),
    [
        ("a,a", "", "expected different directories"),
        ("a", "a", "expected different directories"),
        ("", "a", "expected different directories"),
        ("a,c", "", "1 images are in two sets of --data_dir .first: x0.; name one of the sets in --extra_data_dir"),
    ],
)
def test_sets_that_overlap_are_refused(folders, main, extra, message):
    main, extra = (",".join(folders[name] for name in text.split(",") if name) for text in (main, extra))
    with pytest.raises(ValueError, match=message):
        mixture.read_sets(main, extra)


def split(folders, fold, pairs=None):
    rows = mixture.read_sets(f"{folders['a']},{folders['b']}", folders["c"], patients_are="different")
    table = None if pairs is None else pd.DataFrame(pairs, columns=list(schema.PAIR_COLUMNS))
    kept, held_out, left_out = fold_split.split_rows(rows, fold, table)
    return kept["key"].tolist(), held_out["key"].tolist(), left_out


def test_extra_records_of_held_out_images_and_patients_are_left_out_and_counted(folders):
    kept, held_out, left_out = split(folders, 0)
    assert held_out == ["x0", "x1", "y2", "y3"]
    # x0#1 is a held-out image, z1 is of a held-out patient, z4 has no label.
    assert kept == ["x2", "x3", "y0", "y1", "z2", "z3"]
    assert left_out == {"without a label": 1, "with the name of a held-out image": 1, "of a held-out patient": 1}


def test_the_folds_of_extra_sets_do_not_matter_and_other_copies_stay(folders):
    kept, held_out, left_out = split(folders, 1)
    assert held_out == ["x2", "x3", "y0", "y1"]
    assert kept == ["x0", "x1", "y2", "y3", "x0#1", "z1", "z2", "z3"]
    assert left_out == {"without a label": 1}


@pytest.mark.parametrize(
    "pairs",
    [
        [("x1", "z3")],
        [("z3", "x1")],
        [("x1", "elsewhere"), ("z3", "elsewhere")],
        [("x1", "q"), ("q", "r"), ("z3", "r")],
    ],
)
def test_a_listed_duplicate_of_a_held_out_image_is_left_out_through_others_too(folders, pairs):
    kept, _, left_out = split(folders, 0, pairs)
    assert kept == ["x2", "x3", "y0", "y1", "z2"]
    assert left_out["listed as a duplicate of a held-out image"] == 1


def test_a_duplicate_that_folds_have_parted_is_not_trained_on(folders):
    kept, held_out, left_out = split(folders, 0, [("x1", "y0")])
    assert (kept, held_out) == (["x2", "x3", "y1", "z2", "z3"], ["x0", "x1", "y2", "y3"])
    assert left_out["listed as a duplicate of a held-out image"] == 1


def test_pairs_of_training_images_change_nothing(folders):
    assert split(folders, 0, [("z3", "x2"), ("z2", "y0")]) == split(folders, 0)


def rows_of(*groups):
    """Rows from (source, target, count)."""
    parts = [pd.DataFrame({"source": source, "target": target, "image_name": range(n)}) for source, target, n in groups]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [10, 990, 50, 50]),
        ({"malignant_oversampling": 3}, [30, 990, 150, 50]),
        ({"mix": {"a": 1, "c": 0.5}}, [10, 990, 25, 25]),
        ({"mix": {"a": 1, "c": 2}, "malignant_oversampling": 3}, [30, 990, 300, 100]),
        # 1,100 records as before, half of them malignant: 10:50 and 990:50 stay.
        ({"balance": 0.5}, [92, 524, 458, 26]),
    ],
)
def test_samples_per_epoch_worked_by_hand(options, expected):
    rows = rows_of(("a", 1, 10), ("a", 0, 990), ("c", 1, 50), ("c", 0, 50))
    rows, samples = mixture.weigh(rows, **{"mix": {"a": 1, "c": 1}, **options})
    assert samples.tolist() == expected
    assert rows.groupby("group").size().tolist() == [10, 990, 50, 50]


def test_two_ways_of_balance_at_once_are_refused():
    rows = rows_of(("a", 1, 10), ("a", 0, 990))
    with pytest.raises(ValueError, match=r"expected one of --balance=0.5 and --malignant_oversampling=2, not both"):
        mixture.weigh(rows, {"a": 1}, malignant_oversampling=2, balance=0.5)


def test_more_occurrences_than_there_are_seeds_are_refused():
    rows = rows_of(("a", 1, 10), ("a", 0, 990))
    with pytest.raises(ValueError, match="expected each record to occur less than 2048 times in an epoch, got 5000"):
        mixture.weigh(rows, {"a": 5}, malignant_oversampling=1000)


def test_the_plan_says_what_an_epoch_holds(folders):
    rows = mixture.read_sets(f"{folders['a']},{folders['b']}", folders["c"], patients_are="different")
    plan = mixture.plan_fold(rows, 1, mix="c=0.5", malignant_oversampling=2)
    assert plan.size == plan.samples_per_epoch.sum() == 9
    assert plan.text.splitlines() == [
        "fold1: 9 images per epoch, 4 (2 malignant) held out",
        "  left out: 1 without a label",
        f"  {folders['a']}: 2 malignant of 1, 1 benign of 1",
        f"  {folders['b']}: 2 malignant of 1, 1 benign of 1",
        f"  {folders['c']}: 2 malignant of 2, 1 benign of 2",
    ]
    text = mixture.plan_fold(rows, 1, groups=("positive", "negative")).text
    assert "4 (2 positive) held out" in text
    assert f"  {folders['c']}: 2 positive of 2, 2 negative of 2" in text


def test_mix_takes_a_folder_or_its_last_name():
    sources = ["data/a", "data/b/", "other/a"]
    assert mixture.parse_mix("", sources) == dict.fromkeys(sources, 1.0)
    assert mixture.parse_mix("b=0.5,other/a=2", sources) == {"data/a": 1, "data/b/": 0.5, "other/a": 2}
    assert mixture.parse_mix("b=0.5,c, d=2", [*sources, "data/c, d"])["data/c, d"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("q=1", "expected one of the sets data/a, data/b/, other/a in --mix, got 'q'"),
        ("a=1", "expected one of the sets"),  # two of them
        ("b", "expected --mix=SET=WEIGHT with a weight above 0 and up to 100, got 'b'"),
        ("b=0", "weight above 0"),
        ("b=nan", "weight above 0"),
        ("b=many", "weight above 0"),
    ],
)
def test_a_mix_that_does_not_fit_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        mixture.parse_mix(text, ["data/a", "data/b/", "other/a"])


def test_pairs_are_read_from_their_file(folders, tmp_path):
    (tmp_path / "pairs.csv").write_text("image_name_1,image_name_2\nx1,z3\n")
    rows = mixture.read_sets(f"{folders['a']},{folders['b']}", folders["c"], patients_are="different")
    plan = mixture.plan_fold(rows, 0, pairs=duplicate_pairs.read_pairs(str(tmp_path / "pairs.csv")))
    assert "z3" not in set(plan.rows["image_name"])
    assert np.isin(["z2"], plan.rows["image_name"]).all()


def test_numbers_that_may_be_the_same_people_need_an_answer(folders):
    directories = f"{folders['a']},{folders['b']}"
    with pytest.raises(
        errors.ConfigError,
        match="/a and .*/b share 1 numbers of patients or lesions .such as 7. that may be the same people: expected "
        "--patients_are=same or --patients_are=different, got neither; choose one, or index the sets again",
    ):
        mixture.read_sets(directories)
    assert mixture.read_sets(directories, patients_are="same")["patient_id"].tolist()[5:7] == ["0:7", "0:7"]
    # One set needs no answer.
    assert mixture.read_sets(folders["b"])["patient_id"].tolist() == ["7", "7", "IP_1", "IP_1"]


def test_the_same_people_in_two_sets_are_followed(folders):
    directories = f"{folders['a']},{folders['b']}"
    with pytest.raises(errors.LeakageError, match=r"fold 0 leaks: 1 patients are in training too \(first: 0:7\)"):
        mixture.plan_fold(mixture.read_sets(directories, patients_are="same"), 0)
    rows = mixture.read_sets(folders["a"], folders["b"], patients_are="same")
    plan = mixture.plan_fold(rows, 0)
    assert plan.rows["image_name"].tolist() == ["x2", "x3", "y2", "y3"]
    assert "left out: 2 of a held-out patient" in plan.text


def write_set(folder, rows, columns=("image_name", "patient_id", "target", "fold"), split="train"):
    """Writes an index with an empty shard."""
    folder.mkdir(exist_ok=True)
    (folder / f"{split}00-9.tfrec").touch()
    table = pd.DataFrame(rows, columns=list(columns), dtype=str)
    table = table.assign(shard=f"{split}00-9.tfrec", position=range(len(table)))
    table.reindex(columns=[*schema.INDEX_COLUMNS, *schema.OPTIONAL_INDEX_COLUMNS], fill_value="").to_csv(
        folder / f"{split}.index.csv", index=False
    )
    return str(folder)


def test_names_in_any_spelling_are_one_image_and_one_patient(tmp_path, capsys):
    main = [("ISIC_0000001", "IP_1", 0, 0), ("ISIC_0000002", "ip_1", 1, 0), ("b", "-1", 0, 1), ("c", "IP_2", 1, 1)]
    more = [("isic_1_downsampled", "", 0, ""), ("d", "Ip_ 1", 1, ""), ("e", "unknown", 1, ""), ("f", "IP_2", 0, "")]
    rows = mixture.read_sets(write_set(tmp_path / "a", main), write_set(tmp_path / "b", more))
    assert rows["patient_id"].tolist() == ["IP_1", "IP_1", "", "IP_2", "", "IP_1", "", "IP_2"]
    out = capsys.readouterr().out
    assert "2 values of patient_id (such as '-1') stand for an unknown one" in out
    assert "3 spellings of patient_id are 1 (for example 'IP_1' and 'ip_1')" in out
    assert "2 spellings of image_name are 1 (for example 'ISIC_0000001' and 'isic_1_downsampled')" in out
    plan = mixture.plan_fold(rows, 0)
    assert plan.rows["image_name"].tolist() == ["b", "c", "e", "f"]


def test_one_photograph_in_two_sets_with_folds_is_refused_in_any_spelling(tmp_path):
    one = write_set(tmp_path / "a", [("ISIC_0000001", "", 0, 0)])
    other = write_set(tmp_path / "b", [("ISIC_0000001_downsampled", "", 0, 1)])
    with pytest.raises(errors.ConfigError, match="1 images are in two sets of --data_dir .first: ISIC_0000001_down"):
        mixture.read_sets(f"{one},{other}")


def test_pseudo_labels_are_joined_in_any_spelling_of_the_name(tmp_path, capsys):
    main = write_set(tmp_path / "a", [("a", "7", 0, 0), ("b", "8", 1, 1)])
    write_set(tmp_path / "a", [("ISIC_0000009", "9", "", ""), ("t", "7", "", "")], split="test")
    predictions = tmp_path / "scores.csv"
    predictions.write_text("image_name,prediction\nt,0.2\nisic_9.jpg,0.8\nelsewhere,0.5\n")
    rows = mixture.read_sets(main, pseudo_csv=str(predictions))
    assert rows["label"].tolist() == [0, 1, 0.8, 0.2]
    assert rows["pseudo"].tolist() == [False, False, True, True]
    assert "1 images are spelled in another way" in capsys.readouterr().out
    # Both splits of a directory number the same patients.
    assert rows["patient_id"].tolist() == ["7", "8", "9", "7"]
    assert mixture.plan_fold(rows.assign(fold=[0, 1, -1, -1], target=[0, 1, 1, 0]), None).size == 4


def test_labels_of_labeled_images_are_mixed_with_predictions_by_the_weight(tmp_path):
    main = write_set(tmp_path / "a", [("a", "7", 0, 0), ("b", "8", 1, 1), ("c", "9", 1, 0)])
    write_set(tmp_path / "a", [("t", "7", "", ""), ("u", "7", "", "")], split="test")
    predictions = tmp_path / "scores.csv"
    predictions.write_text("image_name,prediction\na,0.6\nb,0.8\nt,0.2\n")
    rows = mixture.read_sets(main, pseudo_csv=str(predictions), pseudo_weight=0.25)
    # An image that the file does not name keeps its label; a test image has that of the file, or is left out.
    assert rows["image_name"].tolist() == ["a", "b", "c", "t"]
    assert rows["label"].tolist() == pytest.approx([0.25 * 0.6, 0.75 + 0.25 * 0.8, 1, 0.2])
    # What is compared with the records, counted and held out is the label itself.
    assert rows["target"].tolist() == [0, 1, 1, 0]
    assert rows["pseudo"].tolist() == [False, False, False, True]
    (tmp_path / "scores.csv").write_text("image_name,prediction\nelsewhere,0.2\n")
    with pytest.raises(errors.IsicError, match="names none of the 5 images in these sets"):
        mixture.read_sets(main, pseudo_csv=str(predictions), pseudo_weight=0.25)


@pytest.mark.parametrize("name", ["ISIC_0000000_downsampled", "isic_0000000.JPG"])
def test_the_other_name_of_a_held_out_photograph_is_left_out_of_extra_data_and_of_pseudo_labels(tmp_path, name):
    main = [("ISIC_0000000", "", 0, 0), ("b", "", 1, 0), ("c", "", 0, 1), ("d", "", 1, 1)]
    extra = [(name, "", 1, ""), ("e", "", 1, "")]
    directories = write_set(tmp_path / "a", main), write_set(tmp_path / "b", extra)
    plan = mixture.plan_fold(mixture.read_sets(*directories), 0)
    assert plan.rows["image_name"].tolist() == ["c", "d", "e"]
    assert "left out: 1 with the name of a held-out image" in plan.text
    # The same image without a label, to which the prediction of its other name belongs.
    write_set(tmp_path / "b", [(name, "", "", ""), ("e", "", "", "")])
    (tmp_path / "scores.csv").write_text("image_name,prediction\nISIC_0000000,0.9\ne,0.8\n")
    rows = mixture.read_sets(*directories, pseudo_csv=str(tmp_path / "scores.csv"))
    assert rows["label"].tolist() == [0, 1, 0, 1, 0.9, 0.8]
    assert mixture.plan_fold(rows, 0).rows["image_name"].tolist() == ["c", "d", "e"]
    assert mixture.plan_fold(rows, 1).rows["image_name"].tolist() == ["ISIC_0000000", "b", name, "e"]
