import dataclasses

import pytest
from harness import make_config

from isic_tf.artifacts import prediction_sidecar
from isic_tf.training import config_checks
from tfrecord_tools import errors


def refused(message):
    return pytest.raises(errors.ConfigError, match=message)


def test_options_that_fit_are_accepted():
    config_checks.check_options(make_config(), 1, on_tpu=False)
    config_checks.check_options(make_config(gradient_accumulation_steps=4), 2, on_tpu=False)
    config_checks.check_options(make_config(precision="mixed_float16", loss="auc", profile="1:2"), 1, on_tpu=False)
    # One replica has nothing to synchronize.
    config_checks.check_options(make_config(sync_batch_norm=True, gradient_accumulation_steps=2), 1, on_tpu=False)
    config_checks.check_options(make_config(context="set", bag_size=4), 2, on_tpu=False)


@pytest.mark.parametrize(
    ("replicas", "micro_batches", "bag_size", "factors", "suggestion"),
    [
        (2, 1, 1, "2 .2 replicas.", 14),
        (4, 1, 1, "4 .4 replicas.", 16),
        (2, 2, 1, "4 .2 replicas x 2 micro-batches.", 16),
        (1, 1, 8, "8 .1 replicas x bags of 8.", 16),
        (2, 4, 2, "16 .2 replicas x 4 micro-batches x bags of 2.", 16),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused_with_the_next_one_that_can(
    replicas, micro_batches, bag_size, factors, suggestion
):
    config = make_config(global_batch_size=13, gradient_accumulation_steps=micro_batches)
    with refused(f"divisible by {factors}, got 13; use --global_batch_size={suggestion}$"):
        config_checks._check_batch_size(config, replicas, bag_size)


def test_float16_on_a_tpu_is_refused():
    config_checks.check_options(make_config(precision="mixed_bfloat16", freeze_epochs=1), 8, on_tpu=True)
    with refused("expected --precision=mixed_bfloat16 or float32 on a TPU, got mixed_float16"):
        config_checks.check_options(make_config(precision="mixed_float16"), 8, on_tpu=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"precision": "mixed_float16", "backbone_lr_multiplier": 0.5},
            "--freeze_epochs=0 with --precision=mixed_float16, got 0.5 and 0; use --precision=mixed_bfloat16",
        ),
        (
            {"optimizer": "ranger", "layer_decay": 0.9},
            "expected --layer_decay=1 with --optimizer=ranger, .* got 0.9; use --optimizer=radam",
        ),
        (
            {"loss": "auc", "gradient_accumulation_steps": 2},
            "expected --gradient_accumulation_steps=1 with --loss=auc, which compares all images of a batch, got 2",
        ),
        ({"loss": "auc", "malignant_weight": 3.0}, "expected --malignant_weight=1 with --loss=auc, .* got 3.0; use 1"),
        (
            {"pseudo_csv": "p.csv", "target": "diagnosis"},
            "expected --target=binary with --pseudo_csv, .* got diagnosis",
        ),
        ({"pseudo_weight": 0.5}, "expected --pseudo_csv with --pseudo_weight=0.5, got none; add the predictions"),
        (
            {"init_from": "runs/a", "weights": "b.h5"},
            "--init_from and --weights=PATH are mutually exclusive, got runs/a",
        ),
        (
            {"fold": "full", "early_stop_patience": 3},
            "expected --early_stop_patience=0 with --fold=full, .* got 3; limit",
        ),
        ({"metadata": "width"}, "--metadata=width"),
        ({"augment_policy": "winer"}, "got 'winer'; did you mean winner"),
        ({"profile": "20:10"}, "expected --profile=FIRST:LAST"),
        (
            {"context": "set", "bag_size": 3},
            "divisible by 3 .1 replicas x bags of 3., got 8; use --global_batch_size=9",
        ),
        (
            {"context": "set", "augment_policy": "strong"},
            "without .*mixup with --context=set, got strong: a mix of two",
        ),
        (
            {"context": "set", "malignant_oversampling": 2},
            "with --context=set, got 2 and 0.0: .* use --malignant_weight",
        ),
        ({"context": "set", "balance": 0.5}, "with --context=set, got 1 and 0.5: .* use --malignant_weight"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes, message):
    with refused(message):
        config_checks.check_options(make_config(**changes), 1, on_tpu=False)


def test_batch_norm_is_not_synchronized_in_micro_batches():
    config = make_config(sync_batch_norm=True, gradient_accumulation_steps=2)
    with refused(
        "expected --gradient_accumulation_steps=1 with --sync_batch_norm on several replicas, got 2; leave out"
    ):
        config_checks.check_options(config, 2, on_tpu=False)


def test_the_steps_of_a_profile():
    assert config_checks.parse_profile("10:20") == (10, 20)
    assert config_checks.parse_profile("") is None


@pytest.mark.parametrize("text", ["10", "20:10", "0:5", "a:b", "5:5"])
def test_profiles_without_steps_are_refused(text):
    with pytest.raises(
        ValueError, match=f"expected --profile=FIRST:LAST, steps counted from 1 such as 10:20, got '{text}'"
    ):
        config_checks.parse_profile(text)


def test_a_teacher_that_knows_the_held_out_labels_is_refused(tmp_path, caplog):
    path = str(tmp_path / "teacher.csv")
    config = make_config(pseudo_csv=path, pseudo_weight=0.5, fold="1")
    with pytest.raises(
        errors.LeakageError, match="expected the number of one fold as --fold with --pseudo_weight, got"
    ):
        config_checks.check_options(dataclasses.replace(config, fold="all"), 1, False)
    config_checks.check_options(config, 1, False)
    assert "teacher.csv does not say which networks it is of" in caplog.text
    caplog.clear()
    for found in ({"fold": "0"}, {"folds": 2}):
        prediction_sidecar.write_sidecar(path, patient_context=False, made_by="isic_tf.predict", **found)
        with pytest.raises(
            errors.LeakageError, match="expected predictions of fold 1 alone as --pseudo_csv .* of (0|all), with"
        ):
            config_checks.check_options(config, 1, False)
        config_checks.check_options(dataclasses.replace(config, fold="full", keep_weights="last"), 1, False)
    prediction_sidecar.write_sidecar(path, patient_context=False, made_by="isic_tf.predict", folds=1, fold="1")
    config_checks.check_options(config, 1, False)
    assert not caplog.text
