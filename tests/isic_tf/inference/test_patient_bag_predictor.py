import dataclasses
import functools
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import scipy.special
import tensorflow as tf
from harness import build_set, make_config, predicted, tiny_trunk

from isic_tf.artifacts import fold_results, run_directory, seen_images
from isic_tf.data import clinical_metadata, decoding, image_files, input_pipeline, mixture, photographs, record_metadata
from isic_tf.inference import patient_bag_predictor, prediction_shards, test_time_augmentation
from isic_tf.metrics import summaries
from isic_tf.models import backbones, classifiers, patient_context_head, set_transformer
from isic_tf.models.config import ModelConfig
from isic_tf.serving import export_run, graph_networks
from isic_tf.training import loop, validation, warm_start
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import record_index

SET = make_config(**{"context": "set", "bag_size": 4, "metadata": "sex"})


@pytest.fixture(scope="module", autouse=True)
def small_networks():
    build = set_transformer.build_set_transformer
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backbones, "build_backbone", tiny_trunk)
        patch.setattr(set_transformer, "build_set_transformer", functools.partial(build, units=8, heads=2, blocks=1))
        yield


@pytest.fixture(scope="module")
def networks():
    """Two networks of one kind and other weights, all of which count."""
    made = []
    for seed in (0, 1):
        tf.keras.utils.set_random_seed(seed)
        network, rng = (
            classifiers.build_classifier("efficientnet-lite0", 32, **SET.head_options()),
            np.random.default_rng(seed),
        )
        network.set_weights([part + rng.normal(0, 0.3, part.shape) for part in network.get_weights()])
        made.append(network)
    return made


@pytest.fixture(scope="module")
def run(record_set, networks, tmp_path_factory):
    """A run of two folds with context, as training leaves it."""
    folder, rows = tmp_path_factory.mktemp("run"), mixture.read_sets(str(record_set))
    run_directory.claim(str(folder), dataclasses.asdict(SET), (), rows)
    for fold, network in enumerate(networks):
        own = folder / f"fold{fold}"
        own.mkdir()
        fold_results.keep_weights(str(own), network, True)
        seen_images.write_seen_images(str(own), seen_images.list_seen_images(mixture.plan_fold(rows, fold)))
        (own / run_directory.METRICS_FILE).write_text("{}")
    return folder


@pytest.fixture(scope="module")
def whole(run, record_set, tmp_path_factory):
    """Predictions of all records by both folds, of two versions of each image, and their embeddings."""
    folder = tmp_path_factory.mktemp("whole")
    options = {"tta": 2, "embeddings": str(folder / "e.npz")}
    found = predicted(run, folder / "o.csv", records=f"{record_set}/train*.tfrec", **options)
    return found["prediction"], dict(np.load(folder / "e.npz"))


def see(network, images, known):
    """Gives what the second stage sees: features and, last, the logit."""
    return tf.keras.Model(network.inputs[:-1], network.get_layer(patient_context_head.HEAD_INPUT).output)(
        [images, known]
    ).numpy()


def test_predictions_are_those_of_each_patients_lesions_together(whole, networks, record_set):
    found, embeddings = whole
    rows = record_metadata.list_records(record_index.match_shards(f"{record_set}/train*.tfrec"), ["sex"])
    assert found.index.tolist() == embeddings["image_name"].tolist() == rows["image_name"].tolist()
    images, _ = next(iter(input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=len(rows), threads=2)))
    index = record_index.read_index(str(record_set), "train").set_index("image_name")
    patients, expected, alone = index.loc[rows["image_name"], "patient_id"].to_numpy(), 0, 0
    for fold, network in enumerate(networks):
        versions = (decoding.to_float(test_time_augmentation.dihedral(images, version)) for version in (0, 1))
        seen = np.mean([see(network, version, clinical_metadata.encode(rows, "sex")) for version in versions], axis=0)
        assert np.allclose(embeddings["embeddings"][:, fold], seen[:, :-1], atol=1e-5)
        sets, logits = patient_context_head.find_context_layer(network).sets, np.zeros(len(rows))
        for patient in set(patients):
            own = seen[None, patients == patient]
            logits[patients == patient] = sets([own[..., :-1], np.ones(own.shape[:2]), own[..., -1:]])[0, :, 0]
        expected, alone = expected + scipy.special.expit(logits) / 2, alone + scipy.special.expit(seen[:, -1]) / 2
    assert np.abs(found - expected).max() < 1e-5
    assert np.abs(found - alone).max() > 1e-2


def test_records_in_other_shards_and_orders_and_a_resumed_prediction_change_nothing(
    whole, run, record_set, tmp_path, monkeypatch
):
    # Dealt to shards one by one, so that patients are cut apart, and without an index beside them.
    shards = record_index.match_shards(f"{record_set}/train*.tfrec")
    serialized = [data.numpy() for path in shards for data in tf.data.TFRecordDataset(path)]
    for number in range(3):
        with tf.io.TFRecordWriter(str(tmp_path / f"train0{number}-31.tfrec")) as writer:
            for data in serialized[::-1][number::3]:
                writer.write(data)
    write, written, options = prediction_shards.write_part, [], {"records": f"{tmp_path}/train*.tfrec", "tta": 2}

    def interrupted(*arguments):
        if written:
            raise KeyboardInterrupt
        written.append(arguments)
        write(*arguments)

    monkeypatch.setattr(prediction_shards, "write_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predicted(run, tmp_path / "other.csv", **options)
    monkeypatch.setattr(prediction_shards, "write_part", write)
    other = predicted(run, tmp_path / "other.csv", **options)["prediction"]
    assert other.index.tolist() != whole[0].index.tolist()
    assert np.abs(other[whole[0].index] - whole[0]).max() < 1e-5
    assert not list(tmp_path.glob("*.parts*"))


def test_out_of_fold_predictions_are_those_of_the_judging(run, networks, record_set, tmp_path):
    found = predicted(run, tmp_path / "oof.csv", records=f"{record_set}/train*.tfrec", out_of_fold=True)
    rows = record_metadata.add_columns(mixture.read_sets(str(record_set)), ["sex"], 1)
    held_out = rows[rows["fold"] == 1]
    judge = patient_bag_predictor.make_predictor(networks[1], tf.distribute.get_strategy(), held_out)
    table = validation.validate(judge, held_out, SET).set_index("image_name")
    own = found[found["fold"] == 1]
    assert sorted(own.index) == sorted(table.index)
    assert np.abs(own["prediction"] - table.loc[own.index, "prediction"]).max() < 1e-6


@pytest.fixture(scope="module")
def departures(tmp_path_factory):
    """Records of 60 patients, each of one colour, of whose eight lesions two are lighter or darker."""
    folder, rng, table = tmp_path_factory.mktemp("departures"), np.random.default_rng(0), []
    (folder / "jpeg").mkdir()
    for patient, colour in enumerate(rng.uniform(60, 200, (60, 3))):
        for number in range(8):
            departure = 30 * rng.choice([-1, 1]) * (number < 2) + rng.normal(0, 4, 3)
            pixels = np.clip(colour + departure + rng.normal(0, 6, (32, 32, 3)), 0, 255).astype("uint8")
            name = f"ISIC_{8 * patient + number:07d}"
            (folder / "jpeg" / f"{name}.jpg").write_bytes(codec.encode(pixels, 95))
            table.append((name, f"IP_{patient:07d}", "", "", "", "unknown", "benign", int(number < 2)))
    columns = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge"]
    columns += ["diagnosis", "benign_malignant", "target"]
    pd.DataFrame(table, columns=columns).to_csv(folder / "train.csv", index=False)
    build_set(folder / "train.csv", folder / "jpeg", folder / "records", image_size=32)
    return folder / "records"


def test_two_devices_learn_how_a_lesion_departs_from_its_patients_others(departures, tmp_path):
    sets = {"data_dir": str(departures), "extra_data_dir": "", "workdir": str(tmp_path), "fold": "1"}
    changes = {"augment_strength": 0.0, "epochs": 4, "bag_size": 8, "global_batch_size": 32, "label_smoothing": 0.0}
    without_metadata = dataclasses.replace(SET, metadata="")
    loop.train(dataclasses.replace(without_metadata, **sets, strategy="mirrored", **changes))
    assert json.loads((tmp_path / "fold1" / "metrics.json").read_text())["auc"] > 0.85
    # The kept weights give what was judged; without their patients' others, the same lesions are hardly told apart.
    oof = pd.read_csv(tmp_path / "oof.csv").set_index("image_name")
    again = predicted(tmp_path, tmp_path / "again.csv", records=f"{departures}/train*.tfrec")["prediction"]
    assert np.abs(again[oof.index] - oof["prediction"]).max() < 1e-5
    flags = run_directory.read_network(str(tmp_path))
    network = classifiers.build_classifier(
        flags["backbone"],
        32,
        run_directory.trained_folds(str(tmp_path))[0],
        **ModelConfig.from_text(flags).head_options(),
    )
    held_out = mixture.read_sets(str(departures)).assign(patient_id="")
    held_out = held_out[held_out["fold"] == 1]
    predict = patient_bag_predictor.make_predictor(network, tf.distribute.get_strategy(), held_out)
    alone = validation.validate(predict, held_out, without_metadata)
    assert summaries.score(alone)["auc"] < 0.7


def test_image_files_have_the_patients_of_the_table_and_those_of_nobody_keep_their_scores(
    run, networks, made_up, tmp_path, capsys
):
    table, options = (
        pd.read_csv(made_up / "test.csv"),
        {"images": str(made_up / "jpeg" / "test"), "csv": str(tmp_path / "t.csv")},
    )
    table.to_csv(tmp_path / "t.csv", index=False)
    beside = predicted(run, tmp_path / "f.csv", **options)["prediction"]
    assert f"patient context: {len(table)} of {len(table)} images are predicted together" in capsys.readouterr().out
    table.drop(columns="patient_id").to_csv(tmp_path / "t.csv", index=False)
    nobody = predicted(run, tmp_path / "n.csv", **options)["prediction"]
    out = capsys.readouterr().out
    assert f"patient context: 0 of {len(table)} images are predicted together with others of their patient; pat" in out
    assert "; patients are read from an index" in out
    rows = image_files.list_files(options["images"], options["csv"], "sex")
    with photographs.open_reader(rows, 32, {}, 1) as read:
        images = decoding.to_float(read(np.arange(len(rows))))
    logits = [see(network, images, clinical_metadata.encode(rows, "sex"))[:, -1] for network in networks]
    alone = pd.Series(scipy.special.expit(logits).mean(axis=0), rows["image_name"])
    assert np.abs(nobody - alone[nobody.index]).max() < 1e-6
    assert np.abs(beside - nobody).max() > 1e-2


def test_a_plain_network_starts_from_stage_one_and_another_from_all(run, networks, capsys):
    folder = str(run / "fold1")
    for changes, expected in (({}, ""), ({"context": "none"}, ""), ({"metadata": ""}, ", except logits")):
        recipe = dataclasses.replace(SET, **changes)
        fresh = classifiers.build_classifier("efficientnet-lite0", 32, **recipe.head_options())
        warm_start.load_weights(fresh, folder, recipe)
        assert capsys.readouterr().out == f"  starting from {folder}/{run_directory.BEST_WEIGHTS}{expected}\n"
        kept = {weight.name: weight.numpy() for weight in networks[1].weights}
        others = {weight.name: weight.numpy() for weight in fresh.weights}
        assert len(kept) > len(others) - 2
        assert all(np.array_equal(kept[name], value) for name, value in others.items() if "logits" not in name)


def test_single_images_and_those_of_a_patient_are_exported(run, networks, record_set, tmp_path, capsys):
    shutil.copytree(run / "fold0", tmp_path / "one" / "fold0")
    shutil.copy(run / "flags.txt", tmp_path / "one")
    flags = {"format": "saved_model", "fold": "all", "quantize": ["float32"], "labels": None, "threads": 1}
    export_run.export(
        export_run.ExportConfig(
            workdir=str(tmp_path / "one"), output=str(tmp_path / "m"), records=f"{record_set}/test*.tfrec", **flags
        )
    )
    out = capsys.readouterr().out
    assert "the signature patient predicts a patient's images together; its other signatures predict single" in out
    assert "WARNING" not in out
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    files = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
    signatures = tf.saved_model.load(str(tmp_path / "m")).signatures
    found = signatures["patient"](image=files, sex=tf.constant(["male"] * 5))["prediction"].numpy()
    known = clinical_metadata.encode(pd.DataFrame({"sex": [0] * 5}), "sex")
    head_inputs = tf.keras.Model(networks[0].inputs[:-1], networks[0].get_layer("seen").output)
    seen = head_inputs([decoding.to_float(tf.constant(pixels)), known]).numpy()
    correct = patient_bag_predictor.make_corrector(networks[0])
    weights = patient_context_head.find_context_layer(networks[0]).sets.get_weights()
    expected = scipy.special.expit(correct(weights, seen, ["p"] * 5))
    assert found == pytest.approx(expected, abs=1e-6)
    # Flipped images are seen alike, whichever of them comes first.
    judge = graph_networks.make_patient_judge(networks[:1], versions=2)
    both = [judge(tf.constant(images), [known])[0].numpy() for images in (pixels, pixels[:, ::-1])]
    assert both[0] == pytest.approx(both[1], abs=1e-6)
    assert np.abs(both[0] - found).max() > 1e-4
    # A single image is compared with no other.
    single = signatures["patient"](image=files[:1], sex=tf.constant(["male"]))["prediction"].numpy()
    assert single == pytest.approx(scipy.special.expit(seen[:1, -1]), abs=1e-6)
    alone = signatures["serving_default"](image=files, sex=tf.constant(["male"] * 5))["prediction"].numpy()
    assert alone == pytest.approx(scipy.special.expit(seen[:, -1]), abs=1e-6)
    assert np.abs(alone - found).max() > 1e-3


def test_patients_are_those_of_an_index_or_of_the_records_themselves(tmp_path):
    shards = [f"{tmp_path}/test00-3.tfrec"] * 3 + [f"{tmp_path}/test01-1.tfrec", f"{tmp_path}/train00-1.tfrec"]
    # As `add_index` found them in the indexes beside the shards.
    rows = pd.DataFrame({"image_name": list("abcde"), "shard": shards, "patient_id": ["IP_1", "7", "", "", ""]})
    found = record_metadata.add_patients(rows.assign(patient_code=[3, 3, 7, -1, 7]))["patient_id"].tolist()
    assert found == ["IP_1", f"{tmp_path}/test:7", f"{tmp_path}/test:7", "", f"{tmp_path}/train:7"]


def test_the_judging_looks_up_between_batches_and_gives_all_at_the_end(networks, record_set):
    rows = (
        record_metadata.list_records(record_index.match_shards(f"{record_set}/test*.tfrec"), ["sex"])
        .iloc[:6]
        .assign(patient_id="p")
    )
    network = networks[0]
    known = clinical_metadata.encode(rows, "sex")
    dataset = input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=2, threads=1, metadata=known)
    found = list(patient_bag_predictor.make_predictor(network, tf.distribute.get_strategy(), rows)(dataset))
    assert [names for names, _ in found] == [[], [], [], rows["image_name"].tolist()]
    assert all(len(names) == len(values) for names, values in found)
