import pytest
from harness import make_config

from isic_tf.training import config_checks
from isic_tf.training.linear_probe import probe_checks
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "set"}, "expected --context=none with --freeze_epochs=all, got set: its head compares"),
        ({"augment_policy": "deotte"}, "expected --augment_policy=light with --freeze_epochs=all, got deotte: the rot"),
        ({"augment_strength": 0.5}, "expected --augment_strength=1.0 with --freeze_epochs=all, got 0.5: the rotations"),
        ({"gradient_accumulation_steps": 2}, "expected --gradient_accumulation_steps=1 with .*, got 2: a batch"),
        ({"backbone_lr_multiplier": 0.1}, "expected --backbone_lr_multiplier=1.0 with .*, got 0.1: the backbone is fr"),
        ({"layer_decay": 0.9}, "expected --layer_decay=1.0 with --freeze_epochs=all, got 0.9: the backbone is frozen"),
        ({"sync_batch_norm": True}, "expected --sync_batch_norm=False with .*, got True: its batch statistics are fi"),
        (
            {"compile_for": "v5e:1x1"},
            "expected no --compile_for with --freeze_epochs=all, got v5e:1x1: its step is",
        ),
    ],
)
def test_an_option_that_does_not_apply_is_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        config_checks.check_options(make_config(freeze_epochs="all", **changes), replicas=1, on_tpu=False)


def test_what_a_probe_can_do_is_accepted():
    options = {"metadata": "age", "hidden_units": 8, "ema": 0.9, "precision": "mixed_float16", "loss": "focal"}
    probe_checks.check_probe(make_config(freeze_epochs="all", **options))
    config_checks.check_options(make_config(freeze_epochs="all", **options), replicas=2, on_tpu=False)
