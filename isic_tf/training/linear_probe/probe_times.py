"""Measures what a linear probe takes, for a dry run."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import input_pipeline, mixture
from isic_tf.training.linear_probe import feature_store, heads, probing, replica_runs

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

# Batches of images whose time is taken, after one that compiles.
_TIMED_BATCHES = 2


class ProbeTimes(NamedTuple):
    """What a linear probe takes on this machine.

    Attributes:
        building_seconds: Time until the programs are compiled.
        feature_speed: Features per second that the backbone computes, one rotation or flip of an image each.
        input_speed: Images per second that the input pipeline decodes.
        step_speed: Features per second that the head is trained on.
    """

    building_seconds: float
    feature_speed: float
    input_speed: float
    step_speed: float


def measure_times(
    plan: mixture.Plan, strategy: tf.distribute.Strategy, state: tf.train.Checkpoint, config: "TrainConfig"
) -> ProbeTimes:
    """Computes the features of a few batches of images, and trains the head on features of zeros.

    Args:
        plan: Plan of the fold, see `mixture.plan_fold`.
        strategy: See `strategies.choose_strategy`.
        state: See `train_state.make_state`; its head is changed.
        config: The configuration of the run.

    Returns:
        `ProbeTimes`.

    Raises:
        ConfigError: The features of all images would not fit into memory.
    """
    width = heads.build_extractor(state.model).output_shape[-1]
    feature_store.check_room(len(plan.rows) + len(plan.held_out), width)
    rows = input_pipeline.in_file_order(plan.rows).iloc[: (1 + _TIMED_BATCHES) * config.global_batch_size]
    batches: list[tf.Tensor] = []
    input_seconds = _seconds(lambda: batches.extend(_read_images(rows, config)))
    extract = replica_runs.make_runner(strategy, feature_store.make_extract(state.model))
    building_seconds = _seconds(lambda: extract((batches[0],), tf.constant(0)))
    timed = [(batch, number) for number, batch in enumerate([batches[-1]] * _TIMED_BATCHES)]
    feature_seconds = _seconds(lambda: [extract((batch,), tf.constant(number)) for batch, number in timed])
    train_seconds, step_seconds = _time_head(plan, strategy, state, config, width)
    return ProbeTimes(
        building_seconds=building_seconds + train_seconds,
        feature_speed=_TIMED_BATCHES * config.global_batch_size / feature_seconds,
        input_speed=len(rows) / input_seconds,
        step_speed=config.global_batch_size * config.steps_per_execution / step_seconds,
    )


def _read_images(rows: pd.DataFrame, config: "TrainConfig") -> list[tf.Tensor]:
    dataset = input_pipeline.make_eval_dataset(
        rows, image_size=config.image_size, batch_size=config.global_batch_size, threads=config.threads
    )
    return [images for images, _ in dataset]


def _time_head(
    plan: mixture.Plan,
    strategy: tf.distribute.Strategy,
    state: tf.train.Checkpoint,
    config: "TrainConfig",
    width: int,
) -> tuple[float, float]:
    """Returns the seconds of the first call of the step of the head, which compiles it, and of the second."""

    def read(numbers: np.ndarray, versions: np.ndarray) -> np.ndarray:
        return np.zeros([len(numbers), width], np.float32)

    batches = probing.make_batches(strategy, plan, read, width, config, start=0)
    step = probing.make_step(strategy, state, config)
    # Reading the number of the step waits for the device.
    first, second = (_seconds(lambda: (step(batches, config.steps_per_execution), int(state.step))) for _ in range(2))
    return first, second


def count_features(plan: mixture.Plan, folds: int, num_records: int, is_shared: bool) -> int:
    """Counts how often the backbone is applied in a run: to each image and version, and again to held-out images.

    Args:
        plan: Plan of a fold.
        folds: Folds that are trained.
        num_records: Records of the run.
        is_shared: Whether the folds start from the same weights, and so share the features.

    Returns:
        Number of features.

    Examples:
        >>> rows = pd.DataFrame({"group": [0, 0, 0, 0, 0]})
        >>> plan = mixture.Plan(rows[:4], np.array([4]), rows[4:], "fold0")
        >>> count_features(plan, 1, 5, True), count_features(plan, 5, 5, True), count_features(plan, 5, 5, False)
        (34, 45, 170)
    """
    once = heads.VERSIONS * len(plan.rows) + len(plan.held_out)
    of_run = heads.VERSIONS * num_records
    computed = min(folds * once, of_run) if is_shared else folds * once
    # The weights that are kept are evaluated on the images.
    return computed + folds * len(plan.held_out)


def _seconds(function: Callable[[], object]) -> float:
    started = time.monotonic()
    function()
    return time.monotonic() - started
