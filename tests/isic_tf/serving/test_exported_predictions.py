import harness
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import decoding
from isic_tf.serving import exported_predictions
from tfrecord_tools import errors
from tfrecord_tools.io import record_index, tf_example, tfrecord


def test_records_are_listed_with_metadata_and_labels(record_set, made_up):
    pattern = f"{record_set}/train*.tfrec"
    rows = exported_predictions.read_rows(pattern, None, ["sex"])
    assert {"shard", "position", "image_name", "sex"} <= set(rows)
    assert "target" not in rows
    labels = pd.read_csv(made_up / "train.csv").set_index("image_name")
    labeled = exported_predictions.read_rows(pattern, str(made_up / "train.csv"), [])
    assert labeled["image_name"].tolist() == rows["image_name"].tolist()
    assert labeled["target"].tolist() == labels.loc[rows["image_name"], "target"].tolist()
    assert labeled["patient_id"].tolist() == labels.loc[rows["image_name"], "patient_id"].tolist()
    # Without labels, from the index.
    of_index = exported_predictions.read_rows(pattern, None, ["sex"], with_patients=True)
    assert of_index["patient_id"].tolist() == labeled["patient_id"].tolist()


def test_labels_that_do_not_fit_are_refused(record_set, made_up, tmp_path):
    pattern = f"{record_set}/train*.tfrec"
    table = pd.read_csv(made_up / "train.csv")
    table.iloc[1:].to_csv(tmp_path / "labels.csv", index=False)
    first = table["image_name"].iloc[0]
    with pytest.raises(ValueError, match=rf"1 images of .* have no label in .*labels.csv \(first: {first}\)"):
        exported_predictions.read_rows(pattern, str(tmp_path / "labels.csv"), [])
    table.assign(target=0).to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(ValueError, match="needs benign and malignant images, but those of .* are all of one class"):
        exported_predictions.read_rows(pattern, str(tmp_path / "labels.csv"), [])


def test_images_and_codes_are_read_in_the_order_of_the_rows(record_set):
    rows = exported_predictions.read_rows(f"{record_set}/train*.tfrec", None, ["age_approx", "sex"])
    # Gaps in the positions, and a shard that begins with one.
    rows = rows.iloc[1::2].reset_index(drop=True)
    found = list(exported_predictions.read_images(rows, 16, "age,sex"))
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
    rows = exported_predictions.read_rows(path, None, [])
    with pytest.raises(errors.CorruptRecordError, match="train0-2.tfrec is corrupt at record 1: b: the image cannot"):
        list(exported_predictions.read_images(rows, 16, ""))
    network = harness.tiny("efficientnet-b0", 16, "none")
    with pytest.raises(errors.CorruptRecordError, match="train0-2.tfrec is corrupt at record 1: b: the image cannot"):
        exported_predictions.predict_run([network], rows, 16, "", 2)
