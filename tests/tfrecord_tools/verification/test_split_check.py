import numpy as np
import pandas as pd
import pytest
from shard_files import JPEG, write_shard

from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import identity
from tfrecord_tools.verification import split_check


@pytest.fixture
def shards(tmp_path):
    """Two training shards and a test shard in one directory, and a shard in another, without manifest and index."""
    (tmp_path / "a").mkdir()
    return [
        write_shard(tmp_path / "a", "test00-1.tfrec", [{"image_name": "t", "target": 1}]),
        write_shard(tmp_path / "a", "train00-2.tfrec", [{"image_name": "x", "target": 0}, {"image_name": "y"}]),
        write_shard(tmp_path / "a", "train01-1.tfrec", [{"image_name": "x"}]),
        write_shard(tmp_path / "b", "train00-1.tfrec", [{"image_name": "z"}]),
    ]


def check(files, decode=True):
    return [split_check.check_split(found, decode, workers=2) for found in split_check.find_splits(files)]


def test_shards_are_grouped_by_directory_and_split(shards, tmp_path):
    found = split_check.find_splits(shards)
    assert [(one.directory, one.split, len(one.files)) for one in found] == [
        (str(tmp_path / "a"), "test", 1),
        (str(tmp_path / "a"), "train", 2),
        (str(tmp_path / "b"), "train", 1),
    ]
    assert all(one.manifest is None and one.index is None for one in found)


def test_the_second_record_of_a_name_is_invalid(shards):
    train = check(shards)[1]
    assert train.table["image_name"].tolist() == ["x", "y", "x"]
    assert train.table["problem"].tolist() == ["", "", "an earlier record has the same name"]
    assert train.list_problems() == []


def test_damaged_parts_without_a_name_are_not_repeats(tmp_path):
    for name in ("train00-1.tfrec", "train01-1.tfrec"):
        (tmp_path / name).write_bytes(b"not a record at all")
    (checked,) = check([str(tmp_path / "train00-1.tfrec"), str(tmp_path / "train01-1.tfrec")])
    assert len(checked.table) == 2
    assert not checked.table["problem"].str.contains("same name").any()


def test_labels_of_test_records_and_missing_files_are_warnings(shards, tmp_path):
    test, train, _ = check(shards)
    directory = tmp_path / "a"
    missing = "is missing, so counts and folds are not checked; create both with tfrecord_tools.index"
    assert test.list_warnings() == [
        f"{directory}: 1 test records have labels; training and prediction ignore them",
        f"{directory}: the manifest or index of test {missing}",
    ]
    assert train.list_warnings() == [f"{directory}: the manifest or index of train {missing}"]


def test_exchanged_channels_are_a_warning_where_images_are_decoded(tmp_path):
    blue = codec.encode(np.full((16, 16, 3), (200, 90, 60), np.uint8), 90)
    rows = [{"image_name": f"i{number}"} for number in range(6)]
    path = write_shard(tmp_path / "set", "train00-6.tfrec", rows, jpegs=[blue] * 6)
    record_set_indexer.index_record_set(record_set_indexer.IndexConfig(records=path))
    (warning,) = check([path])[0].list_warnings()
    assert warning.startswith(f"{tmp_path / 'set'}: train: 6 of 6 images have more blue than red")
    assert check([path], decode=False)[0].list_warnings() == []


def test_an_indexed_split_has_no_warnings_and_its_image_size_is_checked(tmp_path):
    path = write_shard(tmp_path / "set", "train00-1.tfrec", [{"image_name": "a"}])
    record_set_indexer.index_record_set(record_set_indexer.IndexConfig(records=path))
    (checked,) = check([path])
    assert (checked.list_warnings(), checked.list_problems()) == ([], [])
    assert checked.manifest["image_size"] is None
    found = split_check.find_splits([path])[0]
    resized = split_check.SplitFiles(
        directory=found.directory,
        split="train",
        files=found.files,
        manifest={**found.manifest, "image_size": 32},
        index=pd.DataFrame({"shard": ["train00-1.tfrec"], "image_name": ["b"], "target": [""]}),
    )
    checked = split_check.check_split(resized, decode=False, workers=1)
    assert checked.table["problem"].tolist() == ["image is 64x48, but the manifest states 32x32"]
    assert checked.list_problems() == [f"{tmp_path / 'set'}: the index lists other images than train00-1.tfrec holds"]


def test_digests_are_those_of_the_index_only_where_the_manifest_proves_them(tmp_path, monkeypatch):
    path = write_shard(
        tmp_path / "set", "train00-2.tfrec", [{"image_name": "a"}, {"image_name": "b"}], [JPEG, b"other"]
    )
    expected = [identity.image_digest(image) for image in (JPEG, b"other")]
    assert check([path], decode=False)[0].table["image_digest"].tolist() == expected
    record_set_indexer.index_record_set(record_set_indexer.IndexConfig(records=path))
    with monkeypatch.context() as patch:
        # Nothing is hashed again.
        patch.setattr(identity, "image_digest", lambda image: "hashed again")
        assert check([path], decode=False)[0].table["image_digest"].tolist() == expected
    index_path = tmp_path / "set" / "train.index.csv"
    index_path.write_text(index_path.read_text().replace(expected[0], expected[1]))
    (checked,) = check([path], decode=False)
    assert checked.table["image_digest"].tolist() == expected
    found = checked.list_problems()
    assert "train00-2.tfrec has 1 records with another image than the index" in found[0]
    assert "is not the index that train.manifest.json was written with" in found[1]
