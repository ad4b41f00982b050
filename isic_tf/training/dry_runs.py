"""A dry run: all is built and a few steps are taken, to say what the whole would take."""

import itertools
import logging
import time

import psutil
import tensorflow as tf

from isic_tf.data import image_cache
from isic_tf.inference import patient_bag_predictor
from isic_tf.training import distributed_input, divergence, memory_estimate, train_state, train_step, validation

_LOG = logging.getLogger(__name__)

# Batches that may be ready before the input's time is taken, and those of which it is taken.
_READY, _TIMED = 8, 8


def rehearse(plan, rows, strategy, config, steps, folds):
    """Takes a few steps of a fold and prints what its training would take. Writes nothing, so no cache either.

    Args:
        plan: See `mixture.plan_fold`.
        rows: See `mixture.read_sets`.
        strategy: `tf.distribute.Strategy`.
        config: The configuration.
        steps: Steps of an epoch.
        folds: Number of folds that the command would train.

    Raises:
        ValueError: The training diverges at once, or the decoded images would not fit where `cache` wants them.
    """
    _LOG.info(plan.text)
    batch_size, cached = config.global_batch_size, config.cache != "none"
    decoded = image_cache.plan_images(rows, config.cache, config.image_size)[2] if cached else 0
    state = train_state.make_state(strategy, config, steps)
    trained = sum(weight.shape.num_elements() for weight in state.model.trainable_weights)
    _LOG.info(f"  {steps * batch_size} images an epoch in {steps} steps of {batch_size}")
    _LOG.info(f"  {state.model.count_params():,} parameters, {trained:,} of them in training")
    _LOG.info(
        f"  {memory_estimate.describe_memory(state, batch_size, strategy.num_replicas_in_sync, config.gradient_accumulation_steps)}"
    )
    batches = distributed_input.make_batches(strategy, plan, None, config, start=0)
    step, chunk = train_step.make_train_step(strategy, state, config), config.steps_per_execution
    building, execution = (_seconds(lambda: (step(batches, chunk), int(state.step))) for _ in range(2))
    divergence.refuse_divergence(state, plan, config, "the dry run", None)
    for _ in itertools.islice(batches, _READY):
        pass
    speeds = (
        batch_size * chunk / execution,
        batch_size * _TIMED / _seconds(lambda: [next(batches) for _ in range(_TIMED)]),
    )
    judging = _time_judging(strategy, state.model, plan.held_out, config)
    _LOG.info(f"  memory: {_describe_memory()}")
    _LOG.info(
        f"  steps {speeds[0]:.0f} images/s; this host can feed {speeds[1]:.0f} images/s at {config.image_size} px: "
        + _describe_bound(speeds, cached)
    )
    epoch = steps * batch_size / (speeds[0] if cached else min(speeds))
    # The kept weights are judged once more.
    fold, before = building + config.epochs * epoch + (config.epochs + 1) * judging, decoded / speeds[1]
    _LOG.info(
        f"  {config.epochs} epochs of {_duration(epoch)} and {_duration(judging)} of judging: "
        + f"{_duration(fold)} a fold"
        + (f"; {folds} folds: {_duration(folds * fold)}" if folds > 1 else "")
        + (f"; decoding {decoded} images before: {_duration(before)}" if decoded else "")
        + ". Nothing was written."
    )


def _describe_bound(speeds, cached):
    if cached:
        return "the input is decoded once, for the cache"
    return "input-bound: more cores or --cache would help" if speeds[1] < speeds[0] else "not input-bound"


def _seconds(function):
    started = time.monotonic()
    function()
    return time.monotonic() - started


def _time_judging(strategy, classifier, held_out, config):
    """Times the judging of some batches of held-out images; gives the seconds for all."""
    few = held_out.iloc[: _TIMED * config.global_batch_size]
    if few.empty:
        return 0.0
    predict = patient_bag_predictor.make_predictor(classifier, strategy, few)
    # The first builds the graph.
    validation.validate(predict, held_out.iloc[:1], config)
    return _seconds(lambda: validation.validate(predict, few, config)) * len(held_out) / len(few)


def _describe_memory():
    host = psutil.Process().memory_info().rss / 1e9
    # Those of this process, whatever a cluster calls them.
    devices = [device.name.removeprefix("/physical_device:") for device in tf.config.get_visible_devices("GPU")]
    peaks = [tf.config.experimental.get_memory_info(name)["peak"] / 1e9 for name in devices]
    return f"{host:.1f} GB of this process" + "".join(f", {peak:.1f} GB of a GPU at the peak" for peak in peaks)


def _duration(seconds):
    """Says a time in the two units that fit it."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
