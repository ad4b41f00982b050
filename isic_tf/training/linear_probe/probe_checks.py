"""Checks that the options of a run fit a linear probe."""

from typing import TYPE_CHECKING

from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

_POLICY = "the rotations and flips of the features take the place of the augmentation"
_FROZEN = "the backbone is frozen"
# Options that a linear probe needs at one value: their name, that value, and why.
_FIXED = (
    ("context", "none", "its head compares a patient's images, which are trained on one at a time"),
    ("augment_policy", "light", _POLICY),
    ("augment_strength", 1.0, _POLICY),
    ("gradient_accumulation_steps", 1, "a batch of features needs no splitting"),
    ("backbone_lr_multiplier", 1.0, _FROZEN),
    ("layer_decay", 1.0, _FROZEN),
    ("sync_batch_norm", False, "its batch statistics are fixed"),
    ("compile_for", "", "its step is not that of a training on images"),
)


def check_probe(config: "TrainConfig") -> None:
    """Checks that the options of a run fit a linear probe.

    Args:
        config: The configuration of a run with `--freeze_epochs=all`.

    Raises:
        ConfigError: An option does not apply to a linear probe.
    """
    for name, wanted, reason in _FIXED:
        value = getattr(config, name)
        if value != wanted:
            expected = f"--{name}={wanted}" if wanted != "" else f"no --{name}"
            raise errors.ConfigError(
                f"expected {expected} with --freeze_epochs=all, got {value}: {reason}; leave it out, or freeze the "
                "backbone for a number of epochs"
            )
