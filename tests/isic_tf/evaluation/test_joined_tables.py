import re

import pandas as pd
import pytest

from isic_tf.data import label_tables
from isic_tf.evaluation import joined_tables
from tfrecord_tools import errors
from tfrecord_tools.io import manifest

LABELS = "image_name,patient_id,target,age_approx,width,height,source\na,p,0,45.0,6000,4000,x\nb,p,1,,640.0,480,\n"
PREDICTIONS = "image_name,prediction,fold\nb,0.9,1.0\na,0.1,-1\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "predictions.csv").write_text(PREDICTIONS)
    return tmp_path


def join(folder, records=None):
    labels = label_tables.read_labels(str(folder / "labels.csv"))
    return joined_tables.join(str(folder / "predictions.csv"), "labels.csv", labels, records)


def test_predictions_get_their_labels_by_name_in_the_labels_order(folder):
    table = join(folder)
    assert table.to_dict("records") == [
        {"image_name": "a", "prediction": 0.1, "fold": "", "patient_id": "p", "target": 0, "source": "x"}
        | {"age_approx": "45.0", "width": 6000, "height": 4000},
        {"image_name": "b", "prediction": 0.9, "fold": "1", "patient_id": "p", "target": 1, "source": ""}
        | {"age_approx": "", "width": 640, "height": 480},
    ]
    assert table["width"].dtype == "int64"


def test_a_column_of_the_predictions_goes_before_the_labels(folder):
    (folder / "predictions.csv").write_text("image_name,prediction,source,bytes\na,0.1,mine,123\nb,0.2,,\n")
    table = join(folder)
    assert table["source"].tolist() == ["mine", ""]
    assert table["bytes"].tolist() == [123, -1]


def test_a_submission_is_read_and_the_labels_own_target_stays(folder):
    (folder / "predictions.csv").write_text("image_name,target\nb,0.9\na,0.2\n")
    table = join(folder)
    assert (table["prediction"].tolist(), table["target"].tolist()) == ([0.2, 0.9], [0, 1])
    # An out-of-fold file says the same as the labels, or nothing.
    (folder / "predictions.csv").write_text("image_name,prediction,target\nb,0.9,1.0\na,0.2,\n")
    assert join(folder)["target"].tolist() == [0, 1]


def test_how_unlike_the_training_images_is_kept_where_it_is_known(folder):
    (folder / "predictions.csv").write_text("image_name,prediction,unlike\nb,0.9,1.25\na,0.2,\n")
    assert join(folder)["unlike"].fillna(-1).tolist() == [-1, 1.25]
    table = pd.DataFrame({"image_name": ["a"], "prediction": [0.5], "unlike": [None]})
    assert joined_tables.read_predictions(table)["unlike"].isna().all()


def test_the_diagnosis_is_kept_for_the_worst_errors(folder):
    (folder / "labels.csv").write_text("image_name,patient_id,target,diagnosis\na,p,0,nevus\nb,p,1,melanoma\n")
    assert join(folder)["diagnosis"].tolist() == ["nevus", "melanoma"]


def test_records_supply_what_the_tables_lack(folder, record_set, made_up):
    records = joined_tables.read_records(str(record_set / "train*.tfrec"))
    truth = pd.read_csv(made_up / "train.csv", keep_default_na=False, dtype=str)
    assert sorted(records["image_name"]) == sorted(truth["image_name"])
    assert "target" not in records
    assert (records["bytes"] > 300).all()
    both = records.merge(truth, on="image_name", suffixes=("", "_true"))
    for column in ("sex", "anatom_site_general_challenge"):
        assert both[column].tolist() == both[f"{column}_true"].tolist()
    known = both["age_approx_true"] != ""
    assert (
        both.loc[known, "age_approx"].astype(float).tolist()
        == both.loc[known, "age_approx_true"].astype(float).tolist()
    )
    # One image of the predictions is in the records: its own age stays, its file size comes.
    name = records["image_name"].iloc[0]
    for file in ("labels.csv", "predictions.csv"):
        text = (folder / file).read_text()
        (folder / file).write_text(text.replace("\na,", f"\n{name},"))
    table = join(folder, records).set_index("image_name")
    assert table.loc[name, ["bytes", "width", "age_approx"]].tolist() == [records["bytes"].iloc[0], 6000, "45.0"]
    assert table.loc["b", ["bytes", "sex"]].tolist() == [-1, ""]
    assert table["bytes"].dtype == "int64"
    assert not {"shard", "position"} & set(table)


def test_codes_of_records_that_no_table_confirmed_are_not_used(record_set, tmp_path, capsys):
    shard = next(record_set.glob("train*.tfrec"))
    (tmp_path / shard.name).symlink_to(shard)
    manifest.write_manifest(str(tmp_path), "train", [], unconfirmed_codes=["sex"])
    records = joined_tables.read_records(str(tmp_path / "train*.tfrec"))
    assert set(records["sex"]) == {""}
    assert (records["anatom_site_general_challenge"] != "").any()
    assert "note: sex of the records in 1 shards (first: " in capsys.readouterr().out


def test_shards_without_records_are_refused(tmp_path):
    (tmp_path / "train00-0.tfrec").touch()
    with pytest.raises(ValueError, match=r"the shards of '.*tfrec' hold no records; check --records"):
        joined_tables.read_records(str(tmp_path / "*.tfrec"))


def test_records_of_other_images_are_refused(folder):
    with pytest.raises(
        ValueError, match=r"none of the 2 images of .*predictions.csv is in the records; check --records"
    ):
        join(folder, pd.DataFrame({"shard": ["s"], "position": [0], "image_name": ["z"], "bytes": [1]}))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + "a,p,0,,1,1,x\n", "must label every image once, but repeats 1, for example a"),
        (LABELS.replace("a,p,0", "a,p,"), "must label every image, the target of a is blank"),
        (LABELS.replace("a,p,0", "a,p,benign"), "labels.csv: target must be 0 or 1, got 'benign'"),
        (LABELS.replace("45.0", "old"), "labels.csv: age_approx must be a number from 0 to 120 or blank, got 'old'"),
        (LABELS.replace("6000", "wide"), "labels.csv: the column width must hold whole numbers or blanks, got 'wide'"),
        (LABELS.replace("6000", "-7"), "the column width must hold whole numbers or blanks, got '-7'"),
        (
            LABELS.replace("a,p,0", "c,p,0"),
            r"1 images of .*predictions.csv have no label in labels.csv \(first: a\); add their labels",
        ),
        (LABELS.replace(",", ";"), "labels.csv is separated by semicolons, expected commas"),
        (LABELS.split("\n")[0] + "\n", "labels.csv has a header but no rows"),
    ],
)
def test_labels_that_do_not_fit_are_refused(folder, labels, message):
    (folder / "labels.csv").write_text(labels)
    with pytest.raises(ValueError, match=message):
        join(folder)


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ("", "predictions.csv is empty, expected a table"),
        ("image_name,prediction\n", "predictions.csv has a header but no rows"),
        (PREDICTIONS + "a,0.3,0\n", "must hold every image once, but repeats 1, for example a"),
        (PREDICTIONS.replace("0.9", "nan"), r"expected predictions from 0 to 1, 1 of 2 are not \(b\)"),
        (PREDICTIONS.replace("0.9", "1.5"), r"expected predictions from 0 to 1, 1 of 2 are not \(b\)"),
        (PREDICTIONS.replace("0.9", "high"), r"expected predictions from 0 to 1, 1 of 2 are not \(b\)"),
        ("image_name\tprediction\na\t0.1\n", "predictions.csv is separated by tabs, expected commas"),
        ("image_name;prediction\na;0,1\n", "predictions.csv is separated by semicolons, expected commas"),
        ("image_name,score\na,0.1\n", "predictions.csv needs a column prediction, or target as in a submission"),
        ("image_name,prediction,target\na,0.1,x\n", "predictions.csv: target must be 0 or 1, got 'x'"),
        ("image_name,prediction,unlike\na,0.1,-1\n", "expected numbers of 0 or more, or blanks, in the column unlike"),
        (
            "image_name,prediction,target\nb,0.1,0\na,0.2,0.0\n",
            r"predictions.csv and labels.csv have different targets for 1 images \(first: b\); check",
        ),
    ],
)
def test_damaged_predictions_are_refused(folder, predictions, message):
    (folder / "predictions.csv").write_text(predictions)
    with pytest.raises(ValueError, match=message):
        join(folder)


def test_a_byte_order_mark_and_capitals_are_accepted(folder):
    (folder / "labels.csv").write_text(
        "\ufeff" + LABELS.replace("image_name,patient_id,target", "Image_Name,Patient_ID,Target")
    )
    (folder / "predictions.csv").write_bytes(b"\xef\xbb\xbfIMAGE_NAME,Prediction\r\na,0.1\r\nb,0.9\r\n")
    assert join(folder)["target"].tolist() == [0, 1]


def test_labeled_images_without_a_prediction_are_refused_unless_allowed(capsys):
    labels = joined_tables.read_labels(
        pd.DataFrame({"image_name": list("abcd"), "patient_id": "", "target": [0, 1, 0, 1], "fold": [0, 0, 1, 1]})
    )
    predictions = pd.DataFrame({"image_name": list("ba"), "prediction": [0.5, 0.25]})
    text = "2 images of labels.csv have no prediction in predictions and are not evaluated (first: c)"
    with pytest.raises(errors.IsicError, match=f"^{re.escape(text)}; predict them, .* with --allow_missing$"):
        joined_tables.join(predictions, "labels.csv", labels)
    found = joined_tables.join(predictions, "labels.csv", labels, allow_missing=True)
    assert found["image_name"].tolist() == ["a", "b"]
    assert capsys.readouterr().out == f"note: {text}\n"


@pytest.mark.parametrize(("names", "missing"), [("ab", ""), ("abc", "d"), ("a", "b")])
def test_of_out_of_fold_predictions_only_images_of_their_folds_are_missed(names, missing, capsys):
    table = pd.DataFrame({"image_name": list("abcd"), "patient_id": "", "target": [0, 1, 0, 1], "fold": [0, 0, 1, 1]})
    folds = dict(zip(table["image_name"], table["fold"], strict=True))
    predictions = pd.DataFrame({"image_name": list(names), "prediction": 0.5, "fold": [folds[name] for name in names]})
    labels = joined_tables.read_labels(table)
    if missing:
        with pytest.raises(errors.IsicError, match=rf"^1 images of .* \(first: {missing}\)"):
            joined_tables.join(predictions, "labels.csv", labels)
    else:
        assert len(joined_tables.join(predictions, "labels.csv", labels)) == len(names)
    # Where the labels have no folds, it is said how many there are.
    joined_tables.join(predictions, "labels.csv", joined_tables.read_labels(table.drop(columns="fold")))
    assert f"note: {4 - len(names)} images of labels.csv have no prediction in" in capsys.readouterr().out


def test_predictions_without_a_label_are_left_out_where_that_is_allowed():
    labels = joined_tables.read_labels(pd.DataFrame({"image_name": ["a"], "patient_id": "unknown", "target": [1]}))
    predictions = pd.DataFrame({"image_name": ["x", "A.jpg"], "prediction": [0.5, 0.25]})
    with pytest.raises(errors.IsicError, match=r"1 images of predictions have no label in t \(first: x\); add"):
        joined_tables.join(predictions, "t", labels)
    found = joined_tables.join(predictions, "t", labels, allow_missing=True)
    # A name in another spelling is the same image, and a word for an unknown patient is none.
    assert found[["image_name", "patient_id", "prediction"]].to_numpy().tolist() == [["A.jpg", "", 0.25]]


def test_predictions_of_other_images_than_the_labels_are_refused_in_any_case():
    labels = joined_tables.read_labels(pd.DataFrame({"image_name": ["a"], "patient_id": "p", "target": [1]}))
    predictions = pd.DataFrame({"image_name": ["x"], "prediction": [0.5]})
    with pytest.raises(errors.IsicError, match="predictions and t to have names in common, got none .'x' in one"):
        joined_tables.join(predictions, "t", labels, allow_missing=True)
