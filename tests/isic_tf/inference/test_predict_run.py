import functools
import os
import pathlib
import shutil
import tempfile
from types import SimpleNamespace

import cv2
import numpy as np
import pandas as pd
import pydicom
import pytest
import tensorflow as tf
from dicom_files import made as make_dicom
from harness import PREDICT, RECIPE, build_set, predicted
from shard_files import rewrite_index

import isic_tf
from isic_tf.artifacts import prediction_files, run_directory, submission_format
from isic_tf.augmentation import policies
from isic_tf.data import decoding, image_files, photographs, preprocessing_config, record_seeds
from isic_tf.distribution import workers
from isic_tf.inference import (
    fold_selection,
    predict_run,
    prediction_inputs,
    prediction_shards,
    resumable_prediction,
    test_time_augmentation,
)
from isic_tf.inference.config import PredictConfig, PredictFilesConfig
from isic_tf.models import classifiers
from isic_tf.postprocessing import calibrate_run, calibration, calibration_file
from isic_tf.training import loop
from isic_tf.training.config import TrainConfig
from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, preprocessing
from tfrecord_tools.io import csv_tables, output_lock, record_index, tf_example

pytestmark = pytest.mark.usefixtures("small_backbone")


def test_a_submission_has_the_samples_names_in_its_order(run, record_set, made_up, tmp_path):
    names = pd.read_csv(made_up / "test.csv")["image_name"].tolist()[::-1]
    sample = tmp_path / "sample.csv"
    sample.write_text("image_name,target\n" + "".join(f"{name},0\n" for name in names))
    shards = f"{record_set}/test*.tfrec"
    found = predicted(run, tmp_path / "s.csv", records=shards, sample_submission=str(sample))
    plain = predicted(run, tmp_path / "p.csv", records=shards)
    assert list(found.columns) == ["target"]
    assert found.index.tolist() == names
    assert np.array_equal(found["target"], plain.loc[names, "prediction"])
    assert list(tmp_path.glob("*.parts*")) == []


def test_out_of_fold_predictions_are_those_of_the_training(run, record_set, tmp_path, capsys):
    oof = pd.read_csv(run / "oof.csv").set_index("image_name")
    shards = f"{record_set}/train*.tfrec"
    found = predicted(run, tmp_path / "oof.csv", records=shards, out_of_fold=True)
    assert list(found.columns) == ["prediction", "fold", "target"]
    assert found[["fold", "target"]].equals(oof.loc[found.index, ["fold", "target"]])
    assert np.abs(found["prediction"] - oof.loc[found.index, "prediction"]).max() < 1e-6
    assert "optimistic" not in capsys.readouterr().out
    # By all folds, most of which were trained on the image.
    predicted(run, tmp_path / "all.csv", records=shards)
    assert f"note: {len(oof)} of the {len(oof)} images, or their patients, were trained on" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["records", "images"])
def test_the_function_returns_what_the_command_writes(run, record_set, made_up, tmp_path, kind):
    config = PredictConfig(**PREDICT, tta=2, csv=None if kind == "records" else str(made_up / "test.csv"))
    source = {"records": f"{record_set}/test*.tfrec", "images": str(made_up / "jpeg" / "test")}[kind]
    table = isic_tf.predict(isic_tf.Run(run), source, config)
    predicted(run, tmp_path / "o.csv", **{kind: source}, tta=2, csv=config.csv)
    written = pd.read_csv(tmp_path / "o.csv")
    pd.testing.assert_frame_equal(table, written)
    assert table["prediction"].dtype == np.float64


def test_the_function_returns_out_of_fold_predictions_and_writes_only_embeddings(
    run, record_set, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = PredictConfig(**PREDICT, out_of_fold=True, embeddings="e.npz")
    table = predict_run.predict(str(run), f"{record_set}/train*.tfrec", config).set_index("image_name")
    oof = pd.read_csv(run / "oof.csv").set_index("image_name")
    assert table[["fold", "target"]].astype("int64").equals(oof.loc[table.index, ["fold", "target"]])
    assert np.abs(table["prediction"] - oof.loc[table.index, "prediction"]).max() < 1e-6
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]


def test_the_function_refuses_what_the_command_does(run, record_set):
    with pytest.raises(errors.ConfigError, match="expected --calibrated with --prevalence"):
        predict_run.predict(run, f"{record_set}/test*.tfrec", PredictConfig(prevalence=0.1))
    with pytest.raises(errors.ConfigError, match="expected --csv only with --images"):
        predict_run.predict(run, f"{record_set}/test*.tfrec", PredictConfig(csv="t.csv"))
    with pytest.raises(errors.IsicError, match="no shards match"):
        predict_run.predict(run, "nothing*.tfrec")


@pytest.fixture
def half(monkeypatch):
    """Predicts 0.5 of all images, without a network."""

    def write(job, directory, done):
        for part, own in job.rows.groupby("part"):
            prediction_shards.write_part(directory, part, own[["image_name"]].assign(prediction=0.5))

    monkeypatch.setattr(resumable_prediction, "predict_missing_parts", write)


def test_one_image_of_no_fold_leaves_the_others_theirs(half, run, record_set, tmp_path, capsys):
    shutil.copytree(record_set, tmp_path / "set")
    index = pd.read_csv(tmp_path / "set" / "train.index.csv")
    # One that no network was trained on, and one whose target is unknown.
    for fold in (0, 1):
        shutil.copytree(run / f"fold{fold}", tmp_path / "run" / f"fold{fold}")
        seen = pd.read_csv(tmp_path / "run" / f"fold{fold}" / "seen_images.csv")
        alone = seen["patient_id"] != index["patient_id"][0]
        seen[alone].to_csv(tmp_path / "run" / f"fold{fold}" / "seen_images.csv", index=False)
    shutil.copy(run / "flags.txt", tmp_path / "run")
    known = index["patient_id"] != index["patient_id"][0]
    last = index.index[known][-1]
    targets = index["target"].astype("Int64").where(index.index != last)
    rewrite_index(tmp_path / "set", "train", index.assign(target=targets))
    found = predicted(tmp_path / "run", tmp_path / "o.csv", records=f"{tmp_path}/set/train*.tfrec", out_of_fold=True)
    assert found["fold"].isna().tolist() == (~known).tolist()
    assert found.loc[index["image_name"][known], "fold"].tolist() == index["fold"][known].tolist()
    assert found.index[found["target"].isna()].tolist() == [index["image_name"][last]]
    out = capsys.readouterr().out
    assert (
        f"note: {(~known).sum()} of {len(index)} images have no fold (for example {index['image_name'][0]}); left blank"
        in out
    )
    assert "note: 1 of" in out
    # Read as the text that whole numbers are.
    assert set(csv_tables.read_table(str(tmp_path / "o.csv"), ("fold",))["fold"]) == {"", "0", "1"}


def test_where_no_image_is_of_a_fold_the_columns_are_left_out(half, run, record_set, tmp_path, capsys):
    found = predicted(run, tmp_path / "o.csv", records=f"{record_set}/test*.tfrec", out_of_fold=True)
    assert list(found.columns) == ["prediction"]
    out = capsys.readouterr().out
    for name in ("fold", "target"):
        assert f"note: no image has a {name}; the column {name} is left out" in out


def test_calibrated_predictions_are_the_plain_ones_calibrated(run, record_set, made_up, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    calibrate_run.calibrate(
        calibrate_run.CalibrateConfig(
            workdir=str(tmp_path / "run"), oof=None, labels=str(made_up / "train.csv"), method="platt", prevalence=None
        )
    )
    scale, shards = calibration_file.read_calibration(str(tmp_path / "run")), f"{record_set}/test*.tfrec"
    plain = predicted(tmp_path / "run", tmp_path / "p.csv", records=shards)["prediction"]
    capsys.readouterr()
    for number, prevalence in enumerate((None, 0.0176)):
        options = {"records": shards, "calibrated": True, "prevalence": prevalence}
        found = predicted(tmp_path / "run", tmp_path / f"{number}.csv", **options)["prediction"]
        assert found.index.tolist() == plain.index.tolist()
        assert found.to_numpy() == pytest.approx(calibration.apply_calibration(scale, plain, prevalence), abs=1e-9)
        assert np.abs(found - plain).max() > 1e-3
    assert "note" not in capsys.readouterr().out


def test_what_calibrated_predictions_are_not_is_said(capsys):
    rows = pd.DataFrame({"networks": ["10", "11", "01"]})
    predict_run._note_calibration({"fitted_to": None}, rows, 8)
    out = capsys.readouterr().out
    assert "note: calibrations are fitted to out-of-fold predictions, such as those of 2 of these images" in out
    assert "note: the calibration was fitted to predictions of one version of each image" in out
    assert "but these are means of 8; predict --out_of_fold" in out
    predict_run._note_calibration({"fitted_to": "oof8.csv"}, rows[1:2], 8)
    predict_run._note_calibration({"fitted_to": None}, rows[1:2], 1)
    assert capsys.readouterr().out == ""


def test_an_image_that_all_networks_have_seen_is_in_no_fold(run, record_set, tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("flags.txt", "fold0"):
        (tmp_path / "one" / name).symlink_to(run / name)
    with pytest.raises(ValueError, match="but all folds trained on .* of them, for example ISIC_.*; train the folds"):
        predicted(tmp_path / "one", tmp_path / "o.csv", records=f"{record_set}/train*.tfrec", out_of_fold=True)


def test_eight_versions_do_not_see_how_an_image_is_turned(run, record_set, made_up, tmp_path, monkeypatch):
    shards = f"{record_set}/test*.tfrec"
    plain, eight = (predicted(run, tmp_path / f"{tta}.csv", records=shards, tta=tta)["prediction"] for tta in (1, 8))
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda image, size: decode(image, size)[::-1])
    turned = [predicted(run, tmp_path / f"t{tta}.csv", records=shards, tta=tta)["prediction"] for tta in (1, 8)]
    assert np.abs(plain - turned[0]).max() > 1e-4
    assert np.abs(eight - turned[1]).max() < 1e-6


def test_draws_of_the_training_depend_on_seed_and_name_alone(run, record_set, tmp_path):
    options = {"records": f"{record_set}/test*.tfrec", "tta": 3, "tta_policy": "training"}
    first = predicted(run, tmp_path / "a.csv", **options)["prediction"]
    again = predicted(run, tmp_path / "b.csv", **options, batch_size=4, strategy="mirrored")["prediction"]
    other = predicted(run, tmp_path / "c.csv", **options | {"seed": 1})["prediction"]
    assert np.abs(first - again).max() < 1e-5
    assert np.abs(first - other).max() > 1e-4


def test_a_stopped_prediction_goes_on_with_the_shards_that_are_left(run, record_set, tmp_path, monkeypatch):
    options = {"records": f"{record_set}/train*.tfrec", "embeddings": str(tmp_path / "e.npz"), "tta": 2}
    whole = predicted(run, tmp_path / "whole.csv", **options)
    embedded = dict(np.load(tmp_path / "e.npz"))
    write, calls = prediction_shards.write_part, []

    def interrupted(folder, number, *arguments):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(number)
        write(folder, number, *arguments)

    monkeypatch.setattr(prediction_shards, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predicted(run, tmp_path / "stopped.csv", **options)
    assert not (tmp_path / "stopped.csv").exists()
    again = []
    monkeypatch.setattr(
        prediction_shards,
        "write_part",
        lambda folder, number, *rest: (again.append(number), write(folder, number, *rest)),
    )
    found = predicted(run, tmp_path / "stopped.csv", **options)
    assert not set(again) & set(calls)
    assert np.abs(found - whole).to_numpy().max() < 1e-6
    resumed = dict(np.load(tmp_path / "e.npz"))
    assert all(np.allclose(resumed[name], embedded[name]) for name in ("embeddings",))
    assert list(tmp_path.glob("*.parts*")) == []


def test_parts_of_another_prediction_are_not_taken(run, record_set, tmp_path, capsys):
    folder = f"{tmp_path}/o.csv.parts"
    prediction_shards.open_parts(folder, "something else")
    prediction_shards.write_part(folder, 0, pd.DataFrame({"image_name": ["x"], "prediction": [0.5]}))
    found = predicted(run, tmp_path / "o.csv", records=f"{record_set}/test*.tfrec")
    assert "x" not in found.index
    assert "holds parts of another prediction; starting over" in capsys.readouterr().out


@pytest.fixture
def copies(run, record_set, made_up, tmp_path):
    """A folder with copies of the run, of a test shard, of four test images and of their table, to be changed."""
    shutil.copytree(run, tmp_path / "run")
    shutil.copytree(record_set, tmp_path / "set")
    (tmp_path / "jpeg").mkdir()
    for path in sorted((made_up / "jpeg").rglob("*.jpg"))[:4]:
        shutil.copy(path, tmp_path / "jpeg")
    names = [path.stem for path in (tmp_path / "jpeg").iterdir()]
    table = {"image_name": names, "sex": "male", "age_approx": 50, "anatom_site_general_challenge": "torso"}
    pd.DataFrame(table).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def other_shard(folder):
    """As of a shard rebuilt from other images, under the same names, that has as many bytes."""
    path = next((folder / "set").glob("test*.tfrec"))
    os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1))


def other_weights(folder):
    paths = [folder / "run" / f"fold{fold}" / "best.weights.h5" for fold in (0, 1)]
    shutil.copy(*paths)


def other_ages(folder):
    pd.read_csv(folder / "t.csv").assign(age_approx=55).to_csv(folder / "t.csv", index=False)


def other_image(folder):
    path = next((folder / "jpeg").iterdir())
    path.write_bytes(path.read_bytes() + b"\0")


def other_policy(folder):
    path = folder / "run" / "augment_policy.json"
    path.write_text('{"gain": {"uniform": [0.8, 1.2]}}' if not path.exists() else '{"gain": {"uniform": [0.7, 1.2]}}')


def same(folder):
    pass


@pytest.mark.parametrize(
    ("kind", "change", "flags", "anew"),
    [
        ("records", same, {}, False),
        ("records", same, {"batch_size": 3, "threads": 1}, False),
        ("records", same, {"tta": 3}, True),
        ("records", same, {"tta": 2, "tta_policy": "dihedral"}, True),
        ("records", same, {"seed": 1}, True),
        ("records", same, {"embeddings": "e.npz"}, True),
        ("records", same, {"out_of_fold": True}, False),
        ("records", other_policy, {}, True),
        ("records", other_weights, {}, True),
        ("records", other_shard, {}, True),
        ("records", other_ages, {}, False),
        ("images", same, {}, False),
        ("images", other_ages, {}, True),
        ("images", other_image, {}, True),
    ],
)
def test_parts_are_taken_where_nothing_that_they_are_made_of_changed(copies, monkeypatch, kind, change, flags, anew):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(resumable_prediction, "predict_missing_parts", stopped)
    given = {"images": {"images": str(copies / "jpeg"), "csv": str(copies / "t.csv")}}
    given["records"] = {"records": f"{copies}/set/test*.tfrec"}
    other_policy(copies)
    options = {"tta": 2, "tta_policy": "training", **given[kind]}
    for more in ({}, flags):
        if more is flags:
            prediction_shards.write_part(
                f"{copies}/o.csv.parts", 0, pd.DataFrame({"image_name": ["x"], "prediction": [0.5]})
            )
            change(copies)
        with pytest.raises(KeyboardInterrupt):
            predicted(copies / "run", copies / "o.csv", **(options | more))
    assert (copies / "o.csv.parts" / "part-00000.csv").exists() != anew


def test_the_runs_own_copy_of_a_policy_is_drawn_from(run, record_set, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "train_fold", lambda fold: None)
    (tmp_path / "policy.json").write_text('{"turn": {}, "mixup": {"alpha": 1}}')
    sets = {"data_dir": str(record_set), "extra_data_dir": "", "workdir": str(tmp_path / "run"), "fold": "0"}
    devices = {"strategy": "default", "tpu": "", "dry_run": False}
    loop.train(
        TrainConfig(
            **sets,
            **devices,
            **{**RECIPE, "augment_policy": str(tmp_path / "policy.json")},
        )
    )
    (tmp_path / "policy.json").unlink()
    assert test_time_augmentation.read_tta_policy(run_directory.read_network(str(tmp_path / "run"))) == {"rotate90": {}}
    assert test_time_augmentation.read_tta_policy(run_directory.read_network(str(run))) == policies.read_policy(
        "light", 1.0
    )


def test_embeddings_are_the_pooled_features_of_each_fold(run, record_set, tmp_path):
    path = tmp_path / "e.npz"
    shards = f"{record_set}/train*.tfrec"
    predicted(run, tmp_path / "o.csv", records=shards, embeddings=str(path), out_of_fold=True)
    found = np.load(path, allow_pickle=False)
    oof = pd.read_csv(run / "oof.csv").set_index("image_name")
    assert found["fold"].tolist() == ["fold0", "fold1"]
    assert found["embeddings"].shape == (len(oof), 2, 8)
    assert found["embeddings"].dtype == np.float32
    # Of an image only the fold that held it out has any.
    known = np.isfinite(found["embeddings"]).all(axis=2)
    assert np.array_equal(known, np.eye(2, dtype=bool)[oof.loc[found["image_name"], "fold"]])


def test_image_files_are_predicted_as_their_records(run, record_set, made_up, tmp_path):
    names = csv_tables.read_table(str(made_up / "test.csv"), ("image_name",))["image_name"]
    by_records = predicted(run, tmp_path / "r.csv", records=f"{record_set}/test*.tfrec")
    files = {"images": str(made_up / "jpeg" / "test"), "csv": str(made_up / "test.csv")}
    by_files = predicted(run, tmp_path / "f.csv", **files)
    assert sorted(by_files.index) == sorted(names)
    # A record is of 64 px and compressed once more.
    assert np.abs(by_files - by_records.loc[by_files.index]).to_numpy().max() < 0.02


def test_png_and_dicom_files_are_predicted_as_the_jpegs(run, made_up, copies):
    for number, path in enumerate(sorted((copies / "jpeg").iterdir())):
        # So small that a JPEG is decoded in full, as the others are.
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (60, 50), interpolation=cv2.INTER_AREA))
        image = cv2.imread(str(path))
        if number == 0:
            cv2.imwrite(str(path.with_suffix(".png")), image)
        elif number == 1:
            path.with_suffix(".dcm").write_bytes(make_dicom(image[..., ::-1]))
        elif number == 2:
            tags = {"PhotometricInterpretation": "YBR_FULL_422"}
            data = make_dicom(
                path.read_bytes(), pydicom.uid.JPEGBaseline8Bit, Rows=len(image), Columns=len(image[0]), **tags
            )
            path.with_suffix(".dcm").write_bytes(data)
    csv = str(copies / "t.csv")
    for path in sorted((copies / "jpeg").glob("*.jpg"))[:3]:
        (copies / "other").mkdir(exist_ok=True)
        shutil.move(path, copies / "other")
    shutil.copy(next((copies / "jpeg").glob("*.jpg")), copies / "other")
    assert sorted(path.suffix for path in (copies / "jpeg").iterdir()) == [".dcm", ".dcm", ".jpg", ".png"]
    found = predicted(run, copies / "mixed.csv", images=str(copies / "jpeg"), csv=csv)
    expected = predicted(run, copies / "plain.csv", images=str(copies / "other"), csv=csv)
    assert found.index.equals(expected.index)
    assert np.abs(found - expected).to_numpy().max() < 1e-6


def test_image_files_of_a_trained_patient_are_shown_to_no_network_that_saw_him(run, made_up, copies, capsys):
    table = csv_tables.read_table(str(made_up / "train.csv"), ("image_name", "patient_id"))
    oof = pd.read_csv(run / "oof.csv").set_index("image_name")["fold"]
    row = table[table["image_name"].isin(oof.index)].iloc[0]
    # Another image of his.
    table = pd.read_csv(copies / "t.csv").assign(patient_id=["", "", "", row["patient_id"]])
    table.to_csv(copies / "t.csv", index=False)
    config = PredictFilesConfig(workdir="", output="", images=str(copies / "jpeg"), csv=str(copies / "t.csv"))
    rows = prediction_inputs.list_rows(config, run_directory.read_flags(str(run)))
    networks = fold_selection.choose_networks(run_directory.trained_folds(str(run)), rows, out_of_fold=True)
    own = dict(zip(rows["image_name"], networks, strict=True))[table["image_name"].iloc[3]]
    assert own == ("10" if oof[row["image_name"]] == 0 else "01")
    assert sorted(networks) == sorted(["11"] * 3 + [own])
    fold_selection.choose_networks(run_directory.trained_folds(str(run)), rows, out_of_fold=False)
    assert "note: 1 of the 4 images, or their patients, were trained on" in capsys.readouterr().out


def test_image_files_are_prepared_as_the_runs_records_were(made_up, tmp_path):
    build_set(
        made_up / "train.csv", made_up / "jpeg", tmp_path / "set", resize="crop", color_constancy="shades_of_gray"
    )
    preparation = preprocessing_config.read_preprocessing(str(tmp_path / "set"))
    prepared = {"resize": "crop", "trim_border": False, "color_constancy": "shades_of_gray"}
    size = preparation["record_size"]
    assert preparation == {**prepared, "record_size": size, "quality": 95}
    run_directory.claim(
        str(tmp_path), {}, (), record_index.read_index(str(tmp_path / "set"), "train"), preparation=preparation
    )
    rows = image_files.list_files(str(made_up / "jpeg" / "test")).iloc[:3]
    with photographs.open_reader(rows, 64, run_directory.read_flags(str(tmp_path)), threads=2) as read:
        found = read(np.array([2, 0]))
    expected = []
    for path in map(pathlib.Path, rows["path"].iloc[[2, 0]]):
        decode = functools.partial(codec.decode, path.read_bytes(), "")
        square, _ = preprocessing.resize_to_square(decode, size, **prepared)
        # As training decodes a record of it.
        expected.append(decoding.decode(codec.encode(square, 95), 64).numpy())
    assert np.array_equal(found, np.stack(expected))
    # Of a run that does not know its records' size and quality, as of release 0.1.
    with photographs.open_reader(rows, 64, {key: str(value) for key, value in prepared.items()}, threads=2) as read:
        found = read(np.array([0]))
    decode = functools.partial(codec.decode, pathlib.Path(rows["path"].iloc[0]).read_bytes(), "")
    assert np.array_equal(found[0], preprocessing.resize_to_square(decode, 64, **prepared)[0][..., ::-1])
    assert preprocessing_config.read_preprocessing(str(tmp_path / "nothing")) == {}


def test_what_is_assumed_of_the_making_of_records_is_said(record_set, tmp_path, capsys):
    rows = pd.DataFrame({"path": []})
    for run, note in [
        (
            {"data_dir": str(tmp_path)},
            "image files use resize=stretch, trim_border=False, color_constancy=n",
        ),
        ({"resize": "crop"}, "image files use trim_border=False, color_constancy=none"),
        # A run from before it kept that: its records' manifest tells.
        ({"data_dir": f"{record_set},{tmp_path}"}, ""),
    ]:
        with photographs.open_reader(rows, 64, run, threads=1):
            assert note in capsys.readouterr().out
    assert preprocessing_config.find_preprocessing({"data_dir": str(record_set)})["resize"] == "stretch"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected either --records or --images, got neither"),
        ({"records": "x", "images": "y"}, "expected either --records or --images, got both"),
        (
            {"records": "x", "fold": "0", "out_of_fold": True},
            "expected --fold=all with --out_of_fold, .* got 0; leave out one of them",
        ),
        ({"records": "x", "prevalence": 0.1}, "expected --calibrated with --prevalence"),
        (
            {"records": "x", "prevalence": 1.76, "calibrated": True},
            "expected a prevalence between 0 and 1, .* got 1.76",
        ),
        (
            {"records": "x", "csv": "t.csv"},
            "expected --csv only with --images: records hold the metadata that the network uses",
        ),
        ({"records": "x", "tta": 9}, "expected --tta from 1 to 8 with --tta_policy=dihedral, got 9"),
        (
            {"records": "x", "calibrated": True},
            "no calibration at .*calibration.json; create it with isic_tf.calibrate",
        ),
        ({"records": "nothing*"}, "no shards match 'nothing"),
        ({"images": "nowhere"}, "nowhere not found; check the path"),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_any_work(run, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        predicted(run, tmp_path / "o.csv", **changes)
    assert list(tmp_path.iterdir()) == []


def test_image_files_without_what_the_network_sees_are_refused(run, made_up, tmp_path):
    with pytest.raises(
        ValueError, match="the network uses age,sex,site as well as the image: give a table of .* as --csv"
    ):
        predicted(run, tmp_path / "o.csv", images=str(made_up / "jpeg" / "test"))
    first = min(path.stem for path in (made_up / "jpeg" / "test").iterdir())
    columns = "image_name,sex,age_approx,anatom_site_general_challenge"
    (tmp_path / "t.csv").write_text(f"{columns}\n{first},male,50,torso\n")
    with pytest.raises(ValueError, match="images of .* are not in .*t.csv .first: "):
        predicted(run, tmp_path / "o.csv", images=str(made_up / "jpeg" / "test"), csv=str(tmp_path / "t.csv"))


def test_image_files_have_the_predictions_of_the_records_that_are_made_of_them(run, made_up, record_set, tmp_path):
    given = {"images": str(made_up / "jpeg" / "test"), "csv": str(made_up / "test.csv")}
    of_files = predicted(run, tmp_path / "files.csv", **given)
    of_records = predicted(run, tmp_path / "records.csv", records=f"{record_set}/test*.tfrec")
    # Resized, encoded and decoded to the same pixels.
    assert (of_files["prediction"] - of_records["prediction"].loc[of_files.index]).abs().max() <= 1e-6


def test_a_damaged_image_file_is_named(run, made_up, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    (tmp_path / "t.csv").write_text("image_name,sex,age_approx,anatom_site_general_challenge\nbroken,male,50,torso\n")
    with pytest.raises(ValueError, match=r"^\S*/files/broken\.jpg [^\n]*$"):
        predicted(run, tmp_path / "o.csv", images=str(tmp_path / "files"), csv=str(tmp_path / "t.csv"))


def test_a_corrupt_shard_is_named_in_a_line(run, copies):
    path = sorted((copies / "set").glob("test*.tfrec"))[-1]
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=rf"^{path} is corrupt at record \d+: [^\n]*; rebuild or download this shard again$"
    ):
        predicted(run, copies / "o.csv", records=f"{copies}/set/test*.tfrec")
    assert not (copies / "o.csv").exists()


def test_an_image_in_a_record_that_cannot_be_decoded_is_named_in_a_line(run, copies):
    path = copies / "set" / "test00-1.tfrec"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(
            tf_example.to_example(
                b"\xff\xd8 and no more", "broken", sex=0, age_approx=50, anatom_site_general_challenge=3
            )
        )
    with pytest.raises(
        ValueError, match=rf"^{path} is corrupt at record 0: [^\n]*; rebuild or download this shard again$"
    ):
        predicted(run, copies / "o.csv", records=str(path))


def test_no_network_is_built_where_all_parts_are_there(run, copies, monkeypatch):
    options = {"records": f"{copies}/set/test*.tfrec"}
    with monkeypatch.context() as patch:
        patch.setattr(prediction_shards, "read_parts", lambda *_: pytest.fail("stopped"))
        with pytest.raises(pytest.fail.Exception, match="stopped"):
            predicted(run, copies / "o.csv", **options)
    monkeypatch.setattr(classifiers, "build_classifier", lambda *_, **__: pytest.fail("a network was built"))
    assert len(predicted(run, copies / "o.csv", **options))


def test_each_worker_has_a_folder_of_its_own(monkeypatch, capsys):
    monkeypatch.setattr(workers, "is_single_worker", lambda strategy: False)
    monkeypatch.setattr(workers, "count_workers", lambda: 3)
    found = []
    for kind, number in (("chief", 0), ("worker", 0), ("worker", 1)):
        strategy = SimpleNamespace(cluster_resolver=SimpleNamespace(task_type=kind, task_id=number))
        monkeypatch.setattr(workers, "is_chief", lambda strategy, kind=kind: kind == "chief")
        found.append(predict_run._choose_parts_directory("o.csv", strategy))
    assert found == ["o.csv.parts", "o.csv.parts-of-worker-0", "o.csv.parts-of-worker-1"]
    assert "note: each of 3 workers predicts all images; only the first writes the output" in capsys.readouterr().out


def test_labels_in_test_records_are_refused(run, made_up, tmp_path):
    build_set(made_up / "train.csv", made_up / "jpeg", tmp_path / "set")
    for path in (tmp_path / "set").glob("train*.tfrec"):
        path.rename(path.with_name(path.name.replace("train", "test")))
    (tmp_path / "set" / "train.index.csv").unlink()
    with pytest.raises(
        ValueError,
        match=r"expected test records without labels, but \d+ have one, for example ISIC_.* name shards of tr",
    ):
        predicted(run, tmp_path / "o.csv", records=f"{tmp_path}/set/test*.tfrec")


def sample(folder, names):
    path = folder / "sample_submission.csv"
    path.write_text("image_name,target\n" + "".join(f"{name},0\n" for name in names))
    return str(path)


def test_the_samples_order_is_kept(tmp_path):
    assert submission_format.match_sample(list("abc"), sample(tmp_path, "bca")) == list("bca")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("abcx", r"1 names of the sample are missing \(x\); check --records"),
        ("ab", r"1 names are not in the sample \(c\)"),
        ("abcc", r"must name every image once, but repeats 1, for example c"),
        ("xyzw", r"4 names of the sample are missing \(x, y, z, ...\); 3 names are not in the sample \(a, b, c\)"),
    ],
)
def test_missing_extra_and_double_names_are_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        submission_format.match_sample(list("abc"), sample(tmp_path, names), flags="--records or --images")


def test_names_are_checked_before_any_network_is_built(run, record_set, tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", lambda *_, **__: pytest.fail("a network was built"))
    with pytest.raises(ValueError, match="1 names of the sample are missing"):
        options = {"records": f"{record_set}/test*.tfrec", "sample_submission": sample(tmp_path, ["x"])}
        predicted(run, tmp_path / "out.csv", **options)


def test_a_run_without_a_trained_fold_is_refused(tmp_path, index):
    run_directory.claim(str(tmp_path), {"image_size": 64, "backbone": "efficientnet-b0"}, (), index)
    with pytest.raises(ValueError, match=r"expected a trained fold in .*, found no fold\*/best.weights.h5"):
        predicted(tmp_path, tmp_path / "out.csv", records="x")


def test_a_folder_for_an_output_is_refused_before_any_work(run, tmp_path):
    with pytest.raises(ValueError, match="expected file names as --output and --embeddings, got the directory"):
        predicted(run, tmp_path, records="x")


def test_an_output_that_another_process_writes_is_refused_before_any_network_is_built(run, record_set, tmp_path):
    for name, options in (("o.csv", {}), ("e.npz", {"embeddings": str(tmp_path / "e.npz")})):
        message = rf"{name} to be free, but process \d+ on .* is writing it"
        with output_lock.locked(str(tmp_path / name)), pytest.raises(errors.ConfigError, match=message):
            predicted(run, tmp_path / "o.csv", records=f"{record_set}/test*.tfrec", **options)
    assert not list(tmp_path.iterdir())


def test_names_and_scores_lie_in_the_run_while_they_are_returned(run, record_set, tmp_path, monkeypatch):
    def stop(directory, made_of):
        opened.append(pathlib.Path(directory))
        raise KeyboardInterrupt

    opened = []
    before = sorted(run.iterdir())
    monkeypatch.setattr(prediction_shards, "open_parts", stop)
    for is_writable in (True, False):
        monkeypatch.setattr(os, "access", lambda *_, is_writable=is_writable: is_writable)
        with pytest.raises(KeyboardInterrupt):
            predict_run.predict(run, f"{record_set}/test*.tfrec")
    assert [path.parent.parent for path in opened] == [run, pathlib.Path(tempfile.gettempdir())]
    assert not any(path.parent.exists() for path in opened)
    assert sorted(run.iterdir()) == before


def test_predictions_that_are_no_number_are_refused(tmp_path):
    table = pd.DataFrame({"image_name": ["a", "b"], "prediction": [0.5, np.nan]})
    with pytest.raises(ValueError, match=r"expected predictions from 0 to 1, 1 of 2 are not \(b\)"):
        prediction_files.write_predictions(str(tmp_path / "o.csv"), table, patient_context=False, made_by="test")


def test_seeds_of_versions_are_those_of_epochs(index):
    keys = record_seeds.hash_keys(pd.DataFrame({"key": ["a"]}))
    assert record_seeds.record_seed(keys, 3, keys * 0 + 2, keys * 0).numpy().tolist() == [[3_000_002, int(keys[0])]]


def test_images_that_cannot_be_decoded_are_skipped_and_listed_and_the_others_predicted_as_before(
    small_backbone, run, copies, capsys
):
    options = {"images": str(copies / "jpeg"), "csv": str(copies / "t.csv")}
    whole = predicted(run, copies / "whole.csv", **options)["prediction"]
    damaged = sorted((copies / "jpeg").iterdir())[1]
    damaged.write_bytes(damaged.read_bytes()[:20])
    with pytest.raises(errors.IsicError, match=f"{damaged.name} .* to skip unreadable images, use --on_error=skip"):
        predicted(run, copies / "o.csv", **options)
    found = predicted(run, copies / "o.csv", **options, on_error="skip")["prediction"]
    assert found.to_dict() == pytest.approx(whole.drop(damaged.stem).to_dict(), abs=1e-7)
    listed = pd.read_csv(copies / "o.csv.skipped.csv")
    assert listed["image_name"].tolist() == [damaged.stem]
    assert listed["problem"].iloc[0].startswith(f"{damaged.name} ")
    assert f"note: 1 of 4 images cannot be decoded and are skipped (first: {damaged.stem}: " in capsys.readouterr().out
    shutil.copy(sorted((copies / "jpeg").iterdir())[0], damaged)
    predicted(run, copies / "o.csv", **options, on_error="skip")
    assert not (copies / "o.csv.skipped.csv").exists()


def test_a_directory_without_an_image_that_can_be_decoded_is_refused(small_backbone, run, copies):
    for path in (copies / "jpeg").iterdir():
        path.write_bytes(b"\xff\xd8")
    with pytest.raises(errors.IsicError, match=r"none of the 4 images can be decoded \(first: .*\); check --images"):
        predicted(run, copies / "o.csv", images=str(copies / "jpeg"), csv=str(copies / "t.csv"), on_error="skip")
    assert not (copies / "o.csv").exists()


@pytest.mark.parametrize("flags", [{"records": "x"}, {"images": "x", "sample_submission": "s.csv"}])
def test_only_image_files_are_skipped_and_not_those_of_a_submission(run, tmp_path, flags):
    with pytest.raises(errors.ConfigError, match="expected --on_error=skip only with --images and without --sample_su"):
        predicted(run, tmp_path / "o.csv", on_error="skip", **flags)


def test_images_of_the_table_without_a_file_are_refused_unless_allowed(small_backbone, run, copies, capsys):
    next((copies / "jpeg").iterdir()).unlink()
    options = {"images": str(copies / "jpeg"), "csv": str(copies / "t.csv")}
    with pytest.raises(errors.IsicError, match=r"^1 images of .*t.csv have no file in .*\(first: .*--allow_missing$"):
        predicted(run, copies / "o.csv", **options)
    assert len(predicted(run, copies / "o.csv", **options, allow_missing=True)) == 3
    assert "note: 1 images of" in capsys.readouterr().out
