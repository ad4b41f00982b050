import contextlib
import gzip
import hashlib
import os
import resource
import struct

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tfrecord_tools import errors
from tfrecord_tools.io import record_frames, tf_example, tfrecord

RECORDS = [tf_example.to_example(bytes([number]) * 40 * (number + 1), f"i{number}", target=0) for number in range(4)]


@pytest.fixture
def shard(tmp_path):
    path = tmp_path / "train00-4.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def damage(path, at, data):
    content = bytearray(path.read_bytes())
    content[at : at + len(data)] = data
    path.write_bytes(content)


def starts():
    """Returns where each record of `RECORDS` starts: 12 bytes before its data, which 4 bytes follow."""
    return [sum(len(record) + 16 for record in RECORDS[:number]) for number in range(5)]


def test_scan_returns_what_was_written_and_feeds_all_bytes_to_the_digest(shard):
    digest = hashlib.sha256()
    found = list(tfrecord.scan(str(shard), digest))
    assert found == [(start, record, "") for start, record in zip(starts(), RECORDS, strict=False)]
    assert digest.hexdigest() == hashlib.sha256(shard.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "split", ["test00-3.tfrec", "isic-test-00.tfrec", "my_test.tfrec", "Test00.tfrec", "ISIC_TEST.tfrec"]
)
def test_a_split_is_inferred_from_the_name(split):
    assert tfrecord.split_of(f"in/test/{split}") == "test"
    assert tfrecord.split_of(f"in/test/{split.lower().replace('test', 'train')}") == "train"


def test_a_wrong_byte_costs_only_its_own_record(shard):
    damage(shard, starts()[1] + 20, b"XX")
    digest = hashlib.sha256()
    found = list(tfrecord.scan(str(shard), digest))
    assert [record for _, record, _ in found] == [RECORDS[0], None, RECORDS[2], RECORDS[3]]
    assert found[1][2] == "the checksum of its data is wrong"
    assert digest.hexdigest() == hashlib.sha256(shard.read_bytes()).hexdigest()


@pytest.mark.parametrize("header", [b"X", struct.pack("<Q", 2**60), struct.pack("<Q", 7)])
def test_reading_resumes_after_a_wrong_length(shard, header):
    damage(shard, starts()[1], header)
    digest = hashlib.sha256()
    found = list(tfrecord.scan(str(shard), digest))
    assert [record for _, record, _ in found] == [RECORDS[0], None, RECORDS[2], RECORDS[3]]
    passed = starts()[2] - starts()[1]
    assert found[1][2] == f"the checksum of its length is wrong; skipped {passed} bytes"
    assert digest.hexdigest() == hashlib.sha256(shard.read_bytes()).hexdigest()


def test_a_length_of_2_to_the_60_with_the_right_checksum_takes_no_memory(shard):
    length = struct.pack("<Q", 2**60)
    damage(shard, starts()[1], length + struct.pack("<I", record_frames.masked_crc(length)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = list(tfrecord.scan(str(shard)))
    assert [record for _, record, _ in found] == [RECORDS[0], None, RECORDS[2], RECORDS[3]]
    assert found[1][2].startswith(f"its length, {2**60} bytes, exceeds the rest of the file")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20


def test_a_record_is_found_beyond_the_first_window(shard, monkeypatch):
    monkeypatch.setattr(record_frames, "_FIRST_WINDOW", 16)
    damage(shard, starts()[1], b"\xff")
    assert [record for _, record, _ in tfrecord.scan(str(shard))] == [RECORDS[0], None, RECORDS[2], RECORDS[3]]


@pytest.mark.parametrize("cut", [1, 5, 16, 40])
def test_a_cut_off_file_is_named(shard, cut):
    shard.write_bytes(shard.read_bytes()[:-cut])
    with pytest.raises(ValueError, match=rf"train00-4.tfrec is corrupt at record 3, byte {starts()[3]}: its length"):
        list(tfrecord.read(str(shard)))


def test_places_are_listed_by_the_lengths_alone(shard):
    damage(shard, starts()[1] + 20, b"XX")
    assert list(tfrecord.list_places(str(shard))) == list(zip(starts(), map(len, RECORDS), strict=False))


@pytest.mark.parametrize("length", [2**60, 2**40, len(RECORDS[2]) + 10**6])
def test_an_absurd_length_with_the_right_checksum_is_refused_before_the_file_is_read(shard, length):
    assert tfrecord.check_lengths(str(shard)) == 4
    packed = struct.pack("<Q", length)
    damage(shard, starts()[2], packed + struct.pack("<I", record_frames.masked_crc(packed)))
    os.utime(shard, ns=(0, 0))
    message = (
        f"train00-4.tfrec is corrupt at record 2, byte {starts()[2]}: its length, {length} bytes, exceeds the rest"
    )
    with pytest.raises(errors.CorruptRecordError, match=message):
        tfrecord.check_lengths(str(shard))


def test_the_lengths_of_an_unchanged_file_are_read_once(shard, monkeypatch):
    assert tfrecord.check_lengths(str(shard)) == 4
    monkeypatch.setattr(tfrecord, "list_places", None)
    assert tfrecord.check_lengths(str(shard)) == 4


def test_a_compressed_file_is_named_and_not_called_corrupt(shard):
    content = gzip.compress(shard.read_bytes())
    shard.write_bytes(content)
    message = f"without compression, but {shard} is compressed by GZIP; decompress it: gunzip < {shard} "
    for read in (tfrecord.check_lengths, lambda path: list(tfrecord.read(path)), tfrecord.refuse_compressed):
        with pytest.raises(errors.CorruptRecordError, match=message):
            read(str(shard))
    digest = hashlib.sha256()
    ((offset, data, problem),) = tfrecord.scan(str(shard), digest)
    assert (offset, data) == (0, None)
    assert problem.startswith("the file is compressed by GZIP; decompress it")
    assert digest.hexdigest() == hashlib.sha256(content).hexdigest()


def test_a_file_of_other_bytes_is_named(tmp_path):
    (tmp_path / "a").write_bytes(b"image_name,target\n")
    with pytest.raises(ValueError, match="is corrupt at record 0, byte 0: the checksum of its length is wrong"):
        list(tfrecord.read(str(tmp_path / "a")))
    (tmp_path / "b").write_bytes(b"x")
    with pytest.raises(ValueError, match="1 bytes are too few for a record"):
        list(tfrecord.read(str(tmp_path / "b")))
    (tmp_path / "c").write_bytes(b"")
    assert list(tfrecord.read(str(tmp_path / "c"))) == []


def test_read_at_returns_a_record_and_detects_a_change(shard):
    for (offset, length, features), record in zip(tfrecord.read(str(shard)), RECORDS, strict=True):
        assert tfrecord.read_at(str(shard), offset, length) == record
        assert features["target"] == 0
    damage(shard, starts()[2] + 30, b"X")
    with pytest.raises(
        ValueError, match=f"no longer has an intact record at byte {starts()[2]}; if the file was replaced"
    ):
        tfrecord.read_at(str(shard), starts()[2], len(RECORDS[2]))


def example(**features):
    kinds = {bytes: "bytes_list", int: "int64_list", float: "float_list"}
    made = {}
    for name, values in features.items():
        made[name] = tf.train.Feature(**{kinds[type(values[0])]: {"value": values}})
    return tf.train.Example(features=tf.train.Features(feature=made)).SerializeToString()


def test_parse_accepts_the_public_layouts():
    kaggle = example(image=[b"j"], image_name=[b"a"], target=[1], sex=[0], age_approx=[-1], patient_id=[7])
    assert tfrecord.parse(kaggle) == (
        {"image": b"j", "image_name": "a", "target": 1, "sex": 0, "age_approx": -1, "patient_id": 7},
        [],
    )
    assert tfrecord.parse(example(image=[b"j"], image_name=[b"a"], anything=[0.5]))[1] == []


@pytest.mark.parametrize(
    ("features", "problems"),
    [
        ({"image": [b"j"]}, ["lacks image_name (bytes)"]),
        ({"image": [b"j"], "image_name": [b"\xff"]}, ["image_name is not UTF-8 text"]),
        ({"image": [b"j"], "image_name": [b"a"], "target": [0.5]}, ["target must be one int64, is 1 float"]),
        ({"image": [b"j"], "image_name": [b"a", b"b"]}, ["image_name must be one bytes, is 2 bytes"]),
        (
            {"image": [b"j"], "name": [b"a"], "label": [1, 2]},
            [
                "lacks image_name (bytes)",
                "has label (2 int64), which is not in the schema",
                "has name (1 bytes), which is not in the schema",
            ],
        ),
    ],
)
def test_parse_names_each_feature_that_does_not_match(features, problems):
    assert tfrecord.parse(example(**features))[1] == problems


def test_parse_names_bytes_that_are_not_an_example():
    assert tfrecord.parse(b"\xff\xff") == ({}, ["is not a tf.train.Example"])


@pytest.mark.realdata
def test_a_real_file_with_a_different_schema_is_named(real_data):
    path = real_data / "tfrecord_foreign" / "train.tfrecords"
    assert len(list(tfrecord.scan(str(path)))) == 40
    expected = (
        r"has a different schema: record 0 lacks image \(bytes\); lacks image_name \(bytes\); has train/image "
        r"\(1 bytes\), which is not in the schema; has train/label \(1 int64\), .* has train/name \(1 bytes\)"
    )
    with pytest.raises(ValueError, match=expected):
        list(tfrecord.read(str(path)))


CLEAN = b"".join(
    struct.pack("<Q", len(record))
    + struct.pack("<I", record_frames.masked_crc(struct.pack("<Q", len(record))))
    + record
    + struct.pack("<I", record_frames.masked_crc(record))
    for record in RECORDS
)


@pytest.fixture(scope="module")
def damaged_path(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "train00-4.tfrec"


@settings(max_examples=2000, deadline=None, derandomize=True, database=None)
@given(
    flips=st.lists(st.integers(0, 8 * len(CLEAN) - 1), max_size=4, unique=True),
    cut=st.one_of(st.none(), st.integers(0, len(CLEAN))),
)
def test_whatever_is_damaged_records_are_right_or_an_error_is_named(damaged_path, flips, cut):
    content = bytearray(CLEAN)
    for bit in flips:
        content[bit // 8] ^= 1 << bit % 8
    damaged_path.write_bytes(content[:cut])
    scanned = list(tfrecord.scan(str(damaged_path)))
    intact = [record for _, record, problem in scanned if not problem]
    # Records reported as intact are intact and in order; all others are reported as damaged.
    rest = iter(RECORDS)
    assert all(record in rest for record in intact)
    assert all(problem for _, record, problem in scanned if record is None)
    undamaged = content[:cut] == CLEAN[:cut] and len(content[:cut]) in starts()
    with (
        contextlib.nullcontext()
        if undamaged
        else pytest.raises(ValueError, match="train00-4.tfrec is corrupt at record")
    ):
        names = [features["image_name"] for _, _, features in tfrecord.read(str(damaged_path))]
        assert names == [f"i{number}" for number in range(starts().index(len(content[:cut])))]


def test_the_clean_bytes_above_are_what_tensorflow_writes(shard):
    assert shard.read_bytes() == CLEAN


def test_records_are_written_as_tensorflow_writes_them(tmp_path):
    with open(tmp_path / "a", "wb") as file:
        for record in RECORDS:
            tfrecord.write(file, record)
    assert (tmp_path / "a").read_bytes() == CLEAN
