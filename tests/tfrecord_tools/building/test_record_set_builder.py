import dataclasses
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import time
import zipfile

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from dicom_files import made
from harness import ENVIRONMENT, ROOT, build_set

from tfrecord_tools import errors, schema
from tfrecord_tools.building import build_config, data_sources, record_set, record_set_builder, shard_staging
from tfrecord_tools.io import manifest, record_index, tf_example, tfrecord


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_set_holds_every_row_once_with_its_features(made_up, record_set):
    table = pd.read_csv(made_up / "train.csv", dtype=str, keep_default_na=False).set_index("image_name")
    index = record_index.read_index(str(record_set), "train")
    assert sorted(index["image_name"]) == sorted(table.index)
    patients = list(dict.fromkeys(table["patient_id"]))
    for shard, rows in index.groupby("shard"):
        for serialized, row in zip(tf.data.TFRecordDataset(shard), rows.itertuples(), strict=True):
            record = tf.io.parse_single_example(serialized, tf_example.parse_spec(labeled=True))
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
    index = record_index.read_index(str(record_set), "train")
    serialized = next(iter(tf.data.TFRecordDataset(index["shard"][0])))
    record = tf.io.parse_single_example(serialized, tf_example.parse_spec(labeled=False))
    source = cv2.imread(str(made_up / "jpeg" / "train" / f"{index['image_name'][0]}.jpg"))[..., ::-1]
    expected = cv2.resize(source, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(tf.io.decode_jpeg(record["image"]).numpy() - expected).mean() < 3


def test_no_patient_spans_two_shards_and_no_shard_two_folds(record_set):
    index = record_index.read_index(str(record_set), "train")
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
    index = record_index.read_index(str(record_set), "test")
    assert set(index["target"]) == set(index["fold"]) == {-1}
    for serialized in tf.data.TFRecordDataset(sorted(set(index["shard"]))):
        features = tf.train.Example.FromString(serialized.numpy()).features.feature
        assert not {"target", "diagnosis"} & set(features)


def test_a_second_run_gives_the_same_bytes(made_up, record_set, tmp_path):
    for _ in range(2):
        build_set(made_up / "train.csv", made_up / "jpeg", tmp_path)
        assert contents(tmp_path).items() <= contents(record_set).items()
    assert len(contents(tmp_path)) >= 6


def test_a_labeled_table_built_as_test_yields_no_label(made_up, tmp_path):
    shutil.copytree(made_up / "jpeg" / "train", tmp_path / "jpeg")
    build_set(made_up / "train.csv", tmp_path / "jpeg", tmp_path / "records", "test")
    index = record_index.read_index(str(tmp_path / "records"), "test")
    assert set(index["target"]) == {-1}
    example = tf.train.Example.FromString(next(iter(tf.data.TFRecordDataset(index["shard"][0]))).numpy())
    assert "target" not in example.features.feature


def test_all_problems_come_together_and_nothing_is_written(made_up, tmp_path):
    csv = tmp_path / "train.csv"
    csv.write_text("image_name,patient_id,target\n../x,p,0\nnone,p,1\nnone,p,\n")
    with pytest.raises(
        ValueError, match=r"lead outside the directory.*more than once.*without a file.*without a target"
    ):
        build_set(csv, made_up / "jpeg", tmp_path / "records")
    assert not (tmp_path / "records").exists()


def test_a_missing_column_is_named_with_all_else_that_is_wrong(made_up, tmp_path):
    (tmp_path / "train.csv").write_text("image_name,target\n../x,0\n")
    with pytest.raises(
        ValueError, match=r"lacks patient_id; it has only image_name, target; .*; 1 image names that are blank or lead"
    ):
        build_set(tmp_path / "train.csv", made_up / "jpeg", tmp_path / "out")


def test_targets_and_ages_written_as_decimals_are_read(made_up, tmp_path):
    table = pd.read_csv(made_up / "train.csv")
    table.assign(target=table["target"].astype(float)).to_csv(tmp_path / "train.csv", index=False)
    build_set(tmp_path / "train.csv", made_up / "jpeg", tmp_path / "records")
    index = record_index.read_index(str(tmp_path / "records"), "train")
    assert index["target"].sum() == table["target"].sum()


def test_a_build_cut_off_while_it_comes_into_place_can_be_repeated(made_up, record_set, tmp_path, monkeypatch):
    arguments = (made_up / "train.csv", made_up / "jpeg", tmp_path)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shard_staging, "put_in_place", killed)
        with pytest.raises(KeyboardInterrupt):
            build_set(*arguments)
    build_set(*arguments)
    assert contents(tmp_path).items() <= contents(record_set).items()


def test_folds_for_a_test_split_are_refused(made_up, tmp_path):
    with pytest.raises(ValueError, match="--folds needs --split=train, got --split=test; omit --folds"):
        build_set("test.csv", "jpeg", tmp_path, "test", folds="folds.csv")


def test_a_truncated_image_is_named_and_no_file_is_left(made_up, tmp_path):
    table = pd.read_csv(made_up / "train.csv", dtype=str)
    shutil.copytree(made_up / "jpeg" / "train", tmp_path / "jpeg")
    broken = tmp_path / "jpeg" / f"{table['image_name'][4]}.jpg"
    broken.write_bytes(broken.read_bytes()[:5000])
    with pytest.raises(ValueError, match=f"{broken.name} is truncated"):
        build_set(made_up / "train.csv", tmp_path / "jpeg", tmp_path / "records")
    assert not list((tmp_path / "records").glob("train*"))


@pytest.mark.realdata
def test_patient_codes_of_the_real_table_are_the_published_ones(real_data):
    table = pd.read_csv(real_data / "isic2020" / "train_cdeotte.csv", dtype=str, keep_default_na=False)
    assert data_sources.patient_codes(table["patient_id"]).tolist() == table["patient_code"].astype(int).tolist()


def test_a_set_is_rebuilt_byte_for_byte_where_nothing_changes(record_set, tmp_path):
    build_set(None, None, tmp_path, records=f"{record_set}/train*.tfrec")
    before, after = contents(record_set), contents(tmp_path)
    assert {name: after[name] for name in after if name.endswith((".tfrec", ".csv"))}.items() <= before.items()
    assert {path.name for path in record_set.glob("train*.tfrec")} <= set(after)


def test_codes_that_no_table_confirmed_stay_so_in_a_set_that_is_built_again_without_one(record_set, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for path in record_set.glob("train*.tfrec"):
        shutil.copy(path, tmp_path / "in")
    build_set(None, None, tmp_path / "out", records=f"{tmp_path}/in/*.tfrec")
    unconfirmed = manifest.read_manifest(str(tmp_path / "out"), "train")["unconfirmed_codes"]
    assert unconfirmed == ["sex", "anatom_site_general_challenge", "diagnosis"]
    assert "no table confirms what the codes of sex, anatom_site" in capsys.readouterr().out
    built = manifest.read_manifest(str(record_set), "train")
    assert "unconfirmed_codes" not in built


def test_a_set_is_rebuilt_at_another_size_with_the_folds_of_an_index(record_set, tmp_path):
    rows = pd.read_csv(record_set / "train.index.csv")
    (tmp_path / "folds.csv").write_text((1 - rows.set_index("image_name")["fold"]).to_csv())
    options = {"records": f"{record_set}/train*.tfrec", "image_size": 32, "folds": str(tmp_path / "folds.csv")}
    build_set(None, None, tmp_path / "out", **options)
    index = record_index.read_index(str(tmp_path / "out"), "train").set_index("image_name")
    assert index["fold"].to_dict() == (1 - rows.set_index("image_name")["fold"]).to_dict()
    sizes = {}
    for folder in (record_set, tmp_path / "out"):
        for path in sorted(folder.glob("train*.tfrec")):
            for _, _, features in tfrecord.read(str(path)):
                side = 64 if folder == record_set else 32
                assert tf.io.extract_jpeg_shape(features.pop("image")).numpy().tolist() == [side, side, 3]
                assert sizes.setdefault(features["image_name"], features) == features
    assert len(sizes) == len(rows)


def test_a_test_split_is_rebuilt_without_labels_even_where_records_carry_them(record_set, tmp_path):
    (tmp_path / "in").mkdir()
    for path in record_set.glob("train*.tfrec"):
        (tmp_path / "in" / path.name.replace("train", "test")).write_bytes(path.read_bytes())
    build_set(None, None, tmp_path / "out", "test", records=f"{tmp_path}/in/*.tfrec")
    for path in (tmp_path / "out").glob("*.tfrec"):
        assert not [1 for _, _, features in tfrecord.read(str(path)) if {"target", "diagnosis"} & set(features)]
    assert set(record_index.read_index(str(tmp_path / "out"), "test")["target"]) == {-1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either --images or --records, got neither; give one of them"),
        ({"images": "jpeg", "records": "r/*"}, "expected either --images or --records, got both; give one of them"),
        ({"images": "jpeg"}, "--images needs --csv, the table that lists the images; give both"),
        (
            {"images": "jpeg", "csv": "t.csv", "output": None},
            "--output is required: the directory of the new record set",
        ),
        ({"records": "r/train*", "output": "r"}, "--output must not be the directory of --records, got r for both"),
        (
            {"images": "d", "csv": "t.csv", "csv_from_dicom": "u.csv"},
            "--csv_from_dicom reads only --images; omit --records and --csv",
        ),
    ],
)
def test_options_that_contradict_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_set(**({"csv": None, "images": None, "output": "o"} | options))


def test_a_build_returns_what_it_made(made_up, tmp_path):
    shutil.copytree(made_up / "jpeg" / "train", tmp_path / "jpeg")
    names = pd.read_csv(made_up / "train.csv")["image_name"].tolist()
    (tmp_path / "jpeg" / f"{names[7]}.jpg").write_bytes(b"x")
    built = build_set(made_up / "train.csv", tmp_path / "jpeg", tmp_path / "out", on_error="skip", image_size=16)
    index = record_index.read_index(str(tmp_path / "out"), "train")
    assert built == record_set.RecordSet(
        directory=str(tmp_path / "out"),
        split="train",
        records=len(names) - 1,
        shards=tuple(sorted(set(index["shard"]))),
        skipped=(names[7],),
    )


def test_tags_are_written_by_a_function_of_their_own(tmp_path):
    (tmp_path / "a.dcm").write_bytes(made(PatientSex="F"))
    config = build_config.BuildConfig(images=str(tmp_path), split="test", csv_from_dicom=str(tmp_path / "t.csv"))
    with pytest.raises(errors.ConfigError, match="csv_from_dicom writes a table .*; call write_dicom_tags"):
        record_set_builder.build_record_set(config)
    assert not (tmp_path / "t.csv").exists()
    table = record_set_builder.write_dicom_tags(config)
    assert table.to_dict("records") == pd.read_csv(tmp_path / "t.csv", keep_default_na=False).to_dict("records")
    assert table[["image_name", "sex"]].to_numpy().tolist() == [["a", "female"]]
    with pytest.raises(errors.ConfigError, match="csv_from_dicom is required: the CSV file to write the DICOM tags to"):
        record_set_builder.write_dicom_tags(dataclasses.replace(config, csv_from_dicom=None, csv="t", output="o"))


def test_a_skipped_image_is_in_the_manifest_and_in_no_index(made_up, tmp_path, capsys):
    shutil.copytree(made_up / "jpeg" / "train", tmp_path / "jpeg")
    broken = sorted((tmp_path / "jpeg").iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:5000])
    build_set(made_up / "train.csv", tmp_path / "jpeg", tmp_path / "out", on_error="skip")
    skipped = json.loads((tmp_path / "out" / "train.manifest.json").read_text())["skipped"]
    assert [row["image_name"] for row in skipped] == [broken.stem]
    assert skipped[0]["problem"].startswith(f"{broken.name} is truncated (5000 bytes)")
    index = record_index.read_index(str(tmp_path / "out"), "train")
    assert broken.stem not in set(index["image_name"])
    for shard, rows in index.groupby("shard"):
        assert [found["image_name"] for _, _, found in tfrecord.read(shard)] == rows["image_name"].tolist()
    assert "train: 1 images skipped and listed in the manifest (first: " in capsys.readouterr().out


def test_where_every_image_is_broken_there_is_no_set(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "test.csv").write_text("image_name,patient_id\na,p\n")
    with pytest.raises(ValueError, match=r"none of the 1 images can be read \(first: a.jpg is not an intact JPEG"):
        build_set(tmp_path / "test.csv", tmp_path, tmp_path / "out", "test", on_error="skip")
    with pytest.raises(ValueError, match="image a: .*a.jpg is not an intact JPEG"):
        build_set(tmp_path / "test.csv", tmp_path, tmp_path / "out", "test")
    # There is nothing to resume.
    assert not (tmp_path / "out").exists()


def test_dicom_files_become_records_and_their_disagreements_are_counted(tmp_path, capsys):
    (tmp_path / "dicom" / "test").mkdir(parents=True)
    for name, age in (("a", "050Y"), ("b", "045Y")):
        (tmp_path / "dicom" / "test" / f"{name}.dcm").write_bytes(made(PatientID='"x"', PatientAge=age))
    (tmp_path / "test.csv").write_text("image_name,patient_id,age_approx\na,p,50\nb,p,50\n")
    build_set(tmp_path / "test.csv", tmp_path / "dicom", tmp_path / "out", "test")
    manifest = json.loads((tmp_path / "out" / "test.manifest.json").read_text())
    assert manifest["tag_disagreements"] == {
        "files": 2,
        "sex": 0,
        "age_approx": 1,
        "anatom_site_general_challenge": 0,
    }
    assert (
        "test: tags of 2 DICOM files differ from the table, whose values are used: age_approx 1"
        in capsys.readouterr().out
    )
    assert manifest["source"]["files"] == ["dcm"]


def test_made_up_dicom_files_give_the_records_of_their_jpegs(made_up, record_set, tmp_path, capsys):
    build_set(made_up / "test.csv", made_up / "dicom", tmp_path, "test")
    shards = {name: data for name, data in contents(tmp_path).items() if name.endswith(".tfrec")}
    assert shards.items() <= contents(record_set).items()
    tags = json.loads((tmp_path / "test.manifest.json").read_text())["tag_disagreements"]
    known = (pd.read_csv(made_up / "test.csv", dtype=str)["age_approx"].notna()).sum()
    assert tags["files"] == len(pd.read_csv(made_up / "test.csv"))
    assert tags["age_approx"] == known
    assert tags["sex"] == tags["anatom_site_general_challenge"] == 0


def test_beam_builds_the_same_set(made_up, record_set, tmp_path):
    pytest.importorskip("apache_beam", reason="the extra [beam] is not installed")
    build_set(made_up / "train.csv", made_up / "jpeg", tmp_path, runner="beam")
    assert contents(tmp_path).items() <= contents(record_set).items()


# Where a process of its own finds the harness.
SUPPORT = str(ROOT / "tests" / "support")

KILLED = """
import os, pathlib, random, signal, sys, time
sys.path.insert(0, sys.argv[1])
from harness import build_set

csv, images, output = sys.argv[2:]
random.seed(0)
killed, found = 0, []
while killed < 10:
    child = os.fork()
    if not child:
        build_set(csv, images, output, image_size=768)
        os._exit(0)
    # Until so many shards are finished, and a little longer.
    ended = 0
    while not ended and len(list(pathlib.Path(output).glob(".making-train/*.json"))) < killed % 5:
        time.sleep(0.002)
        ended = os.waitpid(child, os.WNOHANG)[0]
    if not ended:
        time.sleep(random.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
        found.append(len(list(pathlib.Path(output).glob(".making-train/*.json"))))
print("finished shards at the kills:", *found)
"""


def test_a_build_killed_at_any_point_ends_with_the_bytes_of_one_that_was_not(made_up, tmp_path):
    """SIGKILL ten times; each run goes on from the one before."""
    for output in ("whole", "killed"):
        if output == "killed":
            arguments = [SUPPORT, made_up / "train.csv", made_up / "jpeg", tmp_path / output]
            program = [sys.executable, "-c", KILLED, *map(str, arguments)]
            killed = subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=300)
            assert len(set(killed.stdout.splitlines()[-1].split(":")[1].split())) >= 3, killed.stdout
        build_set(made_up / "train.csv", made_up / "jpeg", tmp_path / output, image_size=768)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


def test_workers_end_with_a_build_that_is_killed_and_the_next_goes_on(made_up, tmp_path, record_set):
    program = f"""
import sys
sys.path.insert(0, {SUPPORT!r})
from harness import build_set
from tfrecord_tools.building import runners
runners._IMAGES_PER_PROCESS = 10
build_set({str(made_up / "train.csv")!r}, {str(made_up / "jpeg")!r}, {str(tmp_path / "out")!r}, workers=2)
"""
    process = subprocess.Popen([sys.executable, "-c", program], env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    try:
        wait_until(lambda: list((tmp_path / "out").rglob("train*.json")) or process.poll() is not None)
        workers = [int(child) for child in children.read_text().split()]
    finally:
        process.kill()
        process.wait()
    assert len(workers) >= 2
    wait_until(lambda: not [worker for worker in workers if pathlib.Path(f"/proc/{worker}").exists()])
    build_set(made_up / "train.csv", made_up / "jpeg", tmp_path / "out")
    assert contents(tmp_path / "out").items() <= contents(record_set).items()


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_lesions_without_patients_are_grouped_indexed_and_counted(tmp_path, capsys):
    (tmp_path / "jpeg").mkdir()
    rows = []
    for number in range(8):
        image = np.full((8, 8, 3), 30 * (number // 4 * 4 + min(number % 4, 2)), "uint8")
        cv2.imwrite(str(tmp_path / "jpeg" / f"i{number}.png"), image)
        rows.append(f"i{number},unknown,L{number // 2},{number % 2}")
    (tmp_path / "train.csv").write_text("\n".join(["image_name,patient_id,lesion_id,target", *rows, ""]))
    build_set(tmp_path / "train.csv", tmp_path / "jpeg", tmp_path / "out", image_size=8)
    index = record_index.read_index(str(tmp_path / "out"), "train").set_index("image_name").sort_index()
    assert index["lesion_id"].tolist() == ["L0", "L0", "L1", "L1", "L2", "L2", "L3", "L3"]
    assert index.groupby("lesion_id")["fold"].nunique().max() == 1
    # i2 and i3, i6 and i7 are of equal bytes.
    assert index["image_digest"].nunique() == 6
    codes = [found["patient_id"] for shard in set(index["shard"]) for _, _, found in tfrecord.read(shard)]
    assert codes == [-1] * 8
    out = capsys.readouterr().out
    assert "train: 8 records of unknown patients (8 records, 4 lesions) in" in out
    assert "8 values of patient_id ('unknown') stand for an unknown one and count as blank" in out
    assert "4 images have equal bytes, of 2 photographs (for example 'i2' and 'i3')" in out
    (tmp_path / "folds.csv").write_text("image_name,fold\n" + "".join(f"i{n},{n % 2}\n" for n in range(8)))
    with pytest.raises(errors.LeakageError, match="folds.csv puts 4 lesions in two folds"):
        build_set(
            tmp_path / "train.csv", tmp_path / "jpeg", tmp_path / "bad", folds=str(tmp_path / "folds.csv"), image_size=8
        )


def test_a_copy_under_another_name_is_in_the_fold_of_its_original(tmp_path):
    (tmp_path / "jpeg").mkdir()
    rows = []
    for number in range(8):
        content = cv2.imencode(".png", np.full((8, 8, 3), 30 * (number % 4), "uint8"))[1].tobytes()
        (tmp_path / "jpeg" / f"i{number}.png").write_bytes(content)
        rows.append(f"i{number},P{number},{number % 2}")
    (tmp_path / "train.csv").write_text("\n".join(["image_name,patient_id,target", *rows, ""]))
    build_set(tmp_path / "train.csv", tmp_path / "jpeg", tmp_path / "out", image_size=8)
    fold = record_index.read_index(str(tmp_path / "out"), "train").set_index("image_name")["fold"]
    assert [fold[f"i{number}"] for number in range(4)] == [fold[f"i{number + 4}"] for number in range(4)]
    assert sorted(set(fold)) == [0, 1]


def test_images_of_all_formats_in_an_archive_become_the_same_records_as_files(tmp_path):
    picture = np.full((40, 40, 3), (30, 60, 90), np.uint8)
    (tmp_path / "files" / "deep").mkdir(parents=True)
    (tmp_path / "t.csv").write_text("image_name,patient_id\na,p\nb.bmp,q\nx/c,r\nnone,s\n")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("a.png", "b.bmp", "c.webp"):
            data = cv2.imencode(name[1:], picture, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
            (tmp_path / "files" / "deep" / name).write_bytes(data)
            archive.writestr(f"x/{name}", data)
    with pytest.raises(errors.IsicError, match="1 listed images without a file: 'none'; .* --missing_images=skip"):
        build_set(tmp_path / "t.csv", tmp_path / "files", tmp_path / "0", "test")
    for output, images in (("1", "files"), ("2", "a.zip")):
        built = build_set(tmp_path / "t.csv", tmp_path / images, tmp_path / output, "test", missing_images="skip")
        assert built.records == 3
        saved = json.loads((tmp_path / output / "test.manifest.json").read_text())
        assert saved["missing_images"] == ["none"]
        assert saved["source"]["files"] == ["bmp", "png", "webp"]
    shards = [[path.read_bytes() for path in sorted((tmp_path / name).glob("*.tfrec"))] for name in ("1", "2")]
    assert shards[0] == shards[1]
    assert "missing_images" not in json.loads((build_and_get(tmp_path, "a,p") / "test.manifest.json").read_text())


def build_and_get(folder, row):
    (folder / "one.csv").write_text(f"image_name,patient_id\n{row}\n")
    build_set(folder / "one.csv", folder / "files", folder / "one", "test", missing_images="skip")
    return folder / "one"


def test_no_tag_of_an_export_beyond_the_schema_reaches_the_set(tmp_path):
    hidden = {
        "PatientName": "Doe^Jane",
        "PatientID": "4711-A",
        "StudyDate": "20210131",
        "TrackingID": "mole-7",
        "TrackingUID": "1.2.840.99",
        "InstitutionName": "Hospital",
        "StudyInstanceUID": "1.2.840.98",
        "PatientBirthDate": "19700101",
    }
    (tmp_path / "key").write_text("0123456789abcdef" * 4)
    (tmp_path / "e" / "S1").mkdir(parents=True)
    (tmp_path / "e" / "S1" / "IMG1").write_bytes(made(**hidden))
    gray = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)
    tags = {**hidden, "PhotometricInterpretation": "MONOCHROME2", "SamplesPerPixel": 1}
    (tmp_path / "e" / "S1" / "IMG2").write_bytes(made(gray, **tags))
    config = build_config.BuildConfig(
        images=str(tmp_path / "e"),
        split="test",
        csv_from_dicom=str(tmp_path / "t.csv"),
        pseudonyms=str(tmp_path / "key"),
    )
    record_set_builder.write_dicom_tags(config)
    with pytest.raises(errors.CorruptRecordError, match="IMG2 is MONOCHROME2, .* --monochrome=accept"):
        build_set(tmp_path / "t.csv", tmp_path / "e", tmp_path / "out", "test")
    built = build_set(tmp_path / "t.csv", tmp_path / "e", tmp_path / "out", "test", monochrome="accept")
    assert built.records == 2
    written = b"".join(path.read_bytes() for path in [tmp_path / "t.csv", *(tmp_path / "out").iterdir()])
    for text in (*hidden.values(), "0123456789abcdef0123", "Jane"):
        assert text.encode() not in written, text
