import hashlib

import pandas as pd
import pytest
from shard_files import write_shard

from tfrecord_tools import errors
from tfrecord_tools.building import data_sources, record_set, record_set_indexer
from tfrecord_tools.io import identity, manifest, record_index


@pytest.fixture
def kaggle(tmp_path):
    """Two training shards over which patients are spread, and a test shard that carries labels."""
    folder = tmp_path / "kaggle"
    rows = [{"image_name": name, "patient_id": number % 2, "target": number % 2} for number, name in enumerate("abcd")]
    write_shard(folder, "train00-3.tfrec", rows[:3])
    write_shard(folder, "train01-1.tfrec", rows[3:])
    write_shard(folder, "test00-1.tfrec", [{"image_name": "e", "patient_id": 0, "target": 1}])
    return folder


TABLE = "image_name,patient_id,target\na,IP_1,0\nb,IP_2,1\nc,IP_1,0\nx,IP_3,0\n"


def make(folder, csv=None, folds=None, output=None):
    return record_set_indexer.index_record_set(
        record_set_indexer.IndexConfig(
            records=f"{folder}/*.tfrec", csv=csv and str(csv), folds=folds and str(folds), output=output and str(output)
        )
    )


def test_every_record_is_listed_in_order_with_what_the_records_say(kaggle):
    make(kaggle)
    found = record_index.read_index(str(kaggle), "train")
    assert found["image_name"].tolist() == ["a", "b", "c", "d"]
    assert found["position"].tolist() == [0, 1, 2, 0]
    assert found["patient_id"].tolist() == ["0", "1", "0", "1"]
    assert found["target"].tolist() == [0, 1, 0, 1]
    assert set(found["fold"]) == {-1}
    shards = manifest.read_manifest(str(kaggle), "train")["shards"]
    assert [(shard["name"], shard["records"]) for shard in shards] == [("train00-3.tfrec", 3), ("train01-1.tfrec", 1)]
    assert shards[0]["sha256"] == hashlib.sha256((kaggle / "train00-3.tfrec").read_bytes()).hexdigest()


def test_indexing_returns_one_record_set_per_split(kaggle, tmp_path):
    shards = tuple(str(kaggle / name) for name in ("train00-3.tfrec", "train01-1.tfrec"))
    train = record_set.RecordSet(directory=str(kaggle), split="train", records=4, shards=shards)
    found = {one.split: one for one in make(kaggle)}
    assert found["train"] == train
    assert found["test"].records == 1
    links = [one.shards for one in make(kaggle, output=tmp_path / "mine") if one.split == "test"]
    assert links == [(str(tmp_path / "mine" / "test00-1.tfrec"),)]


def test_shards_that_are_not_on_a_local_disk_cannot_be_linked(tmp_path):
    with pytest.raises(ValueError, match="--output can only link shards on local disks, got gs://x/a.tfrec; copy it"):
        record_set_indexer._link_shards(["gs://x/a.tfrec"], str(tmp_path))


@pytest.mark.parametrize(
    ("sizes", "side"), [([(64, 64)] * 2, 64), ([(64, 64), (32, 32)], None), ([(64, 48)] * 2, None), ([()], None)]
)
def test_the_image_size_is_known_if_all_images_are_squares_of_one_size(sizes, side):
    assert record_set_indexer._common_side(pd.Series(sizes)) == side


def test_a_label_in_a_test_shard_does_not_reach_the_index(kaggle):
    make(kaggle)
    assert record_index.read_index(str(kaggle), "test")["target"].tolist() == [-1]


def test_a_table_and_folds_are_joined_by_name_and_the_rest_is_named(kaggle, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(TABLE)
    (tmp_path / "f.csv").write_text("image_name,fold\nd,1\nc,0\nb,-1\na,0\n")
    make(kaggle, tmp_path / "t.csv", tmp_path / "f.csv")
    found = record_index.read_index(str(kaggle), "train")
    # The record that the table lacks is of the patient whose number it has.
    assert found["patient_id"].tolist() == ["IP_1", "IP_2", "IP_1", "IP_2"]
    assert found["fold"].tolist() == [0, -1, 0, 1]
    out = capsys.readouterr().out
    assert "train: 1 records are not in the table: 'd'" in out
    assert "train: 1 images of the table have no record: 'x'" in out


def test_folds_that_split_a_patient_are_refused(kaggle, tmp_path):
    (tmp_path / "f.csv").write_text("image_name,fold\na,0\nb,1\nc,1\nd,1\n")
    with pytest.raises(ValueError, match=r"puts 1 patients in two folds \(for example 0\), which leaks"):
        make(kaggle, folds=tmp_path / "f.csv")


def test_a_table_that_contradicts_a_record_is_refused(kaggle, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE.replace("b,IP_2,1", "b,IP_2,0"))
    with pytest.raises(
        ValueError, match="1 records have another target than the table: 'b'; find out which is right, then build"
    ):
        make(kaggle, tmp_path / "t.csv")


def test_records_with_another_code_book_are_refused_and_the_remedy_mends_them(tmp_path, capsys):
    rows = [{"image_name": name, "target": place % 2, "sex": place % 2} for place, name in enumerate("abcdef")]
    shard = write_shard(tmp_path / "in", "train00-6.tfrec", rows)
    lines = [f"{name},p{name},{place % 2},{('female', 'male')[place % 2]}" for place, name in enumerate("abcdef")]
    (tmp_path / "t.csv").write_text("\n".join(["image_name,patient_id,target,sex", *lines]) + "\n")
    with pytest.raises(ValueError, match=r"there 0 is female, 1 is male; .* `tfrecord_tools.build --records --csv`"):
        make(tmp_path / "in", tmp_path / "t.csv")
    assert not (tmp_path / "in" / "train.index.csv").exists()
    mended = data_sources.read_records(shard, str(tmp_path / "t.csv"), "train")
    assert [integers["sex"] for integers in mended["integers"]] == [1, 0] * 3


def test_what_codes_mean_is_logged_and_those_that_no_table_confirms_are_in_the_manifest(tmp_path, capsys):
    rows = [{"image_name": name, "target": place % 2, "sex": place % 2} for place, name in enumerate("abcdef")]
    write_shard(tmp_path / "in", "train00-6.tfrec", rows)
    make(tmp_path / "in")
    assert manifest.read_manifest(str(tmp_path / "in"), "train")["unconfirmed_codes"] == ["sex"]
    assert "no table confirms what the codes of sex mean" in capsys.readouterr().out
    lines = [f"{name},p{name},{('male', 'female')[place % 2]}" for place, name in enumerate("abc")]
    (tmp_path / "t.csv").write_text("\n".join(["image_name,patient_id,sex", *lines]) + "\n")
    make(tmp_path / "in", tmp_path / "t.csv")
    assert "unconfirmed_codes" not in manifest.read_manifest(str(tmp_path / "in"), "train")
    assert "by the table, sex 0 = male in 2 of 2 records, 1 = female in 1 of 1 records" in capsys.readouterr().out


def test_names_are_joined_in_any_spelling_and_a_join_of_nothing_is_refused(tmp_path, capsys):
    write_shard(tmp_path / "in", "train00-1.tfrec", [{"image_name": "ISIC_0000001", "target": 0}])
    (tmp_path / "t.csv").write_text("image_name,patient_id,target\nisic_1.jpg,IP_7,0\n")
    make(tmp_path / "in", tmp_path / "t.csv")
    assert record_index.read_index(str(tmp_path / "in"), "train")["patient_id"].tolist() == ["IP_7"]
    assert "1 images are spelled in another way in" in capsys.readouterr().out
    (tmp_path / "t.csv").write_text("image_name,patient_id,target\nISIC_2,IP_7,0\n")
    with pytest.raises(ValueError, match=r"to have names in common, got none \('ISIC_0000001' in one, 'ISIC_2' in"):
        make(tmp_path / "in", tmp_path / "t.csv")


def test_a_training_table_may_come_with_the_shards_of_both_splits(kaggle, tmp_path, capsys):
    (tmp_path / "t.csv").write_text(TABLE)
    assert [one.split for one in make(kaggle, tmp_path / "t.csv")] == ["test", "train"]
    assert "test: 1 records are not in the table: 'e'" in capsys.readouterr().out


def test_a_target_that_is_none_is_named_with_its_table(kaggle, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE.replace("IP_2,1", "IP_2,yes"))
    with pytest.raises(ValueError, match=r"t.csv: target must be 0 or 1, got 'yes'"):
        make(kaggle, tmp_path / "t.csv")


def test_a_table_that_lists_an_image_twice_is_refused(kaggle, tmp_path):
    (tmp_path / "t.csv").write_text(TABLE + "a,IP_1,0\n")
    with pytest.raises(ValueError, match="t.csv must list every image once, but repeats 1, for example a"):
        make(kaggle, tmp_path / "t.csv")


def test_records_without_targets_are_noted(tmp_path, capsys):
    write_shard(tmp_path / "in", "train00-1.tfrec", [{"image_name": "a"}])
    (tmp_path / "t.csv").write_text(TABLE)
    make(tmp_path / "in", tmp_path / "t.csv")
    assert (
        "note: 1 records have no target, so they cannot be used for training; `tfrecord_tools.build"
        in capsys.readouterr().out
    )
    assert record_index.read_index(str(tmp_path / "in"), "train")["target"].tolist() == [-1]


def test_shards_of_a_folder_that_cannot_be_written_are_linked(kaggle, tmp_path):
    make(kaggle, output=tmp_path / "mine")
    make(kaggle, output=tmp_path / "mine")
    assert not list(kaggle.glob("*.csv"))
    assert record_index.read_index(str(tmp_path / "mine"), "train")["image_name"].tolist() == ["a", "b", "c", "d"]
    (tmp_path / "mine" / "test00-1.tfrec").unlink()
    (tmp_path / "mine" / "test00-1.tfrec").touch()
    with pytest.raises(ValueError, match="test00-1.tfrec already exists and is not .*; choose another --output"):
        make(kaggle, output=tmp_path / "mine")


def test_shards_of_two_folders_are_refused(kaggle, tmp_path):
    write_shard(tmp_path / "other", "train02-1.tfrec", [{"image_name": "z"}])
    with pytest.raises(
        ValueError, match="expected the shards of one set in one directory, got .*kaggle, .*other; index each"
    ):
        record_set_indexer.index_record_set(
            record_set_indexer.IndexConfig(
                records=f"{kaggle}/train*,{tmp_path}/other/*", csv=None, folds=None, output=None
            )
        )


def test_the_index_of_a_built_set_is_made_again_as_it_was(record_set, tmp_path):
    before = {name: (record_set / name).read_text() for name in ("train.index.csv", "train.manifest.json")}
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in record_set.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    listed = str(record_set / "train.index.csv")
    record_set_indexer.index_record_set(
        record_set_indexer.IndexConfig(records=f"{copy}/train*.tfrec", csv=listed, folds=listed, output=None)
    )
    assert {name: (copy / name).read_text() for name in before} == before


@pytest.mark.realdata
def test_a_real_file_of_another_schema_is_named(real_data, tmp_path):
    with pytest.raises(ValueError, match="has a different schema: record 0 lacks image"):
        record_set_indexer.index_record_set(
            record_set_indexer.IndexConfig(
                records=str(real_data / "tfrecord_foreign" / "train.tfrecords"),
                csv=None,
                folds=None,
                output=str(tmp_path),
            )
        )


def test_lesions_of_a_table_and_digests_of_the_images_are_indexed(tmp_path, capsys):
    rows = [{"image_name": name, "target": 0} for name in "abcd"]
    jpegs = [b"1", b"2", b"2", b"4"]
    write_shard(tmp_path / "in", "train00-4.tfrec", rows, jpegs)
    (tmp_path / "t.csv").write_text("image_name,patient_id,lesion_id\na,-1,L1\nb,-1,l1\nc,-1,L2\nd,-1,\n")
    (tmp_path / "f.csv").write_text("image_name,fold\na,0\nb,0\nc,1\nd,\n")
    make(tmp_path / "in", tmp_path / "t.csv", tmp_path / "f.csv")
    found = record_index.read_index(str(tmp_path / "in"), "train")
    assert found["lesion_id"].tolist() == ["L1", "l1", "L2", ""]
    assert found["image_digest"].tolist() == [identity.image_digest(jpeg) for jpeg in jpegs]
    out = capsys.readouterr().out
    for line in (
        "4 values of patient_id ('-1') stand for an unknown one and count as blank",
        "2 spellings of lesion_id are 1 (for example 'L1' and 'l1')",
        "2 images have equal bytes, of 1 photographs (for example 'b' and 'c')",
        "note: 1 photographs are under two names in two folds, with equal bytes (for example b and c); to keep them",
        f"note: 1 of 4 images have no fold in {tmp_path / 'f.csv'} (first: d); they are in no fold",
    ):
        assert line in out
    (tmp_path / "f.csv").write_text("image_name,fold\na,0\nb,1\nc,1\nd,1\n")
    with pytest.raises(errors.LeakageError, match=r"f.csv puts 1 lesions in two folds \(for example L1\), which leaks"):
        make(tmp_path / "in", tmp_path / "t.csv", tmp_path / "f.csv")


def test_a_changed_index_is_made_again_from_a_table_and_folds(kaggle, tmp_path):
    make(kaggle)
    path = kaggle / "train.index.csv"
    path.write_text(path.read_text().replace(",a,0,", ",a,7,"))
    with pytest.raises(errors.CorruptRecordError, match="is not the index that train.manifest.json was written with"):
        record_index.read_index(str(kaggle), "train")
    (tmp_path / "t.csv").write_text(TABLE)
    make(kaggle, tmp_path / "t.csv")
    assert record_index.read_index(str(kaggle), "train")["patient_id"].tolist() == ["IP_1", "IP_2", "IP_1", "IP_2"]
