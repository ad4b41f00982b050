import os
import pathlib
import re
import shutil
import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.data import corrupt_records, decoding, fold_split, input_pipeline, mixture
from tfrecord_tools import errors
from tfrecord_tools.io import tf_example

NOISE = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
PNG = cv2.imencode(".png", NOISE)[1].tobytes()
JPEG = cv2.imencode(".jpg", NOISE)[1].tobytes()
# Zeros within its data, of which libjpeg only warns.
HOLE = JPEG[:1500] + bytes(300) + JPEG[1800:]


@pytest.fixture
def damaged(record_set, tmp_path):
    """Copy of the record set whose shards can be damaged: its rows, and the records of the first shard."""
    folder = tmp_path / "set"
    shutil.copytree(record_set, folder)
    rows = mixture.read_sets(str(folder))
    path = rows["shard"].iloc[0]
    return rows, path, list(tf.data.TFRecordDataset(path).as_numpy_iterator())


def write(path, serialized):
    with tf.io.TFRecordWriter(path) as writer:
        for data in serialized:
            writer.write(data)


def flip(path, place):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))


def names(rows):
    dataset = input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=5, threads=2)
    return [name.decode() for _, batch in dataset.as_numpy_iterator() for name in batch if name]


def test_sound_records_are_left_as_they_are(record_set):
    rows = mixture.read_sets(str(record_set))
    kept, problems = corrupt_records.skip_corrupt(rows, 2)
    assert problems == []
    assert kept.equals(rows)
    assert corrupt_records.describe(problems) == ""


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("data", "the checksum of its data is wrong"),
        ("length", "the checksum of its length is wrong; skipped [0-9]+ bytes"),
        ("image", "the image has an unknown format, expected JPEG or PNG"),
        ("truncated PNG", "the image cannot be decoded"),
        ("hole", "the image is not an intact JPEG .*: Corrupt JPEG data"),
        ("truncated image", "the image cannot be decoded"),
        ("no example", "is not a tf.train.Example"),
        ("no image", "lacks image .bytes."),
    ],
)
def test_one_damaged_record_is_left_out_and_all_others_are_read(damaged, damage, reason):
    rows, path, serialized = damaged
    start = len(serialized[0]) + 16
    image = decoding.parse(serialized[1], labeled=True)
    name = rows["image_name"].iloc[1]
    if damage == "data":
        flip(path, start + 12 + 60)
    elif damage == "length":
        flip(path, start + 8)
    else:
        serialized[1] = {
            "image": tf_example.to_example(b"no jpeg", name, target=int(image["target"])),
            "truncated image": tf_example.to_example(image["image"].numpy()[:-200], name, target=int(image["target"])),
            "hole": tf_example.to_example(HOLE, name, target=int(image["target"])),
            "truncated PNG": tf_example.to_example(PNG[:-9], name, target=int(image["target"])),
            "no example": b"\xff\xff\xff",
            "no image": tf.train.Example(
                features=tf.train.Features(
                    feature={"image_name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()]))}
                )
            ).SerializeToString(),
        }[damage]
        write(path, serialized)
    kept, problems = corrupt_records.skip_corrupt(rows, 2)
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}, record 1 ({name}): ")
    assert re.search(reason, problems[0])
    expected = rows["image_name"].drop(rows.index[1]).tolist()
    assert kept["image_name"].tolist() == expected
    assert kept.drop(columns=["shard", "position"]).equals(
        rows.drop(index=rows.index[1]).drop(columns=["shard", "position"])
    )
    assert names(kept) == expected


def test_copies_of_records_lie_in_the_run_until_the_process_ends(damaged, tmp_path):
    rows, path, serialized = damaged
    flip(path, len(serialized[0]) + 16 + 8)
    run = tmp_path / "new" / "run"
    closing = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corrupt_records.atexit, "register", closing.append)
        kept, _ = corrupt_records.skip_corrupt(rows, 2, str(run))
    copies = sorted(set(kept["shard"]) - set(rows["shard"]))
    assert [pathlib.Path(copy).parent.parent for copy in copies] == [run]
    assert pathlib.Path(copies[0]).parent.name.startswith(f".tmp-{os.getpid()}-")
    assert names(kept) == kept["image_name"].tolist()
    closing[0]()
    assert not (tmp_path / "new").exists()


def test_a_png_among_the_records_is_kept(damaged):
    rows, path, serialized = damaged
    image = decoding.parse(serialized[1], labeled=True)
    name = rows["image_name"].iloc[1]
    serialized[1] = tf_example.to_example(PNG, name, target=int(image["target"]))
    write(path, serialized)
    kept, problems = corrupt_records.skip_corrupt(rows, 2)
    assert problems == []
    assert names(kept) == rows["image_name"].tolist()


def test_a_compressed_shard_is_refused_and_not_left_out(damaged):
    rows, path, serialized = damaged
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        writer.write(serialized[0])
    with pytest.raises(
        errors.CorruptRecordError, match=f"{path} is compressed by GZIP; decompress it: gunzip < {path} "
    ):
        corrupt_records.skip_corrupt(rows, 2)


def test_a_truncated_shard_loses_its_last_record_alone(damaged):
    rows, path, serialized = damaged
    os.truncate(path, os.path.getsize(path) - 3)
    kept, problems = corrupt_records.skip_corrupt(rows, 2)
    assert len(problems) == 1
    assert f"record {len(serialized) - 1} " in problems[0]
    assert "exceeds the rest of the file" in problems[0]
    assert len(names(kept)) == len(rows) - 1


def test_a_length_of_2_to_the_60_costs_its_record_alone(damaged):
    rows, path, _ = damaged
    with open(path, "r+b") as file:
        file.write(struct.pack("<Q", 2**60))
    kept, problems = corrupt_records.skip_corrupt(rows, 2)
    assert len(problems) == 1
    assert names(kept) == rows["image_name"].tolist()[1:]


def test_a_shard_without_a_sound_record_is_left_out(damaged):
    rows, path, serialized = damaged
    with open(path, "wb") as file:
        file.write(bytes(1000))
    kept, problems = corrupt_records.skip_corrupt(rows, 2)
    assert len(problems) == len(serialized)
    assert path not in set(kept["shard"])
    assert names(kept) == kept["image_name"].tolist() == rows["image_name"].tolist()[len(serialized) :]


def test_the_stream_of_what_is_left_is_whole_and_the_same_each_time(damaged):
    rows, path, serialized = damaged
    flip(path, len(serialized[0]) + 16 + 12 + 60)
    found = []
    for _ in range(2):
        kept, _ = corrupt_records.skip_corrupt(rows, 2)
        training, _, _ = fold_split.split_rows(kept, 1)
        dataset = input_pipeline.make_train_dataset(training, image_size=32, batch_size=1, seed=0, threads=2)
        found.append([seeds[0, 1] for _, _, seeds in dataset.take(2 * len(training)).as_numpy_iterator()])
    assert found[0] == found[1]
    assert len(set(found[0])) == len(training)


def test_the_list_of_problems_is_cut_after_ten():
    assert corrupt_records.describe(["a", "b"]) == "; 2 corrupt records left out:\n  a\n  b"
    lines = corrupt_records.describe([str(number) for number in range(12)]).splitlines()
    assert lines[0] == "; 12 corrupt records left out:"
    assert lines[1:] == [f"  {number}" for number in range(10)] + ["  and 2 more"]
