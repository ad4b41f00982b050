import pathlib

import pandas as pd
import pytest

from isic_tf.data import input_pipeline
from isic_tf.visualization import record_images
from tfrecord_tools import errors
from tfrecord_tools.io import record_index


def test_named_records_are_chosen_in_their_own_order():
    rows = pd.DataFrame({"image_name": list("abcd")})
    assert record_images.choose_records(rows, 1, " d, b,", seed=0)["image_name"].tolist() == ["b", "d"]
    with pytest.raises(errors.IsicError, match=r"2 images of --names are not in these records \(first: x\)"):
        record_images.choose_records(rows, 1, "y,a,x", seed=0)


def test_records_are_sampled_by_the_seed_in_their_own_order():
    rows = pd.DataFrame({"image_name": [f"{number:02d}" for number in range(50)]})
    found = record_images.choose_records(rows, 5, "", seed=1)["image_name"].tolist()
    assert len(set(found)) == 5
    assert found == sorted(found)
    assert found == record_images.choose_records(rows, 5, "", seed=1)["image_name"].tolist()
    assert found != record_images.choose_records(rows, 5, "", seed=2)["image_name"].tolist()
    assert record_images.choose_records(rows, 99, "", seed=0)["image_name"].tolist() == rows["image_name"].tolist()


def test_images_are_loaded_in_the_order_of_the_rows(index):
    rows = index.iloc[[3, len(index) - 1, 0, 5]]
    images = record_images.load_images(rows, 32)
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == "uint8"
    for number, image in enumerate(images):
        alone = input_pipeline.make_eval_dataset(rows.iloc[[number]], image_size=32, batch_size=1, threads=1)
        assert (next(iter(alone))[0][0].numpy() == image).all()


def test_a_damaged_record_is_named(index, tmp_path):
    data = bytearray(pathlib.Path(index["shard"][0]).read_bytes())
    # In the first record, which begins after 8 bytes of its length and 4 of their CRC.
    data[12 + 50] ^= 1
    (tmp_path / "train.tfrec").write_bytes(data)
    rows = index.iloc[:1].assign(shard=str(tmp_path / "train.tfrec"))
    with pytest.raises(errors.CorruptRecordError, match="train.tfrec is corrupt at record 0"):
        record_images.load_images(rows, 32)


def test_a_shard_without_records_is_refused(index, tmp_path):
    (tmp_path / "train.tfrec").write_bytes(bytes(9))
    rows = index.iloc[:2].assign(shard=str(tmp_path / "train.tfrec"))
    with pytest.raises(errors.CorruptRecordError, match="train.tfrec"):
        record_images.load_images(rows, 32)


def test_labels_are_those_of_the_index_beside_the_shards(index, record_set):
    rows = index.iloc[::-1]
    assert record_images.read_labels(rows) == rows["target"].tolist()
    test = record_index.read_index(str(record_set), "test")
    assert record_images.read_labels(test) == [-1] * len(test)
    unknown = rows.assign(image_name="ISIC_gone")
    assert set(record_images.read_labels(unknown)) == {-1}


def test_records_without_an_index_have_no_labels(tmp_path):
    rows = pd.DataFrame({"shard": [str(tmp_path / "train00-1.tfrec")], "image_name": ["a"]})
    assert record_images.read_labels(rows) == [-1]
