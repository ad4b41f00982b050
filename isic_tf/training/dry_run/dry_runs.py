"""Dry run: builds everything and takes a few steps, to estimate the time and memory of training."""

import functools
import itertools
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
import psutil
import tensorflow as tf

from isic_tf.data import image_cache, mixture
from isic_tf.inference import fit_fold_detector, patient_bag_predictor
from isic_tf.training import (
    distributed_input,
    divergence,
    fold_setup,
    memory_estimate,
    train_state,
    train_step,
    validation,
    warm_start,
)
from isic_tf.training.dry_run import training_estimate
from isic_tf.training.linear_probe import heads, probe_times

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

_LOG = logging.getLogger(__name__)

# Batches that the input may have ready before its time is taken, and batches whose time is taken.
_READY_BATCHES = 8
_TIMED_BATCHES = 8


def estimate_training(
    plan: mixture.Plan, rows: pd.DataFrame, strategy: tf.distribute.Strategy, config: "TrainConfig", folds: int
) -> training_estimate.TrainingEstimate:
    """Takes a few steps of a fold, and logs what its training would take. Writes nothing, so it does not fill a cache.

    Args:
        plan: Plan of the fold, see `mixture.plan_fold`.
        rows: See `mixture.read_sets`.
        strategy: See `strategies.choose_strategy`.
        config: The configuration of the run.
        folds: Number of folds that the command would train.

    Returns:
        `TrainingEstimate`.

    Raises:
        DivergenceError: The training diverges in the first steps.
        ConfigError: The decoded images would not fit where `cache` wants them.
    """
    _LOG.info(plan.text)
    batch_size = config.global_batch_size
    steps = fold_setup.count_steps(plan, config)
    is_cached = config.cache != "none"
    # Before the model is built: a cache that does not fit is an error.
    num_missing = image_cache.plan_images(rows, config.cache, config.image_size)[2] if is_cached else 0

    start = functools.partial(warm_start.start_weights, source=None, config=config, rows=plan.rows)
    state = train_state.make_state(strategy, config, steps, start)
    trainable = sum(weight.shape.num_elements() for weight in state.model.trainable_weights)
    device_memory, memory_text = _estimate_memory(state, strategy, config)
    _LOG.info(f"  {steps * batch_size} images per epoch in {steps} steps of {batch_size}")
    _LOG.info(f"  {state.model.count_params():,} parameters, {trainable:,} of them trainable")
    _LOG.info(f"  {memory_text}")

    if config.is_probe:
        times = _measure_probe(plan, strategy, state, config, folds, len(rows))
    else:
        times = _measure_training(plan, strategy, state, config)
    speeds = [times["step_speed"], times["input_speed"]]
    speed = speeds[0] if is_cached or config.is_probe else min(speeds)
    estimate = training_estimate.TrainingEstimate(
        images_per_epoch=steps * batch_size,
        steps_per_epoch=steps,
        epochs=config.epochs,
        folds=folds,
        parameters=state.model.count_params(),
        trainable_parameters=trainable,
        device_memory=device_memory,
        epoch_seconds=steps * batch_size / speed,
        decoding_seconds=num_missing / times["input_speed"],
        **times,
    )
    _LOG.info(f"  memory: {_describe_memory()}")
    _LOG.info(f"  {training_estimate.describe_speed(estimate, config.image_size, is_cached)}")
    _LOG.info(f"  {training_estimate.describe_time(estimate, num_missing)}")
    return estimate


def _estimate_memory(
    state: tf.train.Checkpoint, strategy: tf.distribute.Strategy, config: "TrainConfig"
) -> tuple[int, str]:
    """Returns the bytes that a step needs on each device, and the estimate as one line."""
    replicas = strategy.num_replicas_in_sync
    if config.is_probe:
        return memory_estimate.describe_probe(state, config.global_batch_size // replicas, replicas)
    memory = memory_estimate.estimate_memory(
        state, config.global_batch_size, replicas, config.gradient_accumulation_steps, config.layer_decay
    )
    on_tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    return memory.tpu_bytes if on_tpu else memory.device_bytes, memory.describe()


def _measure_probe(
    plan: mixture.Plan,
    strategy: tf.distribute.Strategy,
    state: tf.train.Checkpoint,
    config: "TrainConfig",
    folds: int,
    num_records: int,
) -> dict[str, float]:
    """Measures fields of `TrainingEstimate` for a linear probe; the head's evaluation takes next to no time."""
    building_seconds, feature_speed, input_speed, step_speed = probe_times.measure_times(plan, strategy, state, config)
    count = probe_times.count_features(plan, folds, num_records, is_shared=not config.init_from)
    return {
        "building_seconds": building_seconds,
        "step_speed": step_speed,
        "input_speed": input_speed,
        "evaluation_seconds": 0.0,
        # A fast device waits for the images, each of which the detector sees once, and the probe in all versions.
        "detector_seconds": _count_detector_images(plan) / min(feature_speed, input_speed),
        "feature_seconds": count / min(feature_speed, input_speed * heads.VERSIONS),
    }


def _measure_training(
    plan: mixture.Plan, strategy: tf.distribute.Strategy, state: tf.train.Checkpoint, config: "TrainConfig"
) -> dict[str, float]:
    """Measures fields of `TrainingEstimate` for a training on images."""
    building_seconds, step_speed, input_speed = _measure_speed(plan, strategy, state, config)
    evaluation_seconds = _time_evaluation(strategy, state.model, plan.held_out, config)
    return {
        "building_seconds": building_seconds,
        "step_speed": step_speed,
        "input_speed": input_speed,
        "evaluation_seconds": evaluation_seconds,
        "detector_seconds": evaluation_seconds * _count_detector_images(plan) / max(len(plan.held_out), 1),
    }


def _count_detector_images(plan: mixture.Plan) -> int:
    return fit_fold_detector.count_images(plan.rows["image_name"].nunique(), len(plan.held_out))


def _measure_speed(
    plan: mixture.Plan, strategy: tf.distribute.Strategy, state: tf.train.Checkpoint, config: "TrainConfig"
) -> tuple[float, float, float]:
    """Returns the seconds until the step is compiled, and the images per second of the step and of the input."""
    batch_size = config.global_batch_size
    chunk = config.steps_per_execution
    batches = distributed_input.make_batches(strategy, plan, None, config, start=0)
    step = train_step.make_train_step(strategy, state, config)
    # Reading the number of the step waits for the device. The first call compiles the step.
    building_seconds = _seconds(lambda: (step(batches, chunk), int(state.step)))
    execution_seconds = _seconds(lambda: (step(batches, chunk), int(state.step)))
    divergence.check_divergence(state, plan, config, "the dry run", None)
    for _ in itertools.islice(batches, _READY_BATCHES):
        pass
    input_seconds = _seconds(lambda: [next(batches) for _ in range(_TIMED_BATCHES)])
    return building_seconds, batch_size * chunk / execution_seconds, batch_size * _TIMED_BATCHES / input_seconds


def _seconds(function: Callable[[], object]) -> float:
    started = time.monotonic()
    function()
    return time.monotonic() - started


def _time_evaluation(
    strategy: tf.distribute.Strategy, classifier: tf.keras.Model, held_out: pd.DataFrame, config: "TrainConfig"
) -> float:
    """Times the evaluation of some batches of held-out images; returns the seconds for all held-out images."""
    few = held_out.iloc[: _TIMED_BATCHES * config.global_batch_size]
    if few.empty:
        return 0.0
    predict = patient_bag_predictor.make_predictor(classifier, strategy, few, config.class_set)
    # The first call builds the graph.
    validation.validate(predict, held_out.iloc[:1], config)
    return _seconds(lambda: validation.validate(predict, few, config)) * len(held_out) / len(few)


def _describe_memory() -> str:
    host = psutil.Process().memory_info().rss / 1e9
    # The devices of this process, whatever a cluster calls them.
    devices = [device.name.removeprefix("/physical_device:") for device in tf.config.get_visible_devices("GPU")]
    peaks = [tf.config.experimental.get_memory_info(name)["peak"] / 1e9 for name in devices]
    return ", ".join([f"{host:.1f} GB of this process", *(f"peak of a GPU {peak:.1f} GB" for peak in peaks)])
