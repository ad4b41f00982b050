import fnmatch
import json

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import torch_bytes
from harness import PREDICT, RECIPE, make_config, tiny, tiny_trunk
from shard_files import rewrite_index

from isic_tf.artifacts import prediction_files, run_directory
from isic_tf.data import mixture
from isic_tf.inference import predict_run, predictor
from isic_tf.inference.config import PredictConfig
from isic_tf.models import backbones, classifiers
from isic_tf.training import checkpointing, epochs, loop, train_state, validation
from isic_tf.training.config import TrainConfig
from isic_tf.training.run_result import RunResult
from tfrecord_tools import errors


@pytest.fixture
def tiny_model(monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", tiny)


def run(record_set, workdir, fold="0", strategy="default", **changes):
    sets = {"data_dir": str(record_set), "extra_data_dir": ""}
    options = {"workdir": str(workdir), "fold": fold, "strategy": strategy, "tpu": ""}
    options["dry_run"] = False
    result = loop.train(TrainConfig(**{**sets, **options, **RECIPE, **changes}))
    assert result.workdir == str(workdir)
    assert (result.estimate is not None) == bool(changes.get("dry_run"))
    directory = workdir / ("full" if fold == "full" else f"fold{fold}")
    return pd.read_csv(directory / "history.csv") if fold != "all" and not changes.get("dry_run") else None


def test_a_run_leaves_its_files_and_returns_its_metrics(record_set, tmp_path, tiny_model, index, capsys):
    history = run(record_set, tmp_path)
    assert list(history) == ["epoch", "loss", "gradient_norm", "auc", "partial_auc", "learning_rate"]
    assert history["epoch"].tolist() == [1, 2, 3]
    oof = pd.read_csv(tmp_path / "fold0" / "oof.csv")
    held_out = index[index["fold"] == 0]
    assert list(oof) == ["image_name", "prediction", "fold", "target"]
    assert oof["image_name"].tolist() == held_out["image_name"].tolist()
    assert oof["target"].tolist() == held_out["target"].tolist()
    figures = json.loads((tmp_path / "fold0" / "metrics.json").read_text())
    assert figures["auc"] == pytest.approx(history["auc"].max(), abs=1e-12)
    assert figures["kept_epoch"] == history["auc"].idxmax() + 1
    assert (tmp_path / "oof.csv").read_text() == (tmp_path / "fold0" / "oof.csv").read_text()
    assert "ROC AUC" in capsys.readouterr().out
    result = RunResult(str(tmp_path))
    assert result.folds == ("fold0",)
    assert result.roc_auc == figures["auc"]
    assert result.out_of_fold["image_name"].tolist() == oof["image_name"].tolist()
    assert cv2.imread(str(tmp_path / "fold0" / "training.png")).std() > 1
    # No output of another command replaces what a run cannot make again.
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    others = {name for name in files if not any(fnmatch.fnmatchcase(name, one) for one in run_directory.OWN_FILES)}
    assert {name for name in others if "checkpoints/" not in name} == {"fold0/training.png"}


def test_the_best_weights_are_those_of_the_out_of_fold_predictions(record_set, tmp_path, tiny_model, index):
    run(record_set, tmp_path)
    held_out = index[index["fold"] == 0]
    classifier = tiny(None, 32, None)
    classifier.load_weights(str(tmp_path / "fold0" / "best.weights.h5"))
    predict = predictor.make_predictor([classifier], tf.distribute.get_strategy())
    again = validation.validate(predict, held_out, make_config())["prediction"].to_numpy()
    oof = prediction_files.read_prediction_file(str(tmp_path / "fold0" / "oof.csv"))["prediction"].to_numpy()
    assert np.abs(again - oof).max() < 1e-6


def test_an_interrupted_run_resumes_after_its_last_epoch_with_the_same_result(
    record_set, tmp_path, tiny_model, interrupt
):
    uninterrupted = run(record_set, tmp_path / "uninterrupted")
    calls = interrupt()
    with pytest.raises(KeyboardInterrupt):
        run(record_set, tmp_path / "stopped")
    resumed = run(record_set, tmp_path / "stopped")
    assert len(calls) == 4
    assert np.allclose(uninterrupted, resumed, atol=1e-5)


def test_a_finished_fold_is_left_alone(record_set, tmp_path, tiny_model, capsys):
    run(record_set, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*.*")}
    run(record_set, tmp_path)
    assert "fold0 is already trained" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_all_folds_are_trained_in_turn_and_joined(record_set, tmp_path, tiny_model, index):
    run(record_set, tmp_path, fold="all", epochs=2)
    merged = pd.read_csv(tmp_path / "oof.csv")
    assert sorted(merged["image_name"]) == sorted(index["image_name"])
    assert merged["fold"].tolist() == sorted(merged["fold"])


def test_a_run_on_all_images_keeps_its_last_weights(record_set, tmp_path, tiny_model, index, capsys):
    history = run(record_set, tmp_path, fold="full", epochs=2)
    assert list(history) == ["epoch", "loss", "gradient_norm", "learning_rate"]
    output = capsys.readouterr().out
    assert f"full: {len(index)} images per epoch, none held out" in output
    assert "full: trained for 2 epochs; not evaluated, because nothing was held out" in output
    assert not (tmp_path / "oof.csv").exists()
    assert (tmp_path / "full" / "training.png").exists()
    assert run_directory.fold_files(str(tmp_path), run_directory.BEST_WEIGHTS) == [
        str(tmp_path / "full" / run_directory.BEST_WEIGHTS)
    ]
    recipe = make_config(**{"epochs": 2})
    state = train_state.make_state(tf.distribute.get_strategy(), recipe, 3)
    checkpointing.restore(state, run_directory.find_checkpoints(str(tmp_path / "full" / "checkpoints")))
    kept = tiny(None, 32, None)
    kept.load_weights(str(tmp_path / "full" / run_directory.BEST_WEIGHTS))
    assert all(np.array_equal(*pair) for pair in zip(kept.get_weights(), state.model.get_weights(), strict=True))


def test_two_replicas_train_and_keep_the_weights_that_they_evaluated(record_set, tmp_path, index):
    # With the real backbone: its batch statistics differ between replicas until they are averaged.
    run(record_set, tmp_path, strategy="mirrored", epochs=1, warmup_epochs=0.5)
    classifier = classifiers.build_classifier("efficientnet-lite0", 32, str(tmp_path / "fold0" / "best.weights.h5"))
    predict = predictor.make_predictor([classifier], tf.distribute.get_strategy())
    again = validation.validate(predict, index[index["fold"] == 0], make_config())["prediction"].to_numpy()
    oof = prediction_files.read_prediction_file(str(tmp_path / "fold0" / "oof.csv"))["prediction"].to_numpy()
    assert np.abs(again - oof).max() < 1e-5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fold": "7"}, "expected one of the index's folds"),
        ({"fold": "first"}, "expected a fold's number, 'all' or 'full' for --fold, got 'first'"),
        ({"learning_rate": 1e30}, "the training of fold0 diverged at step [1-3]: .* There is no checkpoint yet"),
        ({"warmup_epochs": 3.0}, "expected a warm-up shorter than"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(record_set, tmp_path, tiny_model, changes, message):
    with pytest.raises(ValueError, match=message):
        run(record_set, tmp_path, **changes)


def test_float16_with_a_learning_rate_of_the_backbone_is_refused(record_set, tmp_path):
    with pytest.raises(
        ValueError, match="expected --backbone_lr_multiplier=1 and --freeze_epochs=0 with --precision=mixed_float16"
    ):
        run(record_set, tmp_path, precision="mixed_float16", backbone_lr_multiplier=0.1)


def test_a_fold_without_a_better_epoch_is_stopped_and_stays_so(record_set, tmp_path, tiny_model, capsys):
    # Without a learning rate every epoch is as good as the first.
    changes = {"learning_rate": 0.0, "epochs": 9, "early_stop_patience": 2, "warmup_epochs": 0.0}
    history = run(record_set, tmp_path, **changes)
    assert len(history) == 3
    assert "fold0: stopped early, no better epoch in the last 2" in capsys.readouterr().out
    assert json.loads((tmp_path / "fold0" / "metrics.json").read_text())["kept_epoch"] == 1
    (tmp_path / "fold0" / "metrics.json").unlink()
    assert len(run(record_set, tmp_path, **changes)) == 3


def test_averages_and_a_frozen_start_resume_and_keep_what_was_evaluated(record_set, tmp_path, tiny_model, index):
    changes = {"ema": 0.9, "freeze_epochs": 1, "backbone_lr_multiplier": 0.5, "schedule": "deotte", "clip_norm": 1.0}
    uninterrupted = run(record_set, tmp_path / "uninterrupted", **changes)
    original, calls = epochs.run_epoch, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(epochs, "run_epoch", interrupted)
        run(record_set, tmp_path / "stopped", **changes)
    resumed = run(record_set, tmp_path / "stopped", **changes)
    assert np.allclose(uninterrupted, resumed, atol=1e-5)
    classifier = tiny(None, 32, None)
    classifier.load_weights(str(tmp_path / "uninterrupted" / "fold0" / "best.weights.h5"))
    predict = predictor.make_predictor([classifier], tf.distribute.get_strategy())
    again = validation.validate(predict, index[index["fold"] == 0], make_config())["prediction"].to_numpy()
    oof = prediction_files.read_prediction_file(str(tmp_path / "uninterrupted" / "fold0" / "oof.csv"))[
        "prediction"
    ].to_numpy()
    assert np.abs(again - oof).max() < 1e-6


def test_a_batch_that_replicas_cannot_share_is_refused(record_set, tmp_path):
    with pytest.raises(ValueError, match=r"divisible by 2 .2 replicas., got 1; use --global_batch_size=2"):
        run(record_set, tmp_path, strategy="mirrored", global_batch_size=1)


def test_a_corrupt_shard_is_named_in_training(record_set, tmp_path, tiny_model):
    for path in record_set.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    shard = sorted(tmp_path.glob("train*.tfrec"))[-1]
    data = bytearray(shard.read_bytes())
    data[-40] ^= 255
    shard.write_bytes(data)
    with pytest.raises(ValueError, match=rf"{shard.name} is corrupt at record \d+: the checksum of its data is wrong"):
        run(tmp_path, tmp_path / "run")


@pytest.mark.parametrize("where", ["none", "memory"])
@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("target", "index and record disagree on the target of ISIC_[0-9]+; index the set"),
        ("name", "the shard holds another record where the index has gone_ISIC_[0-9]+; index the set"),
    ],
)
def test_an_index_that_is_not_its_shards_is_named_in_training(record_set, tmp_path, tiny_model, column, message, where):
    for path in record_set.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    index = pd.read_csv(tmp_path / "train.index.csv", dtype=str, keep_default_na=False)
    if column == "target":
        index["target"] = index["target"].map({"0": "1", "1": "0"})
    else:
        index["image_name"] = "gone_" + index["image_name"]
    rewrite_index(tmp_path, "train", index)
    with pytest.raises(ValueError, match=message):
        run(tmp_path, tmp_path / "run", cache=where)


def test_a_run_killed_before_its_folds_were_joined_joins_them_the_next_time(record_set, tmp_path, tiny_model):
    run(record_set, tmp_path, epochs=2)
    (tmp_path / "oof.csv").unlink()
    run(record_set, tmp_path, epochs=2)
    assert (tmp_path / "oof.csv").read_text() == (tmp_path / "fold0" / "oof.csv").read_text()


def copy_of(record_set, directory):
    directory.mkdir()
    for path in record_set.iterdir():
        (directory / path.name).write_bytes(path.read_bytes())
    return directory


def test_several_sets_are_trained_on_and_the_log_says_how_often(record_set, tmp_path, tiny_model, index, capsys):
    # An extra set that holds all images of the first: those of the held-out fold must not be trained on.
    extra = copy_of(record_set, tmp_path / "extra")
    run(record_set, tmp_path / "run", extra_data_dir=str(extra), mix="extra=0.5", malignant_oversampling=2, epochs=2)
    kept, held_out = (index[index["fold"] != 0], index[index["fold"] == 0])
    malignant, benign = (int((kept["target"] == label).sum()) for label in (1, 0))
    lines = capsys.readouterr().out.splitlines()
    assert f"  left out: {len(held_out)} with the name of a held-out image" in lines
    assert f"  {record_set}: {2 * malignant} malignant of {malignant}, {benign} benign of {benign}" in lines
    assert f"  {extra}: {malignant} malignant of {malignant}, {round(benign / 2)} benign of {benign}" in lines
    assert any("shuffling 16 records at a time, at most 0 MB" in line for line in lines)
    assert set(pd.read_csv(tmp_path / "run" / "oof.csv")["image_name"]) == set(held_out["image_name"])


@pytest.mark.parametrize("where", ["memory", "directory"])
def test_a_cached_run_ends_like_one_that_decodes(record_set, tmp_path, tiny_model, where):
    plain = run(record_set, tmp_path / "plain", epochs=2)
    cached = run(
        record_set, tmp_path / "cached", epochs=2, cache=where if where == "memory" else str(tmp_path / "images")
    )
    assert np.allclose(plain, cached, atol=1e-6)


def test_a_corrupt_record_is_skipped_on_request_and_listed_after_every_epoch(record_set, tmp_path, tiny_model, capsys):
    directory = copy_of(record_set, tmp_path / "set")
    shard = sorted(directory.glob("train*.tfrec"))[-1]
    data = bytearray(shard.read_bytes())
    data[-40] ^= 255
    shard.write_bytes(data)
    run(directory, tmp_path / "run", on_corrupt="skip", epochs=2)
    out = capsys.readouterr().out
    assert out.count("; 1 corrupt records left out:\n") == 2
    assert out.count(f"  {shard}, record ") == 2
    assert "the checksum of its data is wrong" in out


def test_a_policy_that_does_not_exist_is_refused_before_any_file_is_written(record_set, tmp_path, tiny_model):
    with pytest.raises(ValueError, match="got 'winer'; did you mean winner"):
        run(record_set, tmp_path / "run", augment_policy="winer")
    assert not (tmp_path / "run").exists()


def test_a_cache_and_the_number_of_threads_may_change_when_a_run_is_resumed(record_set, tmp_path, tiny_model, capsys):
    run(record_set, tmp_path, epochs=2)
    run(record_set, tmp_path, epochs=2, cache="memory", threads=1)
    assert "fold0 is already trained" in capsys.readouterr().out
    with pytest.raises(ValueError, match="augment_policy was light, is deotte"):
        run(record_set, tmp_path, epochs=2, augment_policy="deotte")
    # What is damaged is not called another configuration.
    flags = tmp_path / "flags.txt"
    flags.write_text(flags.read_text().replace("--epochs=2", "--epochs=@"))
    with pytest.raises(errors.CorruptRecordError, match="flags.txt is damaged: expected epochs to be a whole number"):
        run(record_set, tmp_path, epochs=2)


def test_a_policy_file_that_changed_is_another_configuration(record_set, tmp_path, tiny_model):
    policy = tmp_path / "policy.json"
    policy.write_text('{"flip_x": {"p": 0.5}}')
    run(record_set, tmp_path / "run", epochs=2, augment_policy=str(policy))
    policy.write_text('{"flip_x": {"p": 0.4}}')
    with pytest.raises(ValueError, match="holds a run of another configuration .data_sha256 was"):
        run(record_set, tmp_path / "run", epochs=2, augment_policy=str(policy))


@pytest.fixture
def tiny_backbone(monkeypatch):
    """Training with the real head on a tiny backbone."""
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)


def test_diagnoses_and_metadata_are_trained_on_and_predicted_with(record_set, tmp_path, tiny_backbone, made_up, capsys):
    head = {
        "target": "diagnosis",
        "metadata": "age,sex,site",
        "pooling": "gem",
        "dropout_samples": 2,
        "hidden_units": 8,
    }
    run(record_set, tmp_path / "run", **head, epochs=2, loss="focal", tensorboard=True, profile="2:4")
    assert list((tmp_path / "run" / "fold0").glob("events.out.tfevents.*"))
    assert list((tmp_path / "run" / "fold0").glob("plugins/profile/*/*.xplane.pb"))
    # Predicted anew from the held-out records, the weights give the out-of-fold predictions: the same metadata.
    oof = pd.read_csv(tmp_path / "run" / "oof.csv").set_index("image_name")["prediction"]
    output = tmp_path / "again.csv"
    options = PREDICT | {"records": f"{record_set}/train*.tfrec"}
    predict_run.predict_files(
        predict_run.PredictFilesConfig(workdir=str(tmp_path / "run"), output=str(output), **options)
    )
    again = pd.read_csv(output).set_index("image_name")["prediction"]
    assert np.abs(again[oof.index] - oof).max() < 1e-5
    assert oof.std() > 0


def test_predictions_label_test_records_and_unlabeled_extra_ones(record_set, tmp_path, tiny_model, made_up, capsys):
    test = pd.read_csv(made_up / "test.csv")["image_name"]
    labels = pd.DataFrame({"image_name": [*test[:5], "elsewhere"], "prediction": [0.9, 0.2, 0.5, 0.7, 0.1, 0.3]})
    labels.to_csv(tmp_path / "pseudo.csv", index=False)
    options = {"pseudo_csv": str(tmp_path / "pseudo.csv"), "mix": "test=2", "epochs": 2, "loss": "auc"}
    run(record_set, tmp_path / "run", **options)
    # At 0.5 and above a label counts as malignant; twice, by the mix.
    assert f"  {record_set}/test: 6 malignant of 3, 4 benign of 2" in capsys.readouterr().out.splitlines()
    labels.assign(prediction=0.4).to_csv(tmp_path / "pseudo.csv", index=False)
    with pytest.raises(ValueError, match="holds a run of another configuration .data_sha256 was"):
        run(record_set, tmp_path / "run", **options)


def test_a_student_learns_the_labels_of_the_teacher_that_holds_out_the_same_fold(
    record_set, tmp_path, tiny_backbone, index, monkeypatch
):
    records = f"{record_set}/train*.tfrec"
    run(record_set, tmp_path / "teacher", fold="all", epochs=1)
    teacher = predict_run.predict(tmp_path / "teacher", records, PredictConfig(fold="0"))
    teacher.to_csv(tmp_path / "teacher.csv", index=False)
    held_out = teacher.set_index("image_name")["prediction"].loc[index.loc[index["fold"] == 0, "image_name"]]
    own = pd.read_csv(tmp_path / "teacher" / "fold0" / "oof.csv").set_index("image_name")["prediction"]
    np.testing.assert_allclose(held_out, own.loc[held_out.index], atol=1e-5)
    plans, plan_fold = [], mixture.plan_fold

    def keep_plan(*given, **options):
        plans.append(plan_fold(*given, **options))
        return plans[-1]

    monkeypatch.setattr(mixture, "plan_fold", keep_plan)
    options = {"pseudo_csv": str(tmp_path / "teacher.csv"), "pseudo_weight": 0.5, "epochs": 1}
    run(record_set, tmp_path / "student", **options)
    rows = plans[0].rows.set_index("image_name")
    assert set(index.loc[index["fold"] == 1, "image_name"]) == set(rows.index)
    predicted = teacher.set_index("image_name")["prediction"].loc[rows.index]
    np.testing.assert_allclose(rows["label"], (rows["target"] + predicted) / 2)
    # What is held out is judged by its labels themselves.
    found = pd.read_csv(tmp_path / "student" / "fold0" / "oof.csv").set_index("image_name")["target"]
    assert found.to_dict() == index.loc[index["fold"] == 0].set_index("image_name")["target"].to_dict()


def test_pseudo_labels_of_other_images_are_refused(record_set, tmp_path):
    (tmp_path / "pseudo.csv").write_text("image_name,prediction\nelsewhere,0.5\n")
    with pytest.raises(ValueError, match="names none of the .* images without a label in these sets"):
        run(record_set, tmp_path / "run", pseudo_csv=str(tmp_path / "pseudo.csv"))


def test_a_run_starts_from_another_of_the_same_folds_and_from_no_other(record_set, tmp_path, tiny_backbone, capsys):
    run(record_set, tmp_path / "first", epochs=2, precision="mixed_bfloat16", strategy="mirrored")
    changes = {"init_from": str(tmp_path / "first"), "epochs": 2, "image_size": 64, "learning_rate": 0.0}
    run(record_set, tmp_path / "tried", **changes, dry_run=True)
    with pytest.raises(ValueError, match="to be a run with a trained fold1"):
        run(record_set, tmp_path / "tried", fold="all", **changes, dry_run=True)
    run(record_set, tmp_path / "second", **changes, warmup_epochs=0.0)
    assert f"starting from {tmp_path}/first/fold0/{run_directory.BEST_WEIGHTS}" in capsys.readouterr().out
    kept = [
        classifiers.build_classifier(
            "efficientnet-lite0", 64, str(tmp_path / name / "fold0" / run_directory.BEST_WEIGHTS)
        ).get_weights()
        for name in ("first", "second")
    ]
    assert all(np.array_equal(*pair) for pair in zip(*kept, strict=True))
    # Fold 1 is among the training images of fold 0.
    with pytest.raises(
        ValueError, match="first/fold0 were trained on .* of the .* held-out images, their duplicates, their lesions or"
    ):
        run(record_set, tmp_path / "third", fold="1", **{**changes, "init_from": str(tmp_path / "first" / "fold0")})
    weights = str(tmp_path / "first" / "fold0" / run_directory.BEST_WEIGHTS)
    with pytest.raises(
        ValueError, match="first/fold0 were trained on .* of the .* held-out images, their duplicates, their lesions or"
    ):
        run(record_set, tmp_path / "third", fold="1", weights=weights)
    with pytest.raises(
        ValueError, match=r"to be a run with a trained fold1, got .*first; to start .* use .*first/fold0"
    ):
        run(record_set, tmp_path / "third", fold="1", **changes)
    # Each fold of a run, which has metrics of its own, starts from its own fold.
    run(record_set, tmp_path / "first", fold="1", epochs=2, precision="mixed_bfloat16", strategy="mirrored")
    assert (tmp_path / "first" / "metrics.json").exists()
    run(record_set, tmp_path / "second", fold="1", **changes, warmup_epochs=0.0)
    assert f"starting from {tmp_path}/first/fold1/{run_directory.BEST_WEIGHTS}" in capsys.readouterr().out


def test_several_steps_an_execution_end_like_one(record_set, tmp_path, tiny_model):
    one = run(record_set, tmp_path / "one", epochs=2)
    several = run(record_set, tmp_path / "several", epochs=2, steps_per_execution=4, save_steps=3)
    assert np.allclose(one, several, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "auc", "gradient_accumulation_steps": 2}, "expected --gradient_accumulation_steps=1 with --loss=auc"),
        ({"pseudo_csv": "p.csv", "target": "diagnosis"}, "expected --target=binary with --pseudo_csv"),
        (
            {"precision": "mixed_float16", "freeze_epochs": 1},
            "expected --backbone_lr_multiplier=1 and --freeze_epochs=0 with",
        ),
        (
            {"strategy": "mirrored", "sync_batch_norm": True, "gradient_accumulation_steps": 2},
            "expected --gradient_accumulation_steps=1 with --sync",
        ),
        ({"loss": "auc", "malignant_weight": 2.0}, "expected --malignant_weight=1 with --loss=auc"),
        (
            {"init_from": "a", "weights": "b.h5"},
            "--init_from and --weights=PATH are mutually exclusive, got a and b.h5",
        ),
        ({"fold": "full", "early_stop_patience": 2}, "expected --early_stop_patience=0 with --fold=full"),
        ({"metadata": "width"}, "--metadata=width is refused"),
        ({"profile": "9"}, "expected --profile=FIRST:LAST"),
        ({"tpu": "my-tpu"}, "expected --strategy=tpu or auto with --tpu=my-tpu, got default"),
        ({"weights": "nosuch.h5"}, "expected a weights file at nosuch.h5, which does not exist; --weights is none"),
    ],
)
def test_options_that_contradict_each_other_are_refused(record_set, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(record_set, tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_of_two_trainings_at_the_same_time_only_those_of_one_configuration_go_on(
    record_set, tmp_path, monkeypatch, tiny_model
):
    begun = []

    def train_beside(fold):
        """Trains a fold while other processes try to train in the run directory, before there is any epoch."""
        begun.append(fold.name)
        if len(begun) > 1:
            return
        flags = (tmp_path / "flags.txt").read_text()
        for number in ("0", "all"):
            with pytest.raises(errors.ConfigError, match=r"fold0 to be free, but process \d+ on .* is writing it"):
                loop.train(make_config(**options, fold=number))
        for changes in ({"seed": 2}, {"epochs": 4, "schedule": "deotte"}):
            with pytest.raises(errors.ConfigError, match="holds a run of another configuration"):
                loop.train(make_config(**{**options, **changes}, fold="1"))
        loop.train(make_config(**options, fold="1"))
        assert (tmp_path / "flags.txt").read_text() == flags

    monkeypatch.setattr(loop, "train_fold", train_beside)
    options = {"data_dir": str(record_set), "workdir": str(tmp_path), "schedule": "deotte"}
    loop.train(make_config(**options, fold="0"))
    assert begun == ["fold0", "fold1"]
    assert [path.name for path in tmp_path.iterdir()] == ["flags.txt"]
    # Nobody trains and nothing is trained: another configuration may begin.
    loop.train(make_config(**{**options, "seed": 2}, fold="1"))
    assert begun == ["fold0", "fold1", "fold1"]


def test_a_finished_run_grows_to_what_a_longer_one_is(record_set, tmp_path, tiny_model, capsys):
    # A run of one epoch with the default warm-up; the longer one has the warm-up that it began with.
    changes = {"schedule": "constant", "epochs": 1}
    run(record_set, tmp_path / "grown", **changes)
    directory = tmp_path / "grown" / "fold0"
    # What is lost meanwhile is in the checkpoint.
    (directory / "history.csv").unlink()
    (directory / "checkpoints" / "checkpoint").write_bytes(b"")
    grown = run(record_set, tmp_path / "grown", **{**changes, "epochs": 2})
    out = capsys.readouterr().out
    assert "grows from 1 to 2 epochs" in out
    assert "history.csv has 0 epochs, which are not the 1 of the checkpoint" in out
    longer = run(record_set, tmp_path / "longer", **{**changes, "epochs": 2, "warmup_epochs": 0.1})
    assert np.allclose(grown, longer, atol=1e-5)
    assert json.loads((directory / "metrics.json").read_text())["epochs"] == 2
    # Predictions that are lost are made again, and nothing is trained.
    (directory / "oof.csv").unlink()
    before = (directory / "best.weights.h5").read_bytes()
    assert run(record_set, tmp_path / "grown", **{**changes, "epochs": 2}).equals(grown)
    assert "oof.csv is missing; the fold is finished once more" in capsys.readouterr().out
    assert len(pd.read_csv(directory / "oof.csv")) == 60
    assert (directory / "best.weights.h5").read_bytes() == before


def test_a_full_disk_is_named_and_the_same_call_goes_on(record_set, tmp_path, tiny_model, monkeypatch):
    original = tf.train.CheckpointManager.save

    def save(manager, *arguments, **options):
        raise tf.errors.ResourceExhaustedError(
            None, None, "{{node Save}} /runs/ckpt-1_temp/part-0; No space left on device"
        )

    monkeypatch.setattr(tf.train.CheckpointManager, "save", save)
    message = (
        r"expected room for /runs/ckpt-1_temp/part-0, but the disk is full .* MB for each of .*run the same command"
    )
    with pytest.raises(ValueError, match=message):
        run(record_set, tmp_path, epochs=1)
    monkeypatch.setattr(tf.train.CheckpointManager, "save", original)
    assert len(run(record_set, tmp_path, epochs=1)) == 1


def test_what_a_network_is_built_from_is_found_before_images_are_decoded(record_set, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    path = tmp_path / "weights.pth"
    path.write_bytes(torch_bytes.old_file([], {}))
    wrong = [
        ({"weights": "noisy-student"}, "there are no noisy-student weights of efficientnet-lite0"),
        ({"backbone": "no_such_networks:build"}, "no_such_networks .* cannot be imported"),
        ({"backbone": "efficientnet-b0", "weights": str(path)}, "got a file of the kind pytorch; convert it by"),
    ]
    for changes, message in wrong:
        with pytest.raises(errors.ConfigError, match=message):
            run(record_set, tmp_path / "run", cache=str(tmp_path / "cache"), **changes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights.pth"]
