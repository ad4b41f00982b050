"""Learning-rate schedules."""

import math

import tensorflow as tf

from tfrecord_tools import errors

SCHEDULES = ("cosine", "deotte", "constant")
# Deotte's notebook starts at 5e-6, rises to 3.2e-4 and falls towards 1e-6 by 0.8 an epoch.
_DEOTTE_START, _DEOTTE_END, _DEOTTE_DECAY = 1 / 64, 1 / 320, 0.8


class _Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """What optimizers ask of a function from the step, float32 `[]`, to the learning rate."""

    def __init__(self, rate_at):
        self.rate_at = rate_at

    def __call__(self, step):
        return self.rate_at(tf.cast(step, tf.float32))

    def get_config(self):
        raise NotImplementedError("a run's schedule is made from its flags")


def make_schedule(config, steps, factor=1.0, first=0):
    """Creates the learning rate's schedule.

    `cosine`: linear from 0 in `warmup_epochs` (Goyal et al. 2017), then a cosine to 0 at the run's end (Loshchilov and
    Hutter, ICLR 2017). `constant`: the same warm-up, then no change. `deotte`: by whole epochs, linear from 1/64 in
    `warmup_epochs`, as it is for `hold_epochs`, then 0.8 times an epoch towards 1/320 (the notebook "Triple Stratified
    KFold with TFRecords", there with 5 and 0 epochs).

    Args:
        config: The configuration: `schedule`, `learning_rate`, `warmup_epochs`, `hold_epochs` and `epochs`.
        steps: Steps of an epoch.
        factor: Factor on the whole.
        first: Step of the run at which the schedule is asked for its step 0; from there on it warms up anew.

    Returns:
        Keras schedule, from the step to the learning rate, float32 `[]`.

    Raises:
        IsicError: The warm-up leaves no step of the run.
    """
    peak, total = factor * config.learning_rate, config.epochs * steps
    warmup = round(config.warmup_epochs * steps)
    if warmup >= total:
        raise errors.IsicError(
            f"expected a warm-up shorter than the run's {total} steps, got {warmup}; lower --warmup_epochs or raise "
            "--epochs"
        )

    def cosine(step):
        done = tf.minimum((step - warmup) / (total - warmup), 1.0)
        return tf.where(step < warmup, peak * step / max(warmup, 1), peak * (1 + tf.cos(math.pi * done)) / 2)

    def constant(step):
        return tf.where(step < warmup, peak * step / max(warmup, 1), peak)

    def deotte(step):
        epoch, ramp = tf.floor(step / steps), config.warmup_epochs
        rising = _DEOTTE_START + (1 - _DEOTTE_START) * epoch / max(ramp, 1.0)
        since = tf.maximum(epoch - math.ceil(ramp) - config.hold_epochs, 0.0)
        return peak * tf.where(epoch < ramp, rising, _DEOTTE_END + (1 - _DEOTTE_END) * _DEOTTE_DECAY**since)

    rate_at = {"cosine": cosine, "deotte": deotte, "constant": constant}[config.schedule]
    if not first:
        return _Schedule(rate_at)
    return _Schedule(lambda step: rate_at(step + first) * (tf.minimum(step / warmup, 1.0) if warmup else 1.0))
