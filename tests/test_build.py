import hashlib
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from conftest import BUILD

from tfrecord_tools import build, schema


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_set_holds_every_row_once_with_its_features(made_up, record_set):
    table = pd.read_csv(made_up / "train.csv", dtype=str, keep_default_na=False).set_index("image_name")
    index = schema.read_index(str(record_set), "train")
    assert sorted(index["image_name"]) == sorted(table.index)
    patients = list(dict.fromkeys(table["patient_id"]))
    for shard, rows in index.groupby("shard"):
        for serialized, row in zip(tf.data.TFRecordDataset(shard), rows.itertuples(), strict=True):
            record = tf.io.parse_single_example(serialized, schema.parse_spec(labelled=True))
            source = table.loc[row.image_name]
            assert record["image_name"].numpy().decode() == row.image_name
            assert int(record["patient_id"]) == patients.index(source["patient_id"])
            assert int(record["target"]) == row.target == int(source["target"])
            for column in ("sex", "age_approx", "anatom_site_general_challenge", "diagnosis"):
                assert int(record[column]) == schema.encode(column, source[column])
            height, width = cv2.imread(str(made_up / "jpeg" / "train" / f"{row.image_name}.jpg")).shape[:2]
            assert (int(record["width"]), int(record["height"])) == (width, height)
            assert tf.io.decode_jpeg(record["image"]).shape == (64, 64, 3)


def test_colours_are_rgb_and_close_to_an_area_resize(made_up, record_set):
    index = schema.read_index(str(record_set), "train")
    serialized = next(iter(tf.data.TFRecordDataset(index["shard"][0])))
    record = tf.io.parse_single_example(serialized, schema.parse_spec(labelled=False))
    source = cv2.imread(str(made_up / "jpeg" / "train" / f"{index['image_name'][0]}.jpg"))[..., ::-1]
    expected = cv2.resize(source, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(tf.io.decode_jpeg(record["image"]).numpy() - expected).mean() < 3


def test_no_patient_spans_two_shards_and_no_shard_two_folds(record_set):
    index = schema.read_index(str(record_set), "train")
    assert index.groupby("patient_id")["shard"].nunique().max() == 1
    assert index.groupby("shard")["fold"].nunique().max() == 1
    assert sorted(set(index["fold"])) == [0, 1]


def test_the_manifest_says_what_the_shards_are(made_up, record_set):
    manifest = json.loads((record_set / "train.manifest.json").read_text())
    assert manifest["image_size"] == 64
    assert manifest["source"]["csv"] == "train.csv"
    assert manifest["source"]["sha256"] == hashlib.sha256((made_up / "train.csv").read_bytes()).hexdigest()
    assert manifest["encodings"]["sex"] == ["male", "female"]
    for shard in manifest["shards"]:
        data = (record_set / shard["name"]).read_bytes()
        assert shard["bytes"] == len(data)
        assert shard["sha256"] == hashlib.sha256(data).hexdigest()
        assert shard["name"].endswith(f"-{shard['records']}.tfrec")
    assert manifest["records"] == sum(shard["records"] for shard in manifest["shards"])


def test_a_test_split_has_neither_labels_nor_folds(record_set):
    index = schema.read_index(str(record_set), "test")
    assert set(index["target"]) == set(index["fold"]) == {-1}
    for serialized in tf.data.TFRecordDataset(sorted(set(index["shard"]))):
        features = tf.train.Example.FromString(serialized.numpy()).features.feature
        assert not {"target", "diagnosis"} & set(features)


def test_a_second_run_gives_the_same_bytes(made_up, record_set, tmp_path):
    for _ in range(2):
        build.build(str(made_up / "train.csv"), str(made_up / "jpeg"), str(tmp_path), "train", **BUILD)
        assert contents(tmp_path).items() <= contents(record_set).items()
    assert len(contents(tmp_path)) >= 6


def test_a_labelled_table_built_as_test_yields_no_label(made_up, tmp_path):
    shutil.copytree(made_up / "jpeg" / "train", tmp_path / "jpeg")
    build.build(str(made_up / "train.csv"), str(tmp_path / "jpeg"), str(tmp_path / "records"), "test", **BUILD)
    index = schema.read_index(str(tmp_path / "records"), "test")
    assert set(index["target"]) == {-1}
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(index["shard"][0]))).numpy())
    assert "target" not in example.features.feature


def test_all_problems_come_together_and_nothing_is_written(made_up, tmp_path):
    csv = tmp_path / "train.csv"
    csv.write_text("image_name,patient_id,target\n../x,p,0\nnone,p,1\nnone,p,\n")
    with pytest.raises(ValueError, match=r"would leave the folder.*more than once.*do not exist.*without a target"):
        build.build(str(csv), str(made_up / "jpeg"), str(tmp_path / "records"), "train", **BUILD)
    assert not (tmp_path / "records").exists()


def test_a_missing_column_is_named_with_all_else_that_is_wrong(made_up, tmp_path):
    (tmp_path / "train.csv").write_text("image_name,target\n../x,0\n")
    with pytest.raises(ValueError, match=r"lacks patient_id; 1 names that would leave the folder .* '../x'"):
        build.build(str(tmp_path / "train.csv"), str(made_up / "jpeg"), str(tmp_path / "out"), "train", **BUILD)


def test_targets_and_ages_written_as_decimals_are_read(made_up, tmp_path):
    table = pd.read_csv(made_up / "train.csv")
    table.assign(target=table["target"].astype(float)).to_csv(tmp_path / "train.csv", index=False)
    build.build(str(tmp_path / "train.csv"), str(made_up / "jpeg"), str(tmp_path / "records"), "train", **BUILD)
    index = schema.read_index(str(tmp_path / "records"), "train")
    assert index["target"].sum() == table["target"].sum()


def test_a_build_cut_off_while_it_comes_into_place_can_be_repeated(made_up, record_set, tmp_path, monkeypatch):
    arguments = (str(made_up / "train.csv"), str(made_up / "jpeg"), str(tmp_path), "train")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build.shards, "remove_others", killed)
        with pytest.raises(KeyboardInterrupt):
            build.build(*arguments, **BUILD)
    build.build(*arguments, **BUILD)
    assert contents(tmp_path).items() <= contents(record_set).items()


def test_folds_for_a_test_split_are_refused(made_up, tmp_path):
    with pytest.raises(ValueError, match="--folds goes with --split=train, got --split=test"):
        build.build("test.csv", "jpeg", str(tmp_path), "test", **{**BUILD, "folds": "folds.csv"})


def test_a_truncated_image_is_named_and_no_file_is_left(made_up, tmp_path):
    table = pd.read_csv(made_up / "train.csv", dtype=str)
    shutil.copytree(made_up / "jpeg" / "train", tmp_path / "jpeg")
    broken = tmp_path / "jpeg" / f"{table['image_name'][4]}.jpg"
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"{broken.name} is truncated"):
        build.build(str(made_up / "train.csv"), str(tmp_path / "jpeg"), str(tmp_path / "records"), "train", **BUILD)
    assert list((tmp_path / "records").iterdir()) == []


@pytest.mark.realdata
def test_patient_codes_of_the_real_table_are_the_published_ones(real_data):
    table = pd.read_csv(real_data / "isic2020" / "train_cdeotte.csv", dtype=str, keep_default_na=False)
    assert build.patient_codes(table["patient_id"]).tolist() == table["patient_code"].astype(int).tolist()
