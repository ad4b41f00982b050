import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import ENVIRONMENT, ROOT, tiny_trunk

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, decoding, input_pipeline, record_metadata, targets
from isic_tf.inference import predictor
from isic_tf.models import backbones, classifiers
from isic_tf.models.config import ModelConfig
from isic_tf.serving import export_parity, export_run, model_card, saved_model, tflite
from tfrecord_tools import schema
from tfrecord_tools.io import atomic_write, record_index, tf_example

FLAGS = {"backbone": "efficientnet-b0", "image_size": 64, "metadata": "age,sex,site", "pooling": "gem"}
FLAGS |= {"target": "diagnosis", "data_dir": "records", "keep": "best"}
OPTIONS = {"fold": "all", "format": "saved_model", "quantize": ["float32"], "records": None, "labels": None}
OPTIONS |= {"threads": 2}
CLIENT = ROOT / "experiments" / "examples" / "serve_client.py"


@pytest.fixture(scope="module", autouse=True)
def tiny_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        yield


def make_run(folder, flags=FLAGS, folds=(0, 1)):
    """Writes a run of tiny networks whose predictions are far apart; gives the networks."""
    lines = "".join(f"--{name}={value}\n" for name, value in flags.items())
    atomic_write.write_text(f"{folder}/flags.txt", f"# data_sha256=abc\n{lines}")
    networks = []
    for fold in folds:
        tf.keras.utils.set_random_seed(fold)
        network = classifiers.build_from_config(ModelConfig.from_text({"weights": "none", **flags}))
        logits = network.get_layer("logits")
        logits.set_weights([3 * weights + 0.1 for weights in logits.get_weights()])
        (pathlib.Path(folder) / f"fold{fold}").mkdir()
        network.save_weights(f"{folder}/fold{fold}/best.weights.h5")
        figures = {"images": 30, "malignant": 4, "patients": 9, "auc": 0.8125, "partial_auc": 0.1}
        figures |= {"auc_low": 0.75, "auc_high": 0.875} if fold else {"auc_low": None, "auc_high": None}
        atomic_write.write_text(f"{folder}/fold{fold}/metrics.json", json.dumps(figures))
        networks.append(network)
    return networks


def run_export(workdir, output, **changes):
    export_run.export(export_run.ExportConfig(workdir=str(workdir), output=str(output), **{**OPTIONS, **changes}))


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_backbone):
    """Folder of a run of two folds, and its networks."""
    folder = tmp_path_factory.mktemp("run")
    return folder, make_run(folder)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Folder of the run's SavedModel."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    run_export(run[0], folder)
    return folder


@pytest.fixture(scope="module")
def rows(record_set):
    return record_metadata.list_records(
        record_index.match_shards(f"{record_set}/t*.tfrec"), clinical_metadata.columns(FLAGS["metadata"])
    )


@pytest.fixture(scope="module")
def reference(run, rows):
    """What the run predicts of the records, in order."""
    known = clinical_metadata.encode(rows, FLAGS["metadata"])
    dataset = input_pipeline.make_eval_dataset(rows, image_size=64, batch_size=8, threads=2, known=known)
    parts = list(predictor.make_predictor(run[1], tf.distribute.get_strategy())(dataset))
    assert [name for names, _ in parts for name in names] == rows["image_name"].tolist()
    return np.concatenate([found for _, found in parts])


@pytest.fixture(scope="module")
def images(rows):
    """The records' JPEG files."""
    shards = rows["shard"].unique()
    return [decoding.parse(each, False)["image"].numpy() for shard in shards for each in decoding.read(shard)]


@pytest.fixture(scope="module")
def predict(exported):
    return tf.saved_model.load(str(exported)).signatures["serving_default"]


def serve(predict, images, ages=None, sexes=None, sites=None):
    """Predicts by the SavedModel's signature; None for unknown metadata."""
    known = {"sex": sexes, "anatom_site_general_challenge": sites}
    known = {name: tf.constant(values or [""] * len(images), tf.string) for name, values in known.items()}
    ages = tf.constant(ages or [-1] * len(images), tf.int64)
    return predict(image=tf.constant(images, tf.string), age_approx=ages, **known)["prediction"].numpy()


def words(rows, column):
    return [(*schema.CATEGORIES[column], "")[code] for code in rows[column]]


def test_the_saved_model_predicts_records_as_the_run_does(predict, rows, images, reference):
    places = words(rows, "anatom_site_general_challenge")
    found = serve(predict, images, rows["age_approx"].tolist(), words(rows, "sex"), places)
    assert found.dtype == np.float32
    assert reference.std() > 0.01
    assert np.abs(found - reference).max() < 1e-6


def test_metadata_counts_in_any_case_of_letters_and_the_unknown_is_none_of_it(run, predict, rows, images):
    one = images[:1]
    assert serve(predict, one, [40], ["Female"], [" Torso "]) == serve(predict, one, [40], ["female"], ["torso"])
    found = [serve(predict, one, *values)[0] for values in ([[40]], [None, ["male"]], [None, None, ["torso"]], [])]
    assert len(set(found)) == 4
    unknown = pd.DataFrame({name: [-1] for name in clinical_metadata.columns(FLAGS["metadata"])})
    image = decoding.decode(one[0], 64)[tf.newaxis]
    dataset = tf.data.Dataset.from_tensors(
        (image, clinical_metadata.encode(unknown, FLAGS["metadata"]), np.array([b"i"]))
    )
    (_, expected), *_ = predictor.make_predictor(run[1], tf.distribute.get_strategy())(dataset)
    assert found[-1] == pytest.approx(expected[0], abs=1e-6)


def as_file(encode, height, width, seed=0):
    smooth = tf.image.resize(np.random.default_rng(seed).random((5, 5, 3)), (height, width), "bicubic")
    return encode(tf.cast(tf.clip_by_value(smooth, 0, 1) * 255, tf.uint8)).numpy()


def test_a_batch_mixes_sizes_and_png_and_may_be_empty(predict):
    files = [as_file(tf.io.encode_jpeg, *size) for size in ((64, 64), (48, 100), (700, 523))]
    files += [as_file(tf.io.encode_png, 700, 523)]
    together = serve(predict, files)
    alone = [serve(predict, [file])[0] for file in files]
    assert np.abs(together - alone).max() < 1e-6
    # The PNG is of the same pixels as the JPEG before it.
    assert together[3] == pytest.approx(together[2], abs=5e-3)
    assert serve(predict, []).shape == (0,)


JPEG = as_file(tf.io.encode_jpeg, 64, 64)
PNG = as_file(tf.io.encode_png, 64, 64)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            b"",
            r"expected every image to be the bytes of a JPEG or PNG file, which it is not at place \(from 0\)\] \[1\]",
        ),
        (b"/data/lesion.jpg", r"a JPEG or PNG file, which it is not at place \(from 0\)\] \[1\]"),
        (b"GIF89a" + bytes(50), r"a JPEG or PNG file, which it is not at place \(from 0\)\] \[1\]"),
        (JPEG[: len(JPEG) // 2], "(?i)invalid jpeg"),
        (JPEG[:20], "(?i)invalid jpeg"),
        (PNG[: len(PNG) // 2], "(?i)invalid png"),
    ],
    ids=["empty", "path", "gif", "half", "header", "half png"],
)
def test_a_file_that_is_no_image_is_refused_with_its_place(predict, file, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(predict, [JPEG, file])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (([121],), r"expected age_approx from 0 to 120 years, or -1 where unknown, got\] \[121\]"),
        (([-2],), "expected age_approx from 0 to 120 years"),
        ((None, ["woman"]), r"expected sex one of male, female, or nothing where unknown, got\] \[woman\]"),
        ((None, None, ["knee"]), r"oral/genital, or nothing where unknown, got\] \[knee\]"),
    ],
)
def test_metadata_that_no_record_could_have_is_refused(predict, values, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(predict, [JPEG], *values)


def test_the_client_needs_tensorflow_alone(exported, predict, tmp_path):
    (tmp_path / "lesion.jpg").write_bytes(JPEG)
    program = f"""
import runpy, sys
sys.modules.update(dict.fromkeys(["isic_tf", "tfrecord_tools", "efficientnet", "tf_keras", "keras"]))
sys.argv = ["serve_client.py", {str(exported)!r}, "lesion.jpg"]
runpy.run_path({str(CLIENT)!r})
"""
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"lesion.jpg {serve(predict, [JPEG])[0]:.4f}\n"
    assert len([line for line in CLIENT.read_text().splitlines() if line]) <= 10


def test_an_age_is_what_a_table_of_it_gives():
    table = pd.DataFrame({"age_approx": [-1, 0, 35, 120], "sex": [1, -1, 0, 0]})
    codes = [table["age_approx"].to_numpy(), table["sex"].to_numpy()]
    assert np.array_equal(saved_model.encode_codes(codes, "age,sex"), clinical_metadata.encode(table, "age,sex"))
    assert saved_model.encode_codes([], "") is None


@pytest.fixture(scope="module")
def labels(made_up, tmp_path_factory):
    """CSV file with labels of all records, those of the test made up."""
    test = pd.read_csv(made_up / "test.csv").assign(target=0)
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    pd.concat([pd.read_csv(made_up / "train.csv"), test])[["image_name", "patient_id", "target"]].to_csv(path)
    return path


def test_lite_models_predict_as_the_run_and_the_fall_of_each_form_is_told(
    run, record_set, labels, rows, reference, tmp_path, capsys
):
    given = {"records": f"{record_set}/t*.tfrec", "labels": str(labels), "quantize": list(tflite.FORMS)}
    run_export(run[0], tmp_path / "lite", format="tflite", **given)
    files = [f"model_{form}.tflite" for form in tflite.FORMS]
    assert sorted(os.listdir(tmp_path / "lite")) == sorted([*files, "model_card.md"])
    codes = rows[clinical_metadata.columns(FLAGS["metadata"])].to_numpy()
    decoded = [image for image, _ in export_parity.read_images(rows, 64, FLAGS["metadata"])]
    largest = {"float32": 1e-5, "float16": 5e-3, "int8": 0.1}
    printed, card = capsys.readouterr().out, (tmp_path / "lite" / "model_card.md").read_text()
    assert f"Compared with the run on {len(rows)} records" in printed
    assert "WARNING" not in printed
    for form, file in zip(tflite.FORMS, files, strict=True):
        predict = tflite.make_predictor((tmp_path / "lite" / file).read_bytes(), FLAGS["metadata"], 1)
        found = np.array([predict(image, own) for image, own in zip(decoded, codes, strict=True)])
        assert np.abs(found - reference).max() < largest[form]
        line = next(line for line in printed.splitlines() if line.split()[:1] == [form])
        told = line.split()[2]
        assert float(told) == pytest.approx(np.abs(found - reference).max(), rel=0.1, abs=1e-6)
        assert f" | {told} | " in next(line for line in card.splitlines() if line.startswith(f"| {form} |"))


def test_small_probabilities_survive_8_bits():
    tf.keras.utils.set_random_seed(0)
    networks = [classifiers.build_classifier("efficientnet-b0", 64) for _ in range(2)]
    for network in networks:
        kernel, _ = network.get_layer("logits").get_weights()
        network.get_layer("logits").set_weights([kernel, np.float32([-6])])
    colours = np.random.default_rng(0).integers(0, 256, (40, 1, 1, 3), np.uint8)
    images = np.tile(colours, (1, 64, 64, 1))
    content = tflite.convert(networks, 64, "", "int8", [(image, ()) for image in images])
    predict = tflite.make_predictor(content, "", 1)
    found = np.array([predict(image, ()) for image in images])
    expected = targets.mean_probability(saved_model.logits(networks, images, None)).numpy()
    assert expected.max() < 0.02
    # A quantized sigmoid would give a few multiples of 1/256.
    assert len(set(found)) > 20
    assert np.abs(np.log(found / expected)).max() < 0.1


def test_a_comparison_is_as_by_hand():
    rows = pd.DataFrame({"image_name": list("abcd"), "patient_id": ["p", "q", "", "r"], "target": [0, 1, 0, 1]})
    before, after = np.float32([0.1, 0.8, 0.2, 0.9]), np.float32([0.1, 0.8, 0.85, 0.9])
    table = export_parity.compare(rows, before, {"int8": after})
    # All four pairs are right before; of the benign c and the malignant b the order is wrong after.
    assert table["auc"].tolist() == [1, 0.75]
    assert table["drop"].tolist() == [0, 0.25]
    assert table["difference"].tolist() == [0, pytest.approx(0.65)]
    assert table["drop_low"].isna().all()
    cells = ["int8", "1.5", "6.5e-01", "0.7500", "0.2500", "too few patients"]
    assert export_parity.tabulate({"int8": 1.5}, table)[2] == cells
    many = pd.concat([rows.assign(patient_id=[f"{n}{k}" for k in range(4)]) for n in range(10)], ignore_index=True)
    many["image_name"] = many.index.astype(str)
    table = export_parity.compare(many, np.tile(before, 10), {"same": np.tile(before, 10), "int8": np.tile(after, 10)})
    assert table.loc[1, ["drop_low", "drop_high"]].tolist() == [0, 0]
    assert 0 < table.loc[2, "drop_low"] < 0.25 < table.loc[2, "drop_high"] < 0.5


def test_a_float32_form_that_is_not_the_run_is_told(run, record_set, tmp_path, monkeypatch, capsys):
    original = export_parity.predict_run
    monkeypatch.setattr(export_parity, "predict_run", lambda *given: original(*given) + np.float32(2e-4))
    run_export(run[0], tmp_path / "model", records=f"{record_set}/test*.tfrec")
    assert (
        "WARNING: saved_model differs from the run by up to 2.0e-04 in a probability, over 0.0001"
        in capsys.readouterr().out
    )


def test_every_form_too_far_from_the_run_is_told():
    columns = {"form": ["run", "float16", "int8"], "difference": [0, 0.009, 0.4]}
    table = pd.DataFrame(columns)
    assert export_parity.find_faults(table) == ["int8 differs from the run by up to 4.0e-01 in a probability, over 0.1"]
    table = table.assign(difference=0.0, drop=[0, 0.02, 0.009])
    assert export_parity.find_faults(table) == ["the ROC AUC of float16 is 0.0200 below the run's, over 0.01"]


@pytest.mark.parametrize(("great", "chance"), [(targets.MALIGNANT, 1.0), (0, 0.0)])
def test_logits_whose_powers_are_infinite_give_numbers_in_8_bits(great, chance):
    network = classifiers.build_classifier("efficientnet-b0", 64, target="diagnosis")
    kernel, bias = network.get_layer("logits").get_weights()
    bias[great] = 200
    network.get_layer("logits").set_weights([kernel, bias])
    images = np.tile(np.random.default_rng(0).integers(0, 256, (8, 1, 1, 3), np.uint8), (1, 64, 64, 1))
    predict = tflite.make_predictor(tflite.convert([network], 64, "", "int8", [(image, ()) for image in images]), "", 1)
    assert [predict(image, ()) for image in images] == pytest.approx([chance] * 8, abs=1e-6)


def test_one_fold_can_be_chosen(run, tmp_path, capsys):
    run_export(run[0], tmp_path / "model", fold="1")
    assert "efficientnet-b0 at 64 px, 1 fold(s)" in capsys.readouterr().out
    assert "| Folds averaged | fold1 |" in (tmp_path / "model" / "model_card.md").read_text()
    with pytest.raises(ValueError, match="expected --fold to be all or a trained one of 0, 1, got '7'"):
        run_export(run[0], tmp_path / "other", fold="7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantize": ["int4"], "format": "tflite"}, "--quantize to be some of float32,float16,int8, got 'int4'"),
        ({"quantize": [], "format": "tflite"}, "--quantize to be some of float32,float16,int8, got ''"),
        ({"quantize": ["float16"]}, "--quantize=float16 is for --format=tflite; a SavedModel is float32"),
        ({"quantize": ["int8"], "format": "tflite"}, "--quantize=int8 needs --records"),
        ({"labels": "x.csv"}, "--labels needs --records"),
        ({"records": "nowhere*"}, "no shards match 'nowhere"),
        ({"output": "full"}, "expected --output to be a new or an empty folder, .*full is not; name another"),
        ({"output": "full/file"}, "expected --output to be a new or an empty folder, .*full/file is not; name another"),
        ({"workdir": "nowhere"}, r"expected a trained fold in .*, found no fold\*/best.weights.h5; run isic_tf.train"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(run, tmp_path, changes, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    changes = dict(changes)
    workdir, output = changes.pop("workdir", run[0]), tmp_path / changes.pop("output", "model")
    with pytest.raises(ValueError, match=message):
        run_export(workdir, output, **changes)
    assert os.listdir(tmp_path) == ["full"]


def test_records_without_labels_or_of_one_class_are_refused(run, record_set, made_up, labels, tmp_path):
    given = {"records": f"{record_set}/test*.tfrec"}
    with pytest.raises(ValueError, match=r"images of .* have no label in .*train.csv, \w+ first"):
        run_export(run[0], tmp_path / "model", labels=str(made_up / "train.csv"), **given)
    with pytest.raises(ValueError, match="needs benign and malignant images, those of .* are all alike"):
        run_export(run[0], tmp_path / "model", labels=str(labels), **given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "flags.txt is damaged: expected a line --name=value for each flag, found no text"),
        (b"--image_size=64\n", "flags.txt is damaged: expected a line --backbone=NAME, found none; restore it"),
        (b"--backbone=efficientnet-b0\n", "expected a line --image_size=PIXELS, found None; restore it"),
        (b"--backbone=efficientnet-b0\n--image_size=6x\n", "expected a line --image_size=PIXELS, found '6x'"),
        (b"--backbone=resnet\n--image_size=64\n", "expected a backbone of .*, got 'resnet'"),
        (b"--backbone=efficientnet-b0\n--image_size=64\n--hidden_units=x\n", "flags.txt is damaged: .*'x'; restore it"),
        (b"--backbone=efficientnet-b0\n--image_size=64\n", "best.weights.h5 does not hold weights of this network"),
    ],
)
def test_damaged_flags_are_named(run, tmp_path, content, message, monkeypatch):
    (tmp_path / "fold0").mkdir()
    os.symlink(run[0] / "fold0" / "best.weights.h5", tmp_path / "fold0" / "best.weights.h5")
    (tmp_path / "flags.txt").write_bytes(content)
    monkeypatch.setattr(backbones, "build_backbone", lambda *given: backbones.check(*given[:2]) or tiny_trunk(*given))
    with pytest.raises(ValueError, match=message):
        run_export(tmp_path, tmp_path / "model")


def test_a_failure_leaves_nothing_behind(run, tmp_path):
    for fold in (0, 1):
        (tmp_path / f"run/fold{fold}").mkdir(parents=True)
        os.symlink(run[0] / f"fold{fold}" / "best.weights.h5", tmp_path / f"run/fold{fold}/best.weights.h5")
    (tmp_path / "run/flags.txt").write_text((run[0] / "flags.txt").read_text())
    (tmp_path / "run/fold1/metrics.json").write_text("[")
    with pytest.raises(ValueError, match="fold1/metrics.json holds no figures of a fold .*; restore it, or remove it"):
        run_export(tmp_path / "run", tmp_path / "out" / "model")
    assert os.listdir(tmp_path / "out") == []


def card(workdir, run, format="saved_model", **flags):
    paths = run_directory.trained_folds(str(workdir))
    found = {**run_directory.read_network(str(workdir)), **flags}
    return model_card.render(model_card.collect(str(workdir), paths, 1234, found, format, [["form"], ["float32"]], 0))


def test_the_card_tells_what_the_run_and_its_figures_are(run):
    text = card(run[0], run)
    assert "no medical device" in text
    assert "| Network | efficientnet-b0, 1,234 parameters a fold, images of 64 x 64 px |" in text
    assert "| Folds averaged | fold0, fold1 |" in text
    assert "| fold0 | 30 | 4 | 9 | 0.8125 | too few patients | 0.1000 |" in text
    assert "| fold1 | 30 | 4 | 9 | 0.8125 | 0.7500 to 0.8750 | 0.1000 |" in text
    assert "all together" not in text
    assert "flatters the figures a little" in text
    assert '| `sex` | string \\[n\\]: male, female, or "" where unknown |' in text
    assert 'age_approx=tf.constant([55], tf.int64), sex=tf.constant(["male"])' in text
    assert "| pooling | gem |" in text
    assert "CC BY-NC 4.0" in text
    assert "Not measured: no records were given" in text
    assert "build`: not known. The" in text
    assert "| `sex` | int32 [1]: 0 male, 1 female, or -1 where unknown |" in card(run[0], run, "tflite")


def test_values_cannot_break_the_card(run):
    text = card(run[0], run, data_dir="<script>alert(1)</script>|a`b\n# c&")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\|a\\`b \\# c&amp; |" in text


def test_the_card_tells_how_the_training_images_were_made(run, record_set):
    text = card(run[0], run, data_dir=str(record_set))
    assert "resize=stretch, trim\\_border=False, color\\_constancy=none" in text
    assert "build`: resize=crop. The" in card(run[0], run, data_dir=str(record_set), resize="crop")


def test_records_made_otherwise_than_a_client_makes_images_are_told(run, tmp_path, capsys):
    (tmp_path / "run/fold0").mkdir(parents=True)
    os.symlink(run[0] / "fold0" / "best.weights.h5", tmp_path / "run/fold0/best.weights.h5")
    (tmp_path / "run/flags.txt").write_text("# resize=crop\n" + (run[0] / "flags.txt").read_text())
    run_export(tmp_path / "run", tmp_path / "model")
    printed = capsys.readouterr().out
    assert "note: the run's records were made with resize=crop; a client must make its images so" in printed
    assert "best.weights.h5 is of a fold that is still in training" in printed
    assert "Still in training when exported: fold0." in (tmp_path / "model" / "model_card.md").read_text()


@pytest.mark.realdata
def test_real_files_of_other_sizes_are_predicted_as_their_records(run, predict, real_data, tmp_path):
    paths = [
        path
        for folder in ("isic2017/val", "ham10000/train", "isic2020/jpeg512/train")
        for path in sorted((real_data / folder).glob("*.jpg"))[:4]
    ]
    files = [path.read_bytes() for path in paths]
    shard = tmp_path / "train00-12.tfrec"
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for path, file in zip(paths, files, strict=True):
            writer.write(tf_example.to_example(file, path.stem, age_approx=50, sex=0, anatom_site_general_challenge=3))
    rows = record_metadata.list_records([str(shard)], clinical_metadata.columns(FLAGS["metadata"]))
    expected = export_parity.predict_run(run[1], rows, 64, FLAGS["metadata"], 2)
    found = serve(predict, files, [50] * 12, ["male"] * 12, ["torso"] * 12)
    assert len({tf.io.extract_jpeg_shape(file).numpy().tobytes() for file in files}) >= 3
    assert np.abs(found - expected).max() < 1e-6
