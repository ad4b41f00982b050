"""What the epochs of a linear probe run on, in place of images: batches of features, a step and a validation."""

import dataclasses
import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.augmentation import stateless_rng
from isic_tf.data import clinical_metadata, mixture, record_seeds, targets
from isic_tf.optim import ema
from isic_tf.training import distributed_input, train_step, validation
from isic_tf.training.linear_probe import feature_store, heads, replica_runs

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig
    from isic_tf.training.fold_setup import Fold

_LOG = logging.getLogger(__name__)

# Side of the images that stand in for those whose features are known.
_NO_SIZE = 32


class Probe(NamedTuple):
    """What the epochs of a linear probe run on.

    Attributes:
        batches: Iterator of distributed batches: features, float32 `[b, f]`; labels and seeds, see
            `distributed_input.make_batches`.
        step: See `train_step.make_train_step`; it changes the same state, of which it trains the head.
        validate: From a function that is called after each batch to the held-out rows with their predictions, see
            `validation.validate`.
    """

    batches: Iterator[Any]
    step: train_step.TrainStep
    validate: Callable[[Callable[[], None]], pd.DataFrame]


def open_probe(fold: "Fold", state: tf.train.Checkpoint, evaluated: tf.keras.Model, pause: Callable[[], None]) -> Probe:
    """Computes the features of a fold, as far as they are not there, and prepares the training of the head.

    Args:
        fold: See `fold_setup.Fold`; its `features`, if there are any, are added to.
        state: See `train_state.make_state`.
        evaluated: The classifier that is evaluated and kept, see `train_state.make_evaluated`.
        pause: Called after each batch of images.

    Returns:
        `Probe`.

    Raises:
        ConfigError: The features would not fit into memory.
    """
    config = fold.config
    num_records = 1 + int(pd.concat([fold.plan.rows["number"], fold.plan.held_out["number"]]).max())
    store = fold.features or feature_store.FeatureStore(num_records)
    count = store.compute(state.model, fold.plan, fold.strategy, config, fold.images, pause)
    size = feature_store.count_bytes(len(fold.plan.rows), store.width) / 1e6
    _LOG.info(
        f"  linear probe on {store.width} features of {len(fold.plan.rows)} images in {heads.VERSIONS} rotations and "
        f"flips, {size:.0f} MB ({count} computed now); these take the place of --augment_policy={config.augment_policy}"
    )
    start = int(state.step) * config.global_batch_size
    return Probe(
        make_batches(fold.strategy, fold.plan, store.read, store.width, config, start),
        make_step(fold.strategy, state, config),
        make_validation(evaluated, fold.plan.held_out, store, fold.strategy, config),
    )


def choose_versions(seeds: tf.Tensor) -> tf.Tensor:
    """Samples which rotation or flip of each record an epoch uses.

    Args:
        seeds: int64 `[b, 2]`, see `record_seeds.record_seed`.

    Returns:
        int64 `[b]`, 0 to 7, each equally likely; a function of the seed only.
    """
    return tf.cast(heads.VERSIONS * stateless_rng.uniform(seeds, 1)[:, 0], tf.int64)


def make_batches(
    strategy: tf.distribute.Strategy,
    plan: mixture.Plan,
    read: feature_store.FeatureReader,
    width: int,
    config: "TrainConfig",
    start: int,
) -> Iterator[Any]:
    """Creates the stream of training batches of features, in the order of that of images.

    Args:
        strategy: See `strategies.choose_strategy`.
        plan: See `mixture.plan_fold`.
        read: Reads features of its rows, see `feature_store.FeatureStore.read`.
        width: Features f of an image.
        config: The configuration of the run.
        start: Record of the stream to start at, from 0.

    Returns:
        See `Probe.batches`.
    """
    numbers = dict(zip(record_seeds.hash_keys(plan.rows).numpy(), plan.rows["number"], strict=True))

    def fetch(keys: np.ndarray, versions: np.ndarray) -> np.ndarray:
        return read(np.array([numbers[key] for key in keys]), versions)

    def convert(_: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, ...]:
        found = tf.numpy_function(fetch, [seeds[:, 1], choose_versions(seeds)], tf.float32)
        return tf.ensure_shape(found, [seeds.shape[0], width]), labels, seeds

    def read_nothing(rows: np.ndarray) -> np.ndarray:
        return np.zeros([len(rows), _NO_SIZE, _NO_SIZE, 3], np.uint8)

    own = dataclasses.replace(config, image_size=_NO_SIZE)
    return distributed_input.make_batches(strategy, plan, read_nothing, own, start, convert)


def make_step(
    strategy: tf.distribute.Strategy, state: tf.train.Checkpoint, config: "TrainConfig"
) -> train_step.TrainStep:
    """Creates the step that trains the head on features.

    Args:
        strategy: See `strategies.choose_strategy`.
        state: See `train_state.make_state`.
        config: The configuration of the run.

    Returns:
        See `train_step.make_train_step`.
    """
    head = heads.build_head(state.model)
    averages = {}
    if state.averages:
        pairs = zip(ema.averaged_weights(state.model), state.averages, strict=True)
        averages = {weight.ref(): average for weight, average in pairs}
    # The averages of frozen weights are the weights themselves.
    own_averages = [averages[weight.ref()] for weight in ema.averaged_weights(head)] if averages else []
    shared = ("optimizer", "others", "step", "loss", "gradient_norm", "bad_step")
    trained = tf.train.Checkpoint(model=head, averages=own_averages, **{name: getattr(state, name) for name in shared})
    # The head has no backbone that could be frozen.
    own = dataclasses.replace(config, freeze_epochs="0")
    return train_step.make_train_step(strategy, trained, own, augment=lambda features, labels, _: (features, labels))


def make_validation(
    evaluated: tf.keras.Model,
    held_out: pd.DataFrame,
    store: feature_store.FeatureStore,
    strategy: tf.distribute.Strategy,
    config: "TrainConfig",
) -> Callable[[Callable[[], None]], pd.DataFrame]:
    """Creates the function that predicts the held-out images from their features.

    Args:
        evaluated: See `train_state.make_evaluated`.
        held_out: Rows of the held-out images; may be empty.
        store: Their features.
        strategy: See `strategies.choose_strategy`.
        config: The configuration of the run.

    Returns:
        See `Probe.validate`.
    """
    head = heads.build_head(evaluated)
    classes = config.class_set
    known = [clinical_metadata.encode(held_out, config.metadata).astype(np.float32)] if config.metadata else []
    batch_size = config.global_batch_size

    def score(features: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
        logits = head([features, *others] if others else features, training=False)
        return targets.mean_scores([logits], classes)

    run = replica_runs.make_runner(strategy, score)

    def predict() -> Iterator[tuple[list[str], np.ndarray]]:
        for first in range(0, len(held_out), batch_size):
            rows = held_out.iloc[first : first + batch_size]
            parts = [store.read(rows["number"].to_numpy(), 0), *(part[first : first + batch_size] for part in known)]
            padded = [np.pad(part, [(0, batch_size - len(rows)), (0, 0)]) for part in parts]
            scores = run([tf.constant(part) for part in padded])[: len(rows)]
            yield rows["image_name"].tolist(), targets.settle(scores, classes)

    def validate(pause: Callable[[], None]) -> pd.DataFrame:
        if held_out.empty:
            return held_out.assign(prediction=[])
        return validation.collect_predictions(predict(), held_out, config, pause)

    return validate
