import functools
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys
from importlib import util

import cv2
import image_bytes
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import ENVIRONMENT, ROOT, tiny_trunk

from isic_tf.data import clinical_metadata, decoding, input_pipeline, photographs, record_metadata, targets
from isic_tf.diagnosis import diagnose_images
from isic_tf.diagnosis.config import DiagnoseConfig
from isic_tf.inference import predict_run, predictor
from isic_tf.inference.config import PredictConfig
from isic_tf.models import backbones, classifiers
from isic_tf.models.config import ModelConfig
from isic_tf.patient_context import lesion_features, second_stage
from isic_tf.serving import config, export_run, exported_predictions, graph_images, onnx_model, saved_model, tflite
from tfrecord_tools import errors, schema
from tfrecord_tools.imaging import codec, image_files, preprocessing
from tfrecord_tools.io import atomic_write, record_index

FLAGS = {"backbone": "efficientnet-b0", "image_size": 64, "metadata": "age,sex,site", "pooling": "gem"}
FLAGS |= {"target": "diagnosis", "data_dir": "records", "keep": "best"}
CLASSES = targets.make_class_set("diagnosis")
OPTIONS = {"fold": "all", "format": "saved_model", "quantize": ["float32"], "records": None, "labels": None}
OPTIONS |= {"threads": 2}
CLIENT = ROOT / "experiments" / "examples" / "serve_client.py"
LITE_CLIENT = CLIENT.with_name("lite_client.py")


@pytest.fixture(scope="module", autouse=True)
def tiny_backbone():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        yield


def make_run(folder, flags=FLAGS, folds=(0, 1)):
    """Writes a run of tiny networks whose predictions are far apart, and returns the networks."""
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
    return export_run.export(
        export_run.ExportConfig(workdir=str(workdir), output=str(output), **{**OPTIONS, **changes})
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_backbone):
    """Folder of a run of two folds, and its networks."""
    folder = tmp_path_factory.mktemp("run")
    return folder, make_run(folder)


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    """Folder of the run's SavedModel."""
    folder = tmp_path_factory.mktemp("exported") / "model"
    result = run_export(run[0], folder)
    assert os.fspath(result) == result.path == str(folder)
    assert result.comparison is None
    return folder


@pytest.fixture(scope="module")
def rows(record_set):
    return record_metadata.list_records(
        record_index.match_shards(f"{record_set}/t*.tfrec"), clinical_metadata.columns(FLAGS["metadata"])
    )


@pytest.fixture(scope="module")
def reference(run, rows):
    """The scores of the run for the records, in order."""
    known = clinical_metadata.encode(rows, FLAGS["metadata"])
    dataset = input_pipeline.make_eval_dataset(rows, image_size=64, batch_size=8, threads=2, metadata=known)
    parts = list(predictor.make_predictor(run[1], tf.distribute.get_strategy(), classes=CLASSES)(dataset))
    assert [name for names, _ in parts for name in names] == rows["image_name"].tolist()
    return np.concatenate([found for _, found in parts])


@pytest.fixture(scope="module")
def images(rows):
    """The records' JPEG files."""
    shards = rows["shard"].unique()
    return [decoding.parse(each, False)["image"].numpy() for shard in shards for each in decoding.read(shard)]


@pytest.fixture(scope="module")
def signatures(exported):
    return tf.saved_model.load(str(exported)).signatures


@pytest.fixture(scope="module")
def predict(signatures):
    return signatures["serving_default"]


def serve(predict, images, ages=None, sexes=None, sites=None, name="image"):
    """Predicts by a signature of the SavedModel; None for unknown metadata."""
    known = {"sex": sexes, "anatom_site_general_challenge": sites}
    known = {name: tf.constant(values or [""] * len(images), tf.string) for name, values in known.items()}
    ages = tf.constant(ages or [-1] * len(images), tf.int64)
    images = tf.constant(images, tf.string if name == "image" else tf.uint8)
    return predict(**{name: images}, age_approx=ages, **known)["prediction"].numpy()


def words(rows, column):
    return [(*schema.CATEGORIES[column], "")[code] for code in rows[column]]


def test_the_saved_model_predicts_records_as_the_run_does(signatures, rows, images, reference):
    places = words(rows, "anatom_site_general_challenge")
    pixels = np.stack([decoding.decode(image, 64) for image in images])
    known = (rows["age_approx"].tolist(), words(rows, "sex"), places)
    found = serve(signatures["pixels"], pixels, *known, name="pixels")
    assert found.dtype == np.float32
    assert reference.std() > 0.01
    assert np.abs(found - reference[:, 0]).max() < 1e-6


def test_metadata_count_in_any_case_of_letters_and_unknown_ones_do_not(run, predict, rows, images):
    one = images[:1]
    assert serve(predict, one, [40], ["Female"], [" Torso "]) == serve(predict, one, [40], ["female"], ["torso"])
    found = [serve(predict, one, *values)[0] for values in ([[40]], [None, ["male"]], [None, None, ["torso"]], [])]
    assert len(set(found)) == 4
    unknown = pd.DataFrame({name: [-1] for name in clinical_metadata.columns(FLAGS["metadata"])})
    image = graph_images.decode(tf.constant(one), 64)
    dataset = tf.data.Dataset.from_tensors(
        (image, clinical_metadata.encode(unknown, FLAGS["metadata"]), np.array([b"i"]))
    )
    (_, expected), *_ = predictor.make_predictor(run[1], tf.distribute.get_strategy(), classes=CLASSES)(dataset)
    assert found[-1] == pytest.approx(expected[0, 0], abs=1e-6)


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
            r"expected the bytes of a JPEG or PNG file for every image, got something else at position .*\] \[1\]",
        ),
        (b"/data/lesion.jpg", r"JPEG or PNG file for every image, got something else at position \(from 0\)\] \[1\]"),
        (
            b"GIF89a" + bytes(50),
            r"JPEG or PNG file for every image, got something else at position \(from 0\)\] \[1\]",
        ),
        (JPEG[: len(JPEG) // 2], "(?i)invalid jpeg"),
        (JPEG[:20], "(?i)invalid jpeg"),
        (PNG[: len(PNG) // 2], "(?i)invalid png"),
    ],
    ids=["empty", "path", "gif", "half", "header", "half png"],
)
def test_a_file_that_is_not_an_image_is_refused_with_its_position(predict, file, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(predict, [JPEG, file])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (([121],), r"expected age_approx from 0 to 120 years, or -1 where unknown, got\] \[121\]"),
        (([-2],), "expected age_approx from 0 to 120 years"),
        ((None, ["woman"]), r"expected sex one of male, female, or empty where unknown, got\] \[woman\]"),
        ((None, None, ["knee"]), r"oral/genital, or empty where unknown, got\] \[knee\]"),
    ],
)
def test_metadata_outside_of_the_schema_are_refused(predict, values, message):
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


def test_the_client_of_lite_models_prepares_files_as_the_run_does(run, tmp_path, monkeypatch, capsys):
    pytest.importorskip("ai_edge_litert")
    client = runpy.run_path(str(LITE_CLIENT))
    made = {"resize": "stretch", "trim_border": "False", "color_constancy": "none", "quality": "90"}
    wide = cv2.resize(image_bytes.SMOOTH, (640, 480), interpolation=cv2.INTER_CUBIC)
    files = [image_bytes.jpeg(wide), image_bytes.jpeg(), image_bytes.rotated_jpeg(6, wide), image_bytes.png(wide)]
    for data in files:
        for record_size, size, furthest in ((64, 64, 0), (150, 75, 0), (100, 64, 1.5)):
            reader = photographs.PhotographReader(size, {**made, "record_size": str(record_size)})
            apart = client["prepare"](data, record_size, 90, size) - reader.read_bytes(data, "x").square.astype(float)
            assert np.abs(apart).mean() <= furthest
    run_export(run[0], tmp_path / "lite", format="tflite")
    path = tmp_path / "lesion.jpg"
    path.write_bytes(files[0])
    model = tmp_path / "lite" / "model_float32.tflite"
    monkeypatch.setattr(sys, "argv", ["lite_client.py", str(model), "64", "90", str(path)])
    runpy.run_path(str(LITE_CLIENT), run_name="__main__")
    image = client["prepare"](files[0], 64, 90, 64)
    [expected, *_] = tflite.make_predictor(model.read_bytes(), FLAGS["metadata"], 1)(image, [-1, -1, -1])
    assert capsys.readouterr().out.splitlines()[-1] == f"{path} {expected:.4f}"


@pytest.fixture(scope="module")
def labels(made_up, tmp_path_factory):
    """CSV file with labels of all records, those of the test records synthetic."""
    test = pd.read_csv(made_up / "test.csv").assign(target=0)
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    pd.concat([pd.read_csv(made_up / "train.csv"), test])[["image_name", "patient_id", "target"]].to_csv(path)
    return path


def test_lite_models_predict_as_the_run_and_the_difference_of_each_is_reported(
    run, record_set, labels, rows, reference, tmp_path, capsys
):
    given = {"records": f"{record_set}/t*.tfrec", "labels": str(labels), "quantize": list(config.FORMS)}
    result = run_export(run[0], tmp_path / "lite", format="tflite", **given)
    assert result.comparison["form"].tolist() == ["run", *config.FORMS]
    files = [f"model_{form}.tflite" for form in config.FORMS]
    assert sorted(os.listdir(tmp_path / "lite")) == sorted([*files, "model_card.md"])
    codes = rows[clinical_metadata.columns(FLAGS["metadata"])].to_numpy()
    decoded = [image for image, _ in exported_predictions.read_images(rows, 64, FLAGS["metadata"])]
    largest = {"float32": 1e-5, "float16": 5e-3, "int8": 0.1}
    printed, card = capsys.readouterr().out, (tmp_path / "lite" / "model_card.md").read_text()
    assert f"Compared with the run on {len(rows)} records" in printed
    assert "WARNING" not in printed
    for form, file in zip(config.FORMS, files, strict=True):
        predict = tflite.make_predictor((tmp_path / "lite" / file).read_bytes(), FLAGS["metadata"], 1)
        found = np.array([predict(image, own) for image, own in zip(decoded, codes, strict=True)])
        assert np.abs(found - reference).max() < largest[form]
        line = next(line for line in printed.splitlines() if line.split()[:1] == [form])
        told = line.split()[2]
        assert float(told) == pytest.approx(np.abs(found - reference).max(), rel=0.1, abs=1e-6)
        assert f" | {told} | " in next(line for line in card.splitlines() if line.startswith(f"| {form} |"))


@pytest.mark.skipif(not util.find_spec("tf2onnx"), reason="needs tf2onnx, onnx and onnxruntime: the extra onnx")
def test_an_onnx_model_predicts_as_the_run_and_its_card_says(run, record_set, rows, reference, tmp_path, monkeypatch):
    result = run_export(run[0], tmp_path / "onnx", format="onnx", records=f"{record_set}/t*.tfrec")
    assert sorted(os.listdir(result)) == ["model.onnx", "model_card.md"]
    content = (tmp_path / "onnx" / "model.onnx").read_bytes()
    found = exported_predictions.predict_onnx(content, rows, 64, FLAGS["metadata"], 2)
    assert found.shape == (len(rows), 10)
    assert np.abs(found - reference).max() < 1e-5
    comparison = result.comparison.set_index("form")["difference"]
    assert comparison["onnx"] == pytest.approx(np.abs(found - reference).max(), abs=1e-6)
    card = (tmp_path / "onnx" / "model_card.md").read_text()
    assert "| `image` | uint8 [n, 64, 64, 3]" in card
    program = card.split("```python\n")[1].split("```")[0].replace("THIS DIRECTORY", str(result.path))
    monkeypatch.chdir(tmp_path)
    pathlib.Path("lesion.jpg").write_bytes(JPEG)
    scope = {}
    exec(program, scope)
    image = decoding.decode(JPEG, 64).numpy()
    [expected] = onnx_model.make_predictor(content, FLAGS["metadata"], 1)(image[np.newaxis], [[55, 0, 0]])
    assert scope["prediction"] == pytest.approx([expected[0]], abs=0.01)


def test_files_pass_through_a_record_in_the_exported_model_and_its_card(tmp_path, tiny_backbone):
    make_run(tmp_path / "run", {**FLAGS, "metadata": ""}, folds=(0,))
    path = tmp_path / "run" / "flags.txt"
    path.write_text(f"# resize=stretch\n# record_size=100\n# quality=60\n{path.read_text()}")
    run_export(tmp_path / "run", tmp_path / "model")
    model = tf.saved_model.load(str(tmp_path / "model"))
    square, _ = preprocessing.resize_to_square(functools.partial(codec.decode, JPEG, ""), 100)
    seen = decoding.decode(codec.encode(square, 60), 64)
    [expected] = model.signatures["pixels"](pixels=seen[tf.newaxis])["prediction"]
    [found] = model.signatures["serving_default"](image=tf.constant([JPEG]))["prediction"]
    assert float(found) == pytest.approx(float(expected), abs=1e-6)
    assert not np.array_equal(seen, decoding.decode(JPEG, 64))
    run_export(tmp_path / "run", tmp_path / "onnx", format="onnx")
    card = (tmp_path / "onnx" / "model_card.md").read_text()
    assert "the images were encoded as JPEG of quality 60 at 100 pixels" in card
    assert "[cv2.IMWRITE_JPEG_QUALITY, 60]" in card
    sizes = re.findall(r"cv2\.resize\(image, \((\d+), \1\)", card)
    assert sizes == ["100", "64"]


def save_context_model(folder, columns=()):
    """Writes a patient-context model of trees that look at embeddings, metadata and numeric columns."""
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age_approx": rng.choice([30, 60, -1], 300), "sex": rng.choice([0, 1, -1], 300)})
    looks, numbers = rng.normal(size=(300, 2, 8)).astype(np.float32), pd.DataFrame(index=range(300))
    numbers = numbers.assign(**{name: rng.normal(size=300) for name in columns})
    given = lesion_features.gather(rng.normal(size=(300, 1)), np.arange(300) // 5, rows, looks, numbers)
    stage = second_stage.fit_stage(given, (rng.random(300) < 0.3).astype(int), second_stage.StageOptions("boost"))
    second_stage.save_stage(stage, str(folder), {})


@pytest.mark.usefixtures("few_trees")
def test_a_patients_images_are_judged_together_as_by_predict(run, record_set, rows, tmp_path, capsys):
    context = tmp_path / "context"
    save_context_model(context, ["area"])
    table = tmp_path / "numbers.csv"
    areas = np.round(np.random.default_rng(1).normal(size=len(rows)), 1)
    areas[areas > 1.2] = np.nan
    pd.DataFrame({"image_name": rows["image_name"], "area": areas}).to_csv(table, index=False)
    given = {"records": f"{record_set}/t*.tfrec", "table": str(table), "context": str(context)}
    result = run_export(run[0], tmp_path / "model", **given)
    comparison = result.comparison.set_index("form")
    assert comparison.index.tolist() == ["run", "saved_model", "patient"]
    assert comparison.loc["patient", "images"] == len(rows)
    assert comparison["difference"].max() < 1e-5
    assert "WARNING" not in capsys.readouterr().out
    card = (tmp_path / "model" / "model_card.md").read_text()
    assert "a patient-context model (boost) says of each image" in card
    assert "| `area` | float64 \\[n\\]: the number in the column area" in card
    assert "as saved\\_model: saved\\_model |" in card
    # As `predict --context` with the same images, metadata and numbers.
    predicted = predict_run.predict(
        run[0], given["records"], PredictConfig(context=str(context), table=str(table), strategy="default", threads=2)
    ).set_index("image_name")
    signature = tf.saved_model.load(str(tmp_path / "model")).signatures["patient_pixels"]
    own = record_metadata.add_index(rows.assign(area=pd.read_csv(table)["area"]))
    own = own[own["patient_id"] == own["patient_id"].mode()[0]]
    assert len(own) > 2
    images = [image for image, _ in exported_predictions.read_images(own.drop(columns="area"), 64, "")]
    found = signature(
        pixels=tf.constant(np.stack(images)),
        age_approx=tf.constant(own["age_approx"], tf.int64),
        sex=tf.constant(words(own, "sex")),
        anatom_site_general_challenge=tf.constant(words(own, "anatom_site_general_challenge")),
        area=tf.constant(own["area"], tf.float64),
    )
    expected = predicted.loc[own["image_name"]]
    assert found["context_probability"].numpy() == pytest.approx(expected["prediction"].to_numpy(), abs=1e-5)
    assert found["prediction"].numpy() == pytest.approx(expected["stage_one"].to_numpy(), abs=1e-5)
    assert found["probabilities"].shape == (len(own), 9)


def test_a_context_model_that_does_not_fit_is_refused_before_any_work(run, tmp_path):
    two = second_stage.Stage("rank", 2, False, True, [], None, None)
    second_stage.save_stage(two, str(tmp_path / "two"), {})
    with pytest.raises(errors.ConfigError, match="expected a patient-context model fitted on one run, but .*two was"):
        run_export(run[0], tmp_path / "model", context=str(tmp_path / "two"))
    with pytest.raises(errors.IsicError, match="expected a patient-context model at nowhere/context.json, but the fil"):
        run_export(run[0], tmp_path / "model", context="nowhere")
    assert os.listdir(tmp_path) == ["two"]


def test_missing_packages_are_named_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_model, "_PACKAGES", ("numpy", "no_such_package", "nor_this"))
    with pytest.raises(
        errors.ConfigError, match="--format=onnx needs no_such_package, nor_this, not installed here; i"
    ):
        run_export(tmp_path / "nowhere", tmp_path / "model", format="onnx")


def test_a_float32_form_that_differs_from_the_run_is_reported(run, record_set, tmp_path, monkeypatch, capsys):
    original = exported_predictions.predict_run
    monkeypatch.setattr(exported_predictions, "predict_run", lambda *given: original(*given) + np.float32(2e-4))
    run_export(run[0], tmp_path / "model", records=f"{record_set}/test*.tfrec")
    assert (
        "WARNING: a probability of saved_model differs from the run by up to 2.0e-04, more than 0.0001"
        in capsys.readouterr().out
    )


def test_one_fold_can_be_chosen(run, tmp_path, capsys):
    run_export(run[0], tmp_path / "model", fold="1")
    assert "efficientnet-b0 at 64 px, 1 fold(s)" in capsys.readouterr().out
    assert "| Folds averaged | fold1 |" in (tmp_path / "model" / "model_card.md").read_text()
    with pytest.raises(ValueError, match="expected --fold to be all or a trained one of 0, 1, got '7'"):
        run_export(run[0], tmp_path / "other", fold="7")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"records": "nowhere*"}, "no shards match 'nowhere"),
        ({"output": "full"}, "expected --output to be a new or empty directory, but .*full is not; name another"),
        (
            {"output": "full/file"},
            "a new or empty directory, but .*full/file is not; name another",
        ),
        ({"workdir": "nowhere"}, r"expected a trained fold in .*, found no fold\*/best.weights.h5; run isic_tf.train"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(run, tmp_path, changes, message):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    changes = dict(changes)
    workdir, output = changes.pop("workdir", run[0]), tmp_path / changes.pop("output", "model")
    with pytest.raises(ValueError, match=message):
        run_export(workdir, output, **changes)
    assert os.listdir(tmp_path) == ["full"]


def test_records_without_labels_or_of_one_class_are_refused(run, record_set, made_up, labels, tmp_path):
    given = {"records": f"{record_set}/test*.tfrec"}
    with pytest.raises(ValueError, match=r"images of .* have no label in .*train.csv \(first: \w+\); add"):
        run_export(run[0], tmp_path / "model", labels=str(made_up / "train.csv"), **given)
    with pytest.raises(ValueError, match="needs benign and malignant images, but those of .* are all of one class"):
        run_export(run[0], tmp_path / "model", labels=str(labels), **given)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "flags.txt is damaged: expected UTF-8 text, got other bytes in line 1; restore it"),
        (b"--image_size=64\n", "flags.txt is damaged: it lacks the line --backbone=NAME; restore it"),
        (b"--backbone=efficientnet-b0\n", "expected a line --image_size=PIXELS, got no such line; restore it"),
        (b"--backbone=efficientnet-b0\n--image_size=6x\n", "expected a line --image_size=PIXELS, got 6x"),
        (
            b"--backbone=resnet\n--image_size=64\n",
            "flags.txt is damaged: expected a backbone of efficientnet-lite0, .*, got 'resnet'",
        ),
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
    with pytest.raises(ValueError, match="fold1/metrics.json does not hold the metrics of a fold .*; restore it"):
        run_export(tmp_path / "run", tmp_path / "out" / "model")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_named_and_leaves_nothing_behind(run, tmp_path, monkeypatch):
    def save(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "{{node SaveV2}} variables; No space left on device")

    monkeypatch.setattr(saved_model, "save", save)
    with pytest.raises(errors.IsicError, match="expected room for .*/model, but the disk is full; free disk space"):
        run_export(run[0], tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_preprocessing_that_a_client_must_do_is_noted(run, tmp_path, capsys):
    (tmp_path / "run/fold0").mkdir(parents=True)
    os.symlink(run[0] / "fold0" / "best.weights.h5", tmp_path / "run/fold0/best.weights.h5")
    (tmp_path / "run/flags.txt").write_text("# resize=crop\n" + (run[0] / "flags.txt").read_text())
    run_export(tmp_path / "run", tmp_path / "model")
    printed = capsys.readouterr().out
    # A SavedModel does it itself.
    assert "a client must" not in printed
    assert "best.weights.h5 is of a fold that is still in training" in printed
    assert "Still in training when exported: fold0." in (tmp_path / "model" / "model_card.md").read_text()
    run_export(tmp_path / "run", tmp_path / "lite", format="tflite")
    printed = capsys.readouterr().out
    assert "note: the records of the run were built with resize=crop; a client must preprocess its" in printed


@pytest.mark.realdata
def test_real_files_of_other_sizes_are_predicted_as_by_predict(run, predict, real_data):
    paths = [
        path
        for folder in ("isic2017/val", "isic2020/jpeg512/train", "ham10000/train")
        for path in sorted((real_data / folder).glob("*.jpg"))[:4]
    ]
    assert len({codec.image_size(path.read_bytes()) for path in paths}) == 3
    codes = pd.DataFrame({"age_approx": [50] * 12, "sex": 0, "anatom_site_general_challenge": 3})
    prepared = np.stack([image_files.prepare_image(str(path), {"image_size": 64}) for path in paths])
    names = np.array([path.stem.encode() for path in paths])
    known = clinical_metadata.encode(codes, FLAGS["metadata"])
    dataset = tf.data.Dataset.from_tensors((prepared, known, names))
    (_, expected), *_ = predictor.make_predictor(run[1], tf.distribute.get_strategy(), classes=CLASSES)(dataset)
    found = serve(predict, [path.read_bytes() for path in paths], [50] * 12, ["male"] * 12, ["torso"] * 12)
    assert np.abs(found - expected[:, 0]).max() < 1e-6


@pytest.mark.realdata
@pytest.mark.usefixtures("few_trees")
def test_real_photographs_of_a_patient_are_judged_together_as_by_diagnose(run, tmp_path, real_data):
    save_context_model(tmp_path / "context")
    table = pd.read_csv(real_data / "isic2020" / "train_512.csv", keep_default_na=False)
    patients = table["patient_id"].value_counts()
    own = table[table["patient_id"].isin([*patients.index[:2], patients.index[-1]])].reset_index(drop=True)
    own = own.astype({"age_approx": object})
    own.loc[0, ["age_approx", "sex", "anatom_site_general_challenge"]] = ""
    own.to_csv(tmp_path / "own.csv", index=False)
    paths = own["image_name"].map(lambda name: real_data / "isic2020" / "jpeg512" / "train" / f"{name}.jpg")
    options = {"csv": str(tmp_path / "own.csv"), "context": str(tmp_path / "context")}
    judged = diagnose_images.diagnose(DiagnoseConfig(workdir=str(run[0]), images=tuple(map(str, paths)), **options))
    expected = {one.image: (one.context_probability, one.score) for one in judged}
    run_export(run[0], tmp_path / "model", context=options["context"])
    signature = tf.saved_model.load(str(tmp_path / "model")).signatures["patient"]
    for _, part in own.groupby("patient_id"):
        found = signature(
            image=tf.constant([paths[place].read_bytes() for place in part.index]),
            age_approx=tf.constant([int(float(age or -1)) for age in part["age_approx"]], tf.int64),
            sex=tf.constant(part["sex"].tolist()),
            anatom_site_general_challenge=tf.constant(part["anatom_site_general_challenge"].tolist()),
        )
        both = np.stack([found["context_probability"], found["prediction"]], axis=1)
        assert both == pytest.approx(np.array([expected[name] for name in part["image_name"]]), abs=1e-5)
