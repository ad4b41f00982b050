import gzip
import struct

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from shard_files import rewrite_index, write_shard

from tfrecord_tools import errors
from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import csv_tables, manifest, record_frames, record_index, tfrecord
from tfrecord_tools.verification import record_set_verifier


@pytest.fixture
def copy(record_set, tmp_path):
    """A copy of the built set, to damage."""
    folder = tmp_path / "set"
    folder.mkdir()
    for path in record_set.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def check(folder, pattern="*.tfrec", duplicates=None, decode=True, quarantine=None, workers=2):
    path = quarantine and str(quarantine)
    return record_set_verifier.verify_record_set(
        record_set_verifier.VerifyConfig(
            records=f"{folder}/{pattern}",
            duplicates=duplicates and str(duplicates),
            decode=decode,
            quarantine=path,
            workers=workers,
        )
    )


def shard(folder, number=0):
    return sorted(folder.glob("train*.tfrec"))[number]


def rewrite(path, change):
    """Writes a shard again with its list of records changed."""
    records = change([data for _, data, _ in tfrecord.scan(str(path))])
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def test_of_compressed_shards_the_only_remedy_is_to_decompress_them(copy):
    shard(copy).write_bytes(gzip.compress(shard(copy).read_bytes()))
    with pytest.raises(errors.CorruptRecordError) as caught:
        check(copy, "train*.tfrec")
    assert "gunzip < " in str(caught.value)
    assert str(caught.value).endswith("; then verify the set again")


def test_a_built_set_has_no_problems(record_set, capsys):
    result = check(record_set)
    assert result.warnings == ()
    assert (result.records["problem"] == "").all()
    names = len(record_index.read_index(str(record_set), "train")) + len(
        record_index.read_index(str(record_set), "test")
    )
    shards = len(list(record_set.glob("*.tfrec")))
    assert len(result.records) == names
    assert capsys.readouterr().out == f"{names} valid records and 0 invalid records in {shards} shards\n"


def test_a_flipped_bit_is_named_with_its_record(copy, capsys):
    content = bytearray(shard(copy).read_bytes())
    content[60] ^= 1
    shard(copy).write_bytes(content)
    with pytest.raises(errors.CorruptRecordError, match="1 invalid records and 2 problems of record sets: ") as raised:
        check(copy)
    problems = raised.value.verification.problems
    assert len(problems) == 3
    assert all(problem in str(raised.value) for problem in problems)
    assert (raised.value.verification.records["problem"] != "").sum() == 1
    out = capsys.readouterr().out
    assert all(f"{problem}\n" in out for problem in problems)
    assert f"{shard(copy)}: record 0 (byte 0): the checksum of its data is wrong" in out
    assert f"{shard(copy).name} has sha256 " in out
    assert f"the index lists other images than {shard(copy).name} holds" in out


def test_a_length_of_2_to_the_60_ends_in_an_error(copy, capsys):
    length = struct.pack("<Q", 2**60)
    content = bytearray(shard(copy).read_bytes())
    content[:12] = length + struct.pack("<I", record_frames.masked_crc(length))
    shard(copy).write_bytes(content)
    with pytest.raises(ValueError, match="1 invalid records"):
        check(copy)
    assert f"record 0 (byte 0): its length, {2**60} bytes, exceeds the rest of the file" in capsys.readouterr().out


def test_a_missing_and_an_added_record_are_counted(copy, capsys):
    rewrite(shard(copy), lambda records: records[1:])
    rewrite(shard(copy, 1), lambda records: [*records, records[0]])
    with pytest.raises(ValueError, match="1 invalid records and 8 problems.*; and 4 more, see the log") as raised:
        check(copy)
    assert len(raised.value.verification.problems) == 9
    out = capsys.readouterr().out
    count = int(shard(copy).stem.split("-")[1])
    assert f"{shard(copy).name} has records {count - 1}, but the manifest states {count}" in out
    assert ": an earlier record has the same name" in out


def test_an_image_in_training_and_test_is_found(copy, capsys):
    stolen = next(data for _, data, _ in tfrecord.scan(str(shard(copy))))
    test = sorted(copy.glob("test*.tfrec"))[0]
    rewrite(test, lambda records: [*records, stolen])
    with pytest.raises(ValueError, match="problems of record sets"):
        check(copy)
    name = tfrecord.parse(stolen)[0]["image_name"]
    out = capsys.readouterr().out
    assert f"1 images are in training and test (for example {name})" in out
    assert "warning: " in out
    assert ": 1 test records have labels; training and prediction ignore them" in out


def test_labels_in_a_test_split_are_a_warning_only(tmp_path, capsys):
    rows = [{"image_name": "a", "target": 1}, {"image_name": "b", "target": -1}]
    write_shard(tmp_path, "test00-2.tfrec", rows)
    assert len(check(tmp_path).warnings) == 2
    out = capsys.readouterr().out
    assert f"warning: {tmp_path}: 1 test records have labels" in out
    assert f"warning: {tmp_path}: the manifest or index of test is missing, so counts and folds are not checked" in out


def test_a_patient_in_two_folds_and_a_listed_pair_across_folds_are_found(copy, tmp_path, capsys):
    rows = pd.read_csv(copy / "train.index.csv", dtype=str)
    pairs = tmp_path / "pairs.csv"
    first, other = (rows.loc[rows["fold"] == fold, "image_name"].iloc[0] for fold in ("0", "1"))
    pairs.write_text(f"image_name_1,image_name_2\n{first},{other}\nunknown,{first}\n")
    rows.loc[rows["fold"] == "0", "patient_id"] = rows.loc[rows["fold"] == "1", "patient_id"].iloc[0]
    rewrite_index(copy, "train", rows)
    with pytest.raises(errors.LeakageError, match="0 invalid records and 2 problems of record sets") as raised:
        check(copy, duplicates=pairs)
    assert "1 patients are in two folds" in str(raised.value)
    assert len(raised.value.verification.problems) == 2
    out = capsys.readouterr().out
    assert "1 patients are in two folds (for example " in out
    assert f"1 pairs of listed duplicates are in two folds or splits (for example {first} and {other})" in out


def test_valid_records_are_copied_byte_for_byte_and_the_others_listed(copy, tmp_path, capsys):
    whole = [data for _, data, _ in tfrecord.scan(str(shard(copy)))]
    content = bytearray(shard(copy).read_bytes())
    content[60] ^= 1
    shard(copy).write_bytes(content)
    shard(copy, 1).write_bytes(b"nothing of a record")
    lost = [len(list(tfrecord.scan(str(path)))) for path in (shard(copy, 1),)]
    assert lost == [1]
    remedy = f"the intact records are in {tmp_path}/good: use these, or rebuild the shards$"
    with pytest.raises(ValueError, match=f"2 invalid records .*; {remedy}"):
        check(copy, "train*.tfrec", quarantine=tmp_path / "good")
    good = tmp_path / "good"
    kept = good / f"train00-{len(whole) - 1}.tfrec"
    assert [data for _, data, _ in tfrecord.scan(str(kept))] == whole[1:]
    bad = pd.read_csv(good / "train.bad.csv", keep_default_na=False)
    assert bad["shard"].tolist() == [shard(copy).name, shard(copy, 1).name]
    assert bad["problem"][0] == "the checksum of its data is wrong"
    # What is left is a valid set, with the folds and patients of the old one.
    before, after = (csv_tables.read_table(str(folder / "train.index.csv"), ()) for folder in (copy, good))
    merged = after.merge(before, on="image_name", suffixes=("", "_before"))
    assert len(merged) == len(after) > 0
    assert (merged["fold"] == merged["fold_before"]).all()
    assert (merged["patient_id"] == merged["patient_id_before"]).all()
    assert manifest.read_manifest(str(good), "train")["quality"] == 95
    capsys.readouterr()
    check(good)


def test_quarantine_needs_a_new_directory_and_one_set(copy, tmp_path):
    with pytest.raises(ValueError, match="--quarantine needs a new or empty directory, but .*set holds files"):
        check(copy, quarantine=copy)
    write_shard(tmp_path / "other", "train00-1.tfrec", [{"image_name": "z"}])
    with pytest.raises(ValueError, match="--quarantine needs shards of one directory, got .*other, .*set; run it once"):
        record_set_verifier.verify_record_set(
            record_set_verifier.VerifyConfig(
                records=f"{copy}/*.tfrec,{tmp_path}/other/*",
                duplicates=None,
                decode=False,
                quarantine=str(tmp_path / "new"),
                workers=1,
            )
        )


@pytest.mark.realdata
def test_a_real_file_of_another_schema_is_one_line(real_data, capsys):
    with pytest.raises(ValueError, match="40 invalid records and 0 problems of record sets"):
        check(real_data / "tfrecord_foreign", "train.tfrecords")
    lines = [line for line in capsys.readouterr().out.splitlines() if "train.tfrecords: record 0" in line]
    assert len(lines) == 1
    assert "and 39 more: lacks image (bytes); lacks image_name (bytes); has train/image (1 bytes), which" in lines[0]


def test_indexing_a_damaged_set_points_to_quarantine(copy):
    content = bytearray(shard(copy).read_bytes())
    content[60] ^= 1
    shard(copy).write_bytes(content)
    with pytest.raises(ValueError, match="keep the intact records with tfrecord_tools.verify --quarantine"):
        record_set_indexer.index_record_set(
            record_set_indexer.IndexConfig(records=f"{copy}/train*", csv=None, folds=None, output=None)
        )


def test_a_changed_index_is_a_problem_and_the_remedy_is_another_than_for_records(copy):
    path = copy / "train.index.csv"
    lines = path.read_text().splitlines()
    values = lines[1].split(",")
    values[3] = "somebody"
    path.write_text("\n".join([lines[0], ",".join(values), *lines[2:], ""]))
    message = "is not the index that train.manifest.json was written with.*; restore the files that differ, or write"
    with pytest.raises(errors.CorruptRecordError, match=message) as raised:
        check(copy)
    assert len(raised.value.verification.problems) == 1


@pytest.mark.parametrize("name", ["isic_1_downsampled", "other"])
def test_a_photograph_in_training_and_test_is_found_under_another_name_and_without_an_index(tmp_path, name):
    other = codec.encode(np.full((48, 64, 3), 200, "uint8"), 90)
    # By its name where the bytes differ, by its bytes where the name does.
    images = [other] if name != "other" else None
    write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "ISIC_0000001"}])
    write_shard(tmp_path, "test00-1.tfrec", [{"image_name": name}], images)
    message = f"1 photographs under two names are in training and test .for example {name} and ISIC_0000001"
    with pytest.raises(errors.LeakageError, match=message):
        check(tmp_path)


def test_images_of_equal_bytes_in_two_folds_are_found_in_a_set_of_release_0_1(tmp_path):
    write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a"}, {"image_name": "b"}])
    columns = "shard,position,image_name,patient_id,target,fold"
    rows = ("train00-2.tfrec,0,a,,,0", "train00-2.tfrec,1,b,,,1")
    (tmp_path / "train.index.csv").write_text("\n".join([columns, *rows, ""]))
    with pytest.raises(
        errors.LeakageError, match="1 photographs under two names are in two folds .for example a and b"
    ):
        check(tmp_path)


def test_sets_that_put_a_photograph_in_different_folds_are_warned_of(tmp_path):
    for name, folder, fold in (("ISIC_0000001", "a", 0), ("isic_1.JPG", "b", 1)):
        images = [codec.encode(np.full((48, 64, 3), level + 9 * fold, "uint8"), 90) for level in (50, 200)]
        write_shard(tmp_path / folder, "train00-2.tfrec", [{"image_name": name}, {"image_name": "x" + folder}], images)
        (tmp_path / "folds.csv").write_text(f"image_name,fold\n{name},{fold}\nx{folder},0\n")
        config = {"records": f"{tmp_path}/{folder}/train*", "folds": str(tmp_path / "folds.csv")}
        record_set_indexer.index_record_set(record_set_indexer.IndexConfig(**config))
    records = f"{tmp_path}/a/*.tfrec,{tmp_path}/b/*.tfrec"
    config = record_set_verifier.VerifyConfig(records=records, decode=False, workers=1)
    (warning,) = record_set_verifier.verify_record_set(config).warnings
    assert warning.startswith("1 photographs under two names in two folds of ")
    assert "(for example ISIC_0000001 and isic_1.JPG); to train on these sets together, make folds" in warning
