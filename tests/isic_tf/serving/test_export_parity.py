import harness
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import decoding
from isic_tf.serving import export_parity
from tfrecord_tools import errors
from tfrecord_tools.io import record_index, tf_example, tfrecord


def test_records_are_listed_with_metadata_and_labels(record_set, made_up):
    pattern = f"{record_set}/train*.tfrec"
    rows = export_parity.read_rows(pattern, None, ["sex"])
    assert {"shard", "position", "image_name", "sex"} <= set(rows)
    assert "target" not in rows
    labels = pd.read_csv(made_up / "train.csv").set_index("image_name")
    labeled = export_parity.read_rows(pattern, str(made_up / "train.csv"), [])
    assert labeled["image_name"].tolist() == rows["image_name"].tolist()
    assert labeled["target"].tolist() == labels.loc[rows["image_name"], "target"].tolist()
    assert labeled["patient_id"].tolist() == labels.loc[rows["image_name"], "patient_id"].tolist()


def test_labels_that_do_not_fit_are_refused(record_set, made_up, tmp_path):
    pattern = f"{record_set}/train*.tfrec"
    table = pd.read_csv(made_up / "train.csv")
    table.iloc[1:].to_csv(tmp_path / "labels.csv", index=False)
    first = table["image_name"].iloc[0]
    with pytest.raises(ValueError, match=rf"1 images of .* have no label in .*labels.csv \(first: {first}\)"):
        export_parity.read_rows(pattern, str(tmp_path / "labels.csv"), [])
    table.assign(target=0).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(ValueError, match="needs benign and malignant images, but those of .* are all of one class"):
        export_parity.read_rows(pattern, str(tmp_path / "labels.csv"), [])


def test_images_and_codes_are_read_in_the_order_of_the_rows(record_set):
    rows = export_parity.read_rows(f"{record_set}/train*.tfrec", None, ["age_approx", "sex"])
    # Gaps in the positions, and a shard that begins with one.
    rows = rows.iloc[1::2].reset_index(drop=True)
    found = list(export_parity.read_images(rows, 16, "age,sex"))
    assert np.stack([codes for _, codes in found]).tolist() == rows[["age_approx", "sex"]].to_numpy().tolist()
    shards = record_index.match_shards(f"{record_set}/train*.tfrec")
    files = {
        record["image_name"].numpy().decode(): record["image"]
        for record in (decoding.parse(each, False) for each in decoding.read(shards))
    }
    for name, (image, _) in zip(rows["image_name"], found, strict=True):
        assert np.array_equal(image, decoding.decode(files[name], 16))


def test_an_image_that_cannot_be_decoded_is_named(tmp_path):
    path = str(tmp_path / "train0-2.tfrec")
    image = tf.io.encode_png(tf.zeros([16, 16, 3], tf.uint8)).numpy()
    with open(path, "wb") as file:
        tfrecord.write(file, tf_example.to_example(image, "a"))
        tfrecord.write(file, tf_example.to_example(image[:-20], "b"))
    rows = export_parity.read_rows(path, None, [])
    with pytest.raises(errors.CorruptRecordError, match="train0-2.tfrec is corrupt at record 1: b: the image cannot"):
        list(export_parity.read_images(rows, 16, ""))
    network = harness.tiny("efficientnet-b0", 16, "none")
    with pytest.raises(errors.CorruptRecordError, match="train0-2.tfrec is corrupt at record 1: b: the image cannot"):
        export_parity.predict_run([network], rows, 16, "", 2)


def test_a_comparison_is_as_by_hand():
    rows = pd.DataFrame({"image_name": list("abcd"), "patient_id": ["p", "q", "", "r"], "target": [0, 1, 0, 1]})
    before, after = np.float32([0.1, 0.8, 0.2, 0.9]), np.float32([0.1, 0.8, 0.85, 0.9])
    table = export_parity.compare(rows, before, {"int8": after})
    # All four pairs are right before; of the benign c and the malignant b the order is wrong after.
    assert table["auc"].tolist() == [1, 0.75]
    assert table["drop"].tolist() == [0, 0.25]
    assert table["difference"].tolist() == [0, pytest.approx(0.65)]
    assert table["drop_low"].isna().all()
    cells = ["int8", "1.5", "6.5e-01", "0.7500", "0.2500", "no interval: fewer than 10 patients of a class"]
    assert export_parity.tabulate({"int8": 1.5}, table)[2] == cells
    many = pd.concat([rows.assign(patient_id=[f"{n}{k}" for k in range(4)]) for n in range(10)], ignore_index=True)
    many["image_name"] = many.index.astype(str)
    table = export_parity.compare(many, np.tile(before, 10), {"same": np.tile(before, 10), "int8": np.tile(after, 10)})
    assert table.loc[1, ["drop_low", "drop_high"]].tolist() == [0, 0]
    assert 0 < table.loc[2, "drop_low"] < 0.25 < table.loc[2, "drop_high"] < 0.5


def test_without_labels_only_the_predictions_are_compared():
    rows = pd.DataFrame({"image_name": ["a", "b"]})
    table = export_parity.compare(rows, np.float32([0.5, 0.25]), {"float32": np.float32([0.5, 0.5])})
    assert table.to_dict("list") == {"form": ["run", "float32"], "images": [2, 2], "difference": [0.0, 0.25]}
    assert export_parity.tabulate({"float32": 0.25}, table) == [
        ["form", "size, MB", "largest difference"],
        ["run", "", "0.0e+00"],
        ["float32", "0.2", "2.5e-01"],
    ]


def test_without_records_only_the_sizes_are_listed():
    assert export_parity.tabulate({"saved_model": 21.27}) == [["form", "size, MB"], ["saved_model", "21.3"]]


def test_every_form_that_differs_too_much_is_described():
    columns = {"form": ["run", "float16", "int8"], "difference": [0, 0.009, 0.4]}
    table = pd.DataFrame(columns)
    assert export_parity.find_faults(table) == [
        "a probability of int8 differs from the run by up to 4.0e-01, more than 0.1"
    ]
    table = table.assign(difference=0.0, drop=[0, 0.02, 0.009])
    assert export_parity.find_faults(table) == [
        "the ROC AUC of float16 is 0.0200 below that of the run, more than 0.01"
    ]
