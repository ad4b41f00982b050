"""Learning-rate schedules."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.optim.config import OptimizerConfig

# Deotte's notebook starts at 5e-6, rises to 3.2e-4 and falls towards 1e-6 by a factor of 0.8 per epoch.
_DEOTTE_START = 1 / 64
_DEOTTE_END = 1 / 320
_DEOTTE_DECAY = 0.8

# From the step, float32 `[]`, to the learning rate, float32 `[]`.
_RateAt = Callable[[tf.Tensor], tf.Tensor]


class _Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """The Keras interface of a function from the step to the learning rate."""

    def __init__(self, rate_at: _RateAt) -> None:
        self.rate_at = rate_at

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        return self.rate_at(tf.cast(step, tf.float32))

    def get_config(self) -> dict[str, Any]:
        raise NotImplementedError("a schedule is not serialized; create it from the config of its run")


def make_schedule(
    config: "OptimizerConfig", steps: int, factor: float = 1.0, first: int = 0
) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """Creates a learning-rate schedule.

    `cosine`: linear warm-up from 0 in `warmup_epochs` (Goyal et al. 2017), then a cosine to 0 at the end of the run
    (Loshchilov and Hutter, ICLR 2017). `constant`: the same warm-up, then constant. `deotte`: constant within each
    epoch; linear from 1/64 of the peak in `warmup_epochs`, at the peak for `hold_epochs`, then multiplied by 0.8 per
    epoch towards 1/320 (the notebook "Triple Stratified KFold with TFRecords", there with 5 and 0 epochs).

    Args:
        config: Configuration with `schedule`, `learning_rate` (the peak), `warmup_epochs`, `hold_epochs` and `epochs`.
        steps: Steps per epoch.
        factor: Factor on the learning rate.
        first: Step of the run that is step 0 of this schedule; from there it warms up again, and follows the rate of
            the run.

    Returns:
        Keras schedule, a function from the step (integer `[]`) to the learning rate (float32 `[]`).

    Raises:
        ConfigError: The warm-up is as long as the run or longer.

    Examples:
        >>> from isic_tf.optim import OptimizerConfig
        >>> config = OptimizerConfig(schedule="cosine", learning_rate=0.4, epochs=3, warmup_epochs=1.0)
        >>> schedule = make_schedule(config, steps=10)
        >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 20, 30)]
        [0.0, 0.2, 0.4, 0.2, 0.0]
    """
    peak = factor * config.learning_rate
    total = config.epochs * steps
    # No more than the run has, so that the product is a finite number.
    warmup = round(min(config.warmup_epochs, config.epochs) * steps)
    if warmup >= total:
        raise errors.ConfigError(
            f"expected a warm-up shorter than the run's {total} steps, got {warmup}; lower --warmup_epochs or raise "
            "--epochs"
        )

    def cosine(step: tf.Tensor) -> tf.Tensor:
        done = tf.minimum((step - warmup) / (total - warmup), 1.0)
        return tf.where(step < warmup, peak * step / max(warmup, 1), peak * (1 + tf.cos(math.pi * done)) / 2)

    def constant(step: tf.Tensor) -> tf.Tensor:
        return tf.where(step < warmup, peak * step / max(warmup, 1), peak)

    def deotte(step: tf.Tensor) -> tf.Tensor:
        epoch = tf.floor(step / steps)
        ramp = config.warmup_epochs
        rising = _DEOTTE_START + (1 - _DEOTTE_START) * epoch / max(ramp, 1.0)
        since = tf.maximum(epoch - math.ceil(ramp) - config.hold_epochs, 0.0)
        return peak * tf.where(epoch < ramp, rising, _DEOTTE_END + (1 - _DEOTTE_END) * _DEOTTE_DECAY**since)

    def late(step: tf.Tensor) -> tf.Tensor:
        return rate_at(step + first) * (tf.minimum(step / warmup, 1.0) if warmup else 1.0)

    rate_at = {"cosine": cosine, "deotte": deotte, "constant": constant}[config.schedule]
    return _Schedule(late if first else rate_at)
