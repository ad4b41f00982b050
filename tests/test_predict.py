import functools
import os
import pathlib
import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import PREDICT, RECIPE, build_set, tiny_trunk

from isic_tf import backbones, files, model, parts, pipeline, policies, predict, records, runs, train, views
from tfrecord_tools import command, images, schema


@pytest.fixture(autouse=True)
def small_backbone(monkeypatch):
    monkeypatch.setattr(backbones, "build", tiny_trunk)


@pytest.fixture(scope="module")
def run(record_set, tmp_path_factory):
    """A run of two folds that sees age, sex and site."""
    folder = tmp_path_factory.mktemp("run")
    sets = {"data_dir": str(record_set), "extra_data_dir": "", "workdir": str(folder), "fold": "all"}
    devices = {"strategy": "default", "tpu": "", "dry_run": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build", tiny_trunk)
        train.train(**sets, **devices, **{**RECIPE, "epochs": 2, "metadata": "age,sex,site"})
    return folder


def predicted(run, output, **changes):
    predict.predict(workdir=str(run), output=str(output), **(PREDICT | changes))
    return pd.read_csv(output).set_index("image_name")


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
    assert "flatter" not in capsys.readouterr().out
    # By all folds, most of which were trained on the image.
    predicted(run, tmp_path / "all.csv", records=shards)
    assert f"note: {len(oof)} of the {len(oof)} images, or their patients, were trained on" in capsys.readouterr().out


def test_an_image_that_all_networks_have_seen_is_in_no_fold(run, record_set, tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("flags.txt", "fold0"):
        (tmp_path / "one" / name).symlink_to(run / name)
    with pytest.raises(ValueError, match="all networks have seen .* of the images or their patients, .* first; train"):
        predicted(tmp_path / "one", tmp_path / "o.csv", records=f"{record_set}/train*.tfrec", out_of_fold=True)


def test_eight_versions_do_not_see_how_an_image_is_turned(run, record_set, made_up, tmp_path, monkeypatch):
    shards = f"{record_set}/test*.tfrec"
    plain, eight = (predicted(run, tmp_path / f"{tta}.csv", records=shards, tta=tta)["prediction"] for tta in (1, 8))
    decode = records.decode
    monkeypatch.setattr(records, "decode", lambda image, size: decode(image, size)[::-1])
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
    write, calls = parts.write, []

    def interrupted(folder, number, *arguments):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(number)
        write(folder, number, *arguments)

    monkeypatch.setattr(parts, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predicted(run, tmp_path / "stopped.csv", **options)
    assert not (tmp_path / "stopped.csv").exists()
    again = []
    monkeypatch.setattr(
        parts, "write", lambda folder, number, *rest: (again.append(number), write(folder, number, *rest))
    )
    found = predicted(run, tmp_path / "stopped.csv", **options)
    assert not set(again) & set(calls)
    assert np.abs(found - whole).to_numpy().max() < 1e-6
    resumed = dict(np.load(tmp_path / "e.npz"))
    assert all(np.allclose(resumed[name], embedded[name]) for name in ("embeddings",))
    assert list(tmp_path.glob("*.parts*")) == []


def test_parts_of_another_prediction_are_not_taken(run, record_set, tmp_path, capsys):
    folder = f"{tmp_path}/o.csv.parts"
    parts.begin(folder, "something else")
    parts.write(folder, 0, pd.DataFrame({"image_name": ["x"], "prediction": [0.5]}))
    found = predicted(run, tmp_path / "o.csv", records=f"{record_set}/test*.tfrec")
    assert "x" not in found.index
    assert "holds parts of another prediction: made anew" in capsys.readouterr().out


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

    monkeypatch.setattr(predict, "_predict_parts", stopped)
    given = {"images": {"images": str(copies / "jpeg"), "csv": str(copies / "t.csv")}}
    given["records"] = {"records": f"{copies}/set/test*.tfrec"}
    other_policy(copies)
    options = {"tta": 2, "tta_policy": "training", **given[kind]}
    for more in ({}, flags):
        if more is flags:
            parts.write(f"{copies}/o.csv.parts", 0, pd.DataFrame({"image_name": ["x"], "prediction": [0.5]}))
            change(copies)
        with pytest.raises(KeyboardInterrupt):
            predicted(copies / "run", copies / "o.csv", **(options | more))
    assert (copies / "o.csv.parts" / "part-00000.csv").exists() != anew


def test_the_runs_own_copy_of_a_policy_is_drawn_from(run, record_set, tmp_path):
    (tmp_path / "policy.json").write_text('{"turn": {}, "mixup": {"alpha": 1}}')
    sets = {"data_dir": str(record_set), "extra_data_dir": "", "workdir": str(tmp_path / "run"), "fold": "0"}
    devices = {"strategy": "default", "tpu": "", "dry_run": False}
    train.train(
        **sets,
        **devices,
        **{**RECIPE, "epochs": 1, "warmup_epochs": 0.0, "augment_policy": str(tmp_path / "policy.json")},
    )
    (tmp_path / "policy.json").unlink()
    assert views.read_policy(runs.read_network(str(tmp_path / "run"))) == {"turn": {}}
    assert views.read_policy(runs.read_network(str(run))) == policies.read("light", 1.0)


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
    names = schema.read_table(str(made_up / "test.csv"), ("image_name",))["image_name"]
    by_records = predicted(run, tmp_path / "r.csv", records=f"{record_set}/test*.tfrec")
    files = {"images": str(made_up / "jpeg"), "csv": str(made_up / "test.csv")}
    by_files = predicted(run, tmp_path / "f.csv", **files)
    assert sorted(by_files.index) == sorted(names)
    # A record is of 64 px and compressed once more.
    assert np.abs(by_files - by_records.loc[by_files.index]).to_numpy().max() < 0.02


def test_image_files_are_prepared_as_the_runs_records_were(made_up, tmp_path):
    build_set(
        made_up / "train.csv", made_up / "jpeg", tmp_path / "set", resize="crop", color_constancy="shades_of_gray"
    )
    preparation = files.read_preparation(str(tmp_path / "set"))
    assert preparation == {"resize": "crop", "trim_border": False, "color_constancy": "shades_of_gray"}
    runs.claim(str(tmp_path), {}, (), schema.read_index(str(tmp_path / "set"), "train"), preparation=preparation)
    rows = files.list_files(str(made_up / "jpeg"), None, "").iloc[:3]
    read = files.make_reader(rows, 64, runs.read_flags(str(tmp_path)), threads=2)
    found = read(np.array([2, 0]))
    expected = [
        images.to_square(functools.partial(images.decode, path.read_bytes(), ""), 64, "crop", False, "shades_of_gray")[
            0
        ]
        for path in map(pathlib.Path, rows["path"].iloc[[2, 0]])
    ]
    assert np.array_equal(found, np.stack(expected)[..., ::-1])
    assert files.read_preparation(str(tmp_path / "nothing")) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "expected one of --records and --images"),
        ({"records": "x", "images": "y"}, "expected one of --records and --images"),
        ({"records": "x", "prevalence": 0.1}, "expected --calibrated with --prevalence"),
        ({"records": "x", "tta": 9}, "expected --tta from 1 to 8 of --tta_policy=dihedral, got 9"),
        ({"records": "x", "calibrated": True}, "expected a calibration at .*calibration.json, found none"),
        ({"records": "nothing*"}, "no shards match 'nothing"),
        ({"images": "nowhere"}, "expected a folder of images at nowhere"),
    ],
)
def test_flags_that_do_not_fit_are_refused_before_any_work(run, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        predicted(run, tmp_path / "o.csv", **changes)
    assert list(tmp_path.iterdir()) == []


def test_image_files_without_what_the_network_sees_are_refused(run, made_up, tmp_path):
    with pytest.raises(ValueError, match="the run sees age,sex,site beside the image: give a table of .* as --csv"):
        predicted(run, tmp_path / "o.csv", images=str(made_up / "jpeg"))
    (tmp_path / "t.csv").write_text("image_name,sex,age_approx,anatom_site_general_challenge\nx,male,50,torso\n")
    with pytest.raises(ValueError, match="images of .* are not in .*t.csv, .* first"):
        predicted(run, tmp_path / "o.csv", images=str(made_up / "jpeg"), csv=str(tmp_path / "t.csv"))


def test_a_damaged_image_file_is_named(run, made_up, tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "broken.jpg").write_bytes(b"\xff\xd8 and no more")
    (tmp_path / "t.csv").write_text("image_name,sex,age_approx,anatom_site_general_challenge\nbroken,male,50,torso\n")
    with pytest.raises(Exception, match=r"broken\.jpg"):
        predicted(run, tmp_path / "o.csv", images=str(tmp_path / "files"), csv=str(tmp_path / "t.csv"))


def test_labels_in_test_records_are_noted_and_not_read(run, made_up, tmp_path, capsys):
    build_set(made_up / "train.csv", made_up / "jpeg", tmp_path / "set")
    for path in (tmp_path / "set").glob("train*.tfrec"):
        path.rename(path.with_name(path.name.replace("train", "test")))
    (tmp_path / "set" / "train.index.csv").unlink()
    found = predicted(run, tmp_path / "o.csv", records=f"{tmp_path}/set/test*.tfrec")
    assert f"note: {len(found)} test records carry a label, which is not read" in capsys.readouterr().out
    assert list(found.columns) == ["prediction"]


def sample(folder, names):
    path = folder / "sample_submission.csv"
    path.write_text("image_name,target\n" + "".join(f"{name},0\n" for name in names))
    return str(path)


def test_the_samples_order_is_kept(tmp_path):
    assert predict.read_sample(sample(tmp_path, "bca"), list("abc")) == list("bca")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("abcx", r"1 of the sample's names are missing \(x\); check --records"),
        ("ab", r"1 names are not in the sample \(c\)"),
        ("abcc", r"must name every image once, 1 come again, c first"),
        ("xyzw", r"4 of the sample's names are missing \(x, y, z, ...\); 3 names are not in the sample \(a, b, c\)"),
    ],
)
def test_missing_extra_and_double_names_are_refused(tmp_path, names, message):
    with pytest.raises(ValueError, match=message):
        predict.read_sample(sample(tmp_path, names), list("abc"))


def test_names_are_checked_before_any_network_is_built(run, record_set, tmp_path, monkeypatch):
    monkeypatch.setattr(model, "build", lambda *_, **__: pytest.fail("a network was built"))
    with pytest.raises(ValueError, match="1 of the sample's names are missing"):
        options = {"records": f"{record_set}/test*.tfrec", "sample_submission": sample(tmp_path, ["x"])}
        predicted(run, tmp_path / "out.csv", **options)


def test_a_run_without_a_trained_fold_is_refused(tmp_path, index):
    runs.claim(str(tmp_path), {"image_size": 64, "backbone": "efficientnet-b0"}, (), index)
    with pytest.raises(ValueError, match=r"expected a trained fold in .*, found no fold\*/best.weights.h5"):
        predicted(tmp_path, tmp_path / "out.csv", records="x")


def test_a_folder_for_an_output_is_refused_before_any_work(run, tmp_path):
    with pytest.raises(ValueError, match="expected a file's name for --output and --embeddings, got the folder"):
        predicted(run, tmp_path, records="x")


def test_predictions_that_are_no_number_are_refused(tmp_path):
    table = pd.DataFrame({"image_name": ["a", "b"], "prediction": [0.5, np.nan]})
    with pytest.raises(ValueError, match="1 predictions are no number from 0 to 1, that of b first"):
        predict.write(table, str(tmp_path / "o.csv"), "prediction", None, None)


def test_parts_give_float32_back_to_the_bit(tmp_path):
    values = np.random.default_rng(0).random(1000).astype(np.float32)
    parts.begin(str(tmp_path / "p"), "this")
    parts.write(
        str(tmp_path / "p"), 0, pd.DataFrame({"image_name": [f"i{n}" for n in range(1000)], "prediction": values})
    )
    assert parts.begin(str(tmp_path / "p"), "this") == {0}
    assert np.array_equal(parts.read(str(tmp_path / "p"), [0])["prediction"].astype(np.float32), values)
    command.write_text(str(tmp_path / "weights"), "w")
    assert parts.digest([str(tmp_path / "weights")], 1) != parts.digest([str(tmp_path / "weights")], 2)


def test_seeds_of_versions_are_those_of_epochs(index):
    keys = pipeline.hash_keys(pd.DataFrame({"key": ["a"]}))
    assert pipeline.record_seed(keys, 3, keys * 0 + 2, keys * 0).numpy().tolist() == [[3_000_002, int(keys[0])]]
