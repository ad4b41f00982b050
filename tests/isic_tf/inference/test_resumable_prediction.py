"""The collection of predictions into parts; whole predictions are tested in `test_predict_run`."""

import numpy as np
import pandas as pd
import pytest

from isic_tf.inference import prediction_shards, resumable_prediction

ROWS = pd.DataFrame({"image_name": list("abcd"), "part": [1, 0, 1, 0]})


def test_embeddings_of_unused_networks_are_nan():
    found = resumable_prediction._spread(np.array([[[1.0, 2.0], [3.0, 4.0]]]), np.array([True, False, True]))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [[[1, 2], [np.nan, np.nan], [3, 4]]])


def test_a_part_is_written_once_its_last_image_is_there(tmp_path):
    writer = resumable_prediction._PartWriter(ROWS, str(tmp_path), {}, [])
    features = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    # In another order than that of the rows, and across batches.
    writer.add(["c", "b"], np.array([0.75, 0.25], np.float32), features[[2, 1]])
    assert not list(tmp_path.iterdir())
    writer.add(["a"], np.array([0.5], np.float32), features[:1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part-00001.csv", "part-00001.npy"]
    with pytest.raises(ValueError, match="1 images were predicted, but other images .*; index the shards again"):
        writer.refuse_incomplete_parts()
    writer.add(["d"], np.array([1.0], np.float32), features[3:])
    writer.refuse_incomplete_parts()
    found = prediction_shards.read_parts(str(tmp_path), [0, 1])
    assert found["image_name"].tolist() == ["b", "d", "a", "c"]
    assert found["prediction"].tolist() == [0.25, 1.0, 0.5, 0.75]
    assert prediction_shards.read_part_embeddings(str(tmp_path), [0, 1])[:, 0, 0].tolist() == [1, 3, 0, 2]


def test_a_part_without_embeddings_has_a_table_only(tmp_path):
    writer = resumable_prediction._PartWriter(ROWS[ROWS["part"] == 0], str(tmp_path), {}, [])
    writer.add(["b", "d"], np.array([0.25, 1.0], np.float32), None)
    assert [path.name for path in tmp_path.iterdir()] == ["part-00000.csv"]


def test_images_that_are_skipped_are_listed_beside_their_part_and_in_no_other_file(tmp_path):
    skipped = {}
    writer = resumable_prediction._PartWriter(ROWS, str(tmp_path), skipped, [])
    features = np.arange(4, dtype=np.float32).reshape(4, 1, 1)
    # While the images are read, before they are predicted.
    skipped.update(b="b.jpg is damaged", d="d.jpg is damaged", c="c.jpg is damaged")
    writer.add(["a", "b", "c", "d"], np.array([0.5, 0.25, 0.75, 1.0], np.float32), features)
    writer.refuse_incomplete_parts()
    assert prediction_shards.read_parts(str(tmp_path), [0, 1]).to_numpy().tolist() == [["a", 0.5]]
    assert prediction_shards.read_part_embeddings(str(tmp_path), [0, 1]).tolist() == [[[0]]]
    found = prediction_shards.read_skipped(str(tmp_path), [0, 1])
    assert found["image_name"].tolist() == ["b", "d", "c"]
    assert found["problem"].iloc[0] == "b.jpg is damaged"
    assert prediction_shards.read_skipped(str(tmp_path), []).empty
