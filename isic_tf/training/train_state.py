"""Creates all state that a checkpoint holds."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from isic_tf.models import classifiers
from isic_tf.optim import ema, lr_schedules, optimizers
from isic_tf.training.linear_probe import heads

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig


def make_state(
    strategy: tf.distribute.Strategy,
    config: "TrainConfig",
    steps: int,
    start: Callable[[tf.keras.Model], object] | None = None,
) -> tf.train.Checkpoint:
    """Creates all state that a checkpoint holds.

    Args:
        strategy: See `strategies.choose_strategy`.
        config: The configuration of the run.
        steps: Steps per epoch.
        start: Called with the new classifier before its averages are started, to set its weights; None for none.

    Returns:
        `tf.train.Checkpoint` with

        - `model`: the classifier;
        - `optimizer`, and in `others` the optimizer of the backbone if that has its own learning rate or is frozen at
          the start;
        - `averages`: moving averages of the weights, in the order of `ema.averaged_weights`; empty without `ema`;
        - `dropout`: the random states of dropout layers;
        - `epoch`: epochs done; `step`: steps done in all epochs, which is also the position in the data;
        - `loss` and `gradient_norm`: sums over the steps of an unfinished epoch;
        - `bad_step`: the first step that diverged; -1 for none;
        - `best_auc`: the best ROC AUC so far; -1 for none;
        - `history`: JSON of the history of the epochs done, see `fold_progress.restore_history`; "" for none.
    """
    with strategy.scope():
        classifier = _build(config)
        if start:
            start(classifier)
        if config.is_probe:
            heads.freeze_features(classifier)
        groups = classifiers.group_variables(classifier, apart=config.trains_backbone_apart)
        schedule = lr_schedules.make_schedule(config, steps)
        # The schedule of a frozen backbone begins when it is unfrozen: Adam's moments, still zero, would count as
        # converged otherwise.
        backbone_schedule = lr_schedules.make_schedule(
            config, steps, factor=config.backbone_lr_multiplier, first=config.num_frozen_epochs * steps
        )
        # The second schedule is used only where there are two groups.
        optimizer, *others = [
            _build_optimizer(config, own_schedule, variables)
            for own_schedule, variables in zip((schedule, backbone_schedule), groups, strict=False)
        ]
        averaged = ema.averaged_weights(classifier) if config.ema else []
        averages = [ema.start_average(weight) for weight in averaged]
    with tf.device("CPU:0"):
        history = tf.Variable("", dtype=tf.string)
    return tf.train.Checkpoint(
        model=classifier,
        optimizer=optimizer,
        others=others,
        averages=averages,
        dropout=_dropout_states(classifier),
        epoch=tf.Variable(0, dtype=tf.int64),
        step=tf.Variable(0, dtype=tf.int64),
        loss=tf.Variable(0.0),
        gradient_norm=tf.Variable(0.0),
        bad_step=tf.Variable(-1, dtype=tf.int64),
        best_auc=tf.Variable(-1.0, dtype=tf.float64),
        history=history,
    )


def _build_optimizer(
    config: "TrainConfig",
    schedule: tf.keras.optimizers.schedules.LearningRateSchedule,
    variables: Sequence[tf.Variable],
) -> tf.keras.optimizers.Optimizer:
    optimizer = optimizers.make_optimizer(config, schedule)
    optimizers.create_variables(optimizer, variables)
    return optimizer


def _build(config: "TrainConfig") -> tf.keras.Model:
    """Builds the classifier under the precision of the config; called in the scope of the strategy."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(config.precision)
    try:
        # With one replica there is nothing to synchronize, and the layer would lose its fused implementation.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        options = {**config.head_options(), "sync_batch_norm": config.sync_batch_norm and replicas > 1}
        return classifiers.build_classifier(config.backbone, config.image_size, config.weights, **options)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def make_evaluated(
    strategy: tf.distribute.Strategy, state: tf.train.Checkpoint, config: "TrainConfig"
) -> tf.keras.Model:
    """Creates the classifier that is evaluated and kept: one for the averaged weights, or the one in training.

    Args:
        strategy: See `strategies.choose_strategy`.
        state: See `make_state`.
        config: The configuration of the run.

    Returns:
        A new classifier with random weights if the state has averages, to be set by `ema.copy_averages`; else
        `state.model`.
    """
    if not state.averages:
        return state.model
    with strategy.scope():
        return _build(dataclasses.replace(config, weights="none"))


def _dropout_states(network: tf.keras.Model) -> list[Any]:
    """Lists the random states of the dropout layers of a network, which Keras leaves out of checkpoints."""
    layers = [layer for layer in network.submodules if isinstance(layer, tf.keras.layers.Dropout)]
    return [layer._random_generator._generator for layer in layers]
