import shutil

import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import record_metadata
from tfrecord_tools import errors, schema
from tfrecord_tools.io import manifest, record_index, tf_example


def test_all_records_are_listed_in_order(index):
    found = record_metadata.list_records(sorted(set(index["shard"])))
    wanted = index[["shard", "position", "image_name"]]
    # Text of either type of pandas.
    pd.testing.assert_frame_equal(found.drop(columns="labeled"), wanted, check_dtype=False)
    assert found["labeled"].all()


def test_a_name_that_occurs_twice_is_refused(index, tmp_path):
    for name in ("train00-9.tfrec", "train01-9.tfrec"):
        shutil.copy(index["shard"][0], tmp_path / name)
    with pytest.raises(ValueError, match="expected every image once, [0-9]+ occur again in these shards .first: ISIC_"):
        record_metadata.list_records(record_index.match_shards(f"{tmp_path}/*.tfrec"))


def test_an_empty_shard_has_no_records(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "test00-0.tfrec")):
        pass
    assert record_metadata.list_records([str(tmp_path / "test00-0.tfrec")]).empty


def test_patients_and_targets_come_from_the_index(index):
    found = record_metadata.add_index(record_metadata.list_records(sorted(set(index["shard"]))))
    assert found["patient_id"].tolist() == index["patient_id"].tolist()
    assert found["known_target"].tolist() == index["target"].tolist()


def test_test_records_have_patients_and_never_a_target(index, tmp_path):
    name = index["shard"][0].rsplit("/", 1)[1]
    shutil.copy(index["shard"][0], tmp_path / name)
    shutil.copy(index["shard"][0].replace(name, "train.index.csv"), tmp_path / "test.index.csv")
    found = record_metadata.add_index(record_metadata.list_records([str(tmp_path / name)]))
    assert found["patient_id"].tolist() == index["patient_id"][: len(found)].tolist()
    assert set(found["known_target"]) == {schema.UNKNOWN}
    # For an image in both, the training index counts.
    shutil.copy(index["shard"][0].replace(name, "train.index.csv"), tmp_path)
    found = record_metadata.add_index(record_metadata.list_records([str(tmp_path / name)]))
    assert found["known_target"].tolist() == index["target"][: len(found)].tolist()


def test_without_an_index_nothing_is_known(index, tmp_path):
    shutil.copy(index["shard"][0], tmp_path / "test00-9.tfrec")
    found = record_metadata.add_index(record_metadata.list_records([str(tmp_path / "test00-9.tfrec")]))
    assert set(found["patient_id"]) == {""}
    assert set(found["known_target"]) == {schema.UNKNOWN}


def test_codes_that_no_table_confirmed_are_refused_and_their_records_are_listed_without_them(index, tmp_path):
    shutil.copy(index["shard"][0], tmp_path / "train00-9.tfrec")
    files = [str(tmp_path / "train00-9.tfrec")]
    manifest.write_manifest(str(tmp_path), "train", [], unconfirmed_codes=["sex"])
    rows = record_metadata.list_records(files, ["age_approx"])
    message = r"train00-9.tfrec: expected codes of sex that a table confirms, .* tfrecord_tools.index again with --csv"
    with pytest.raises(errors.IsicError, match=message):
        record_metadata.list_records(files, ["age_approx", "sex"])
    with pytest.raises(errors.IsicError, match=message):
        record_metadata.add_columns(rows, ["sex"], threads=1)


def test_columns_are_added_whatever_the_order_of_the_rows(index):
    rows, columns = index.sample(len(index), random_state=0), ["sex", "age_approx"]
    found = record_metadata.add_columns(rows, columns, threads=2)
    listed = record_metadata.list_records(sorted(set(index["shard"])), columns).set_index("image_name")
    assert found["image_name"].tolist() == rows["image_name"].tolist()
    assert found.set_index("image_name")[columns].equals(listed.loc[found["image_name"], columns])


def test_codes_that_the_schema_does_not_have_are_refused(tmp_path):
    path = tmp_path / "train00-1.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf_example.to_example(b"", "a", sex=7))
    with pytest.raises(
        ValueError, match="expected sex from -1 to 1, a has 7; records made with other tools may use other codes"
    ):
        record_metadata.list_records([str(path)], ["sex"])


def test_digests_are_those_of_the_bytes(tmp_path):
    path = tmp_path / "train00-2.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf_example.to_example(b"", "a"))
        writer.write(tf_example.to_example(b"a", "b"))
    found = record_metadata.list_records([str(path)], with_digests=True)
    # The first digits of SHA-256 of nothing and of "a", as published.
    assert found["image_digest"].tolist() == ["e3b0c44298fc1c14", "ca978112ca1bbdca"]


def test_people_of_an_index_have_one_spelling_and_keys_of_their_set(tmp_path):
    (tmp_path / "train.index.csv").write_text(
        "shard,position,image_name,patient_id,target,fold,lesion_id\n"
        "s,0,a,P1,0,,L\ns,1,b,p1,0,,\ns,2,c,7,1,,\ns,3,d,-1,1,,l\n"
    )
    rows = pd.DataFrame({"image_name": list("abcde"), "shard": str(tmp_path / "train00-5.tfrec")})
    found = record_metadata.add_index(rows)
    assert found["patient_id"].tolist() == ["P1", "P1", "7", "", ""]
    assert found["lesion_id"].tolist() == ["L", "", "", "l", ""]
    # The first digits of SHA-256 of "c,7".
    assert found["patient_key"].tolist() == ["p1", "p1", "ce658cd86e8eabd9#7", "", ""]
    assert found["lesion_key"].tolist() == ["l", "", "", "l", ""]
    completed = record_metadata.add_patients(found.assign(patient_code=[5, 5, 5, 6, 7]))
    assert completed["patient_id"].tolist()[:3] == ["P1", "P1", f"{tmp_path}/train:7"]
    assert completed["patient_id"].tolist()[3:] == [f"{tmp_path}/train:6", f"{tmp_path}/train:7"]
    assert completed["patient_key"].str.endswith(("p1", "#7", "#6")).all()


def test_numbers_of_records_are_those_of_the_index_made_of_them(tmp_path):
    rows = pd.DataFrame({"image_name": list("abc"), "shard": str(tmp_path / "train00-3.tfrec")})
    from_records = record_metadata.add_patients(record_metadata.add_index(rows).assign(patient_code=[7, -1, 8]))
    lines = ["shard,position,image_name,patient_id,target,fold", "s,0,a,7,,", "s,1,b,,,", "s,2,c,8,,"]
    (tmp_path / "train.index.csv").write_text("\n".join(lines) + "\n")
    from_index = record_metadata.add_index(rows)
    assert from_records["patient_key"].tolist() == from_index["patient_key"].tolist()
    assert from_index["patient_key"].nunique() == 3


def test_numbers_below_zero_are_unknown_patients(tmp_path):
    path = tmp_path / "train00-1.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(tf_example.to_example(b"", "a", patient_id=-9))
    assert record_metadata.list_records([str(path)], ["patient_id"])["patient_id"].tolist() == [-1]
