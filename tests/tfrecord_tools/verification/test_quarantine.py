import pandas as pd
import pytest
from shard_files import write_shard

from tfrecord_tools import errors
from tfrecord_tools.io import manifest, record_index, tfrecord
from tfrecord_tools.verification import quarantine, split_check


def check(*files):
    (found,) = split_check.find_splits(files)
    return split_check.check_split(found, decode=True, workers=1)


def test_valid_records_are_copied_and_counts_in_names_are_corrected(tmp_path):
    rows = [{"image_name": "a"}, {"image_name": "a"}, {"image_name": "b"}]
    first = write_shard(tmp_path / "set", "train00-3.tfrec", rows)
    second = write_shard(tmp_path / "set", "train01.tfrec", [{"image_name": "c", "target": 1}])
    valid = tmp_path / "valid"
    shards = quarantine.quarantine_split(check(first, second), str(valid))
    assert shards == [str(valid / "train00-2.tfrec"), str(valid / "train01.tfrec")]
    assert [features["image_name"] for _, _, features in tfrecord.read(shards[0])] == ["a", "b"]
    assert (valid / "train01.tfrec").read_bytes() == (tmp_path / "set" / "train01.tfrec").read_bytes()
    bad = pd.read_csv(valid / "train.bad.csv")
    assert bad[["shard", "position", "image_name", "problem"]].to_numpy().tolist() == [
        ["train00-3.tfrec", 1, "a", "an earlier record has the same name"]
    ]
    assert record_index.read_index(str(valid), "train")["image_name"].tolist() == ["a", "b", "c"]


def test_the_manifest_and_folds_of_the_old_set_are_kept(tmp_path):
    shard = write_shard(tmp_path / "set", "train00-1.tfrec", [{"image_name": "a", "patient_id": 3}])
    manifest.write_manifest(str(tmp_path / "set"), "train", [], quality=80)
    columns = "shard,position,image_name,patient_id,target,fold\n"
    (tmp_path / "set" / "train.index.csv").write_text(f"{columns}train00-1.tfrec,0,a,IP_9,,4\n")
    quarantine.quarantine_split(check(shard), str(tmp_path / "valid"))
    written = manifest.read_manifest(str(tmp_path / "valid"), "train")
    assert (written["quality"], written["records"], len(written["shards"])) == (80, 1, 1)
    index = record_index.read_index(str(tmp_path / "valid"), "train")
    assert index[["patient_id", "fold"]].to_numpy().tolist() == [["IP_9", 4]]


def test_a_split_without_valid_records_leaves_only_the_list(tmp_path):
    (tmp_path / "train00-1.tfrec").write_bytes(b"not a record at all")
    assert quarantine.quarantine_split(check(str(tmp_path / "train00-1.tfrec")), str(tmp_path / "valid")) == []
    assert [path.name for path in (tmp_path / "valid").iterdir()] == ["train.bad.csv"]


def test_a_directory_with_files_and_several_directories_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(errors.ConfigError, match="--quarantine needs a new or empty directory, but .* holds files"):
        quarantine.check_quarantine(str(tmp_path), ["d/a"])
    with pytest.raises(errors.ConfigError, match="--quarantine needs shards of one directory, got d, e; run it once"):
        quarantine.check_quarantine(str(tmp_path / "new"), ["d/a", "e/b"])
    quarantine.check_quarantine(str(tmp_path / "new"), ["d/a", "d/b"])
