"""Creates all state that a checkpoint holds."""

import dataclasses

import tensorflow as tf

from isic_tf.models import classifiers
from isic_tf.optim import lr_schedules, optimizers
from isic_tf.training import ema


def make_state(strategy, config, steps, start=None):
    """Creates all that a checkpoint holds.

    `model`; `optimizer`, and in `others` that of the backbone where it has a rate or a start of its own; `averages` of
    weights, if any; `dropout` (its random states); `epoch` (those done); `step` (those done in all epochs, so the place
    in the data too); `loss` and `gradient_norm` (sums over the steps of an unfinished epoch); `bad_step` (the first
    that diverged; -1 for none); and `best_auc`.

    Args:
        strategy: `tf.distribute.Strategy`.
        config: The configuration.
        steps: Steps of an epoch.
        start: Function to call with the new classifier, before the averages begin; or None.

    Returns:
        `tf.train.Checkpoint`.
    """
    with strategy.scope():
        classifier = _build(config)
        if start:
            start(classifier)
        groups = classifiers.group_variables(
            classifier, apart=config.backbone_lr_multiplier != 1 or config.freeze_epochs > 0
        )
        # A frozen backbone's begins when it is let go: Adam's means would be taken for settled ones otherwise.
        late = {"factor": config.backbone_lr_multiplier, "first": config.freeze_epochs * steps}
        schedules = [lr_schedules.make_schedule(config, steps, **options) for options in ({}, late)]
        optimizer, *others = [_build_optimizer(config, *one) for one in zip(schedules, groups, strict=False)]
        averages = [ema.start_average(weight) for weight in ema.averaged_weights(classifier) if config.ema]
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
    )


def _build_optimizer(config, schedule, variables):
    optimizer = optimizers.make_optimizer(config, schedule)
    optimizers.build(optimizer, variables)
    return optimizer


def _build(config):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(config.precision)
    try:
        # Of one replica there is nothing to bring together, and the layer would lose its fast form.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        options = {**config.head_options(), "sync_batch_norm": config.sync_batch_norm and replicas > 1}
        return classifiers.build_classifier(config.backbone, config.image_size, config.weights, **options)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def make_evaluated(strategy, state, config):
    """Gives the classifier that is judged and kept: of the averaged weights, if any, or the one in training."""
    if not state.averages:
        return state.model
    with strategy.scope():
        return _build(dataclasses.replace(config, weights="none"))


def _dropout_states(network):
    """Lists the random states of a network's dropout layers, which Keras leaves out of checkpoints."""
    layers = [layer for layer in network.submodules if isinstance(layer, tf.keras.layers.Dropout)]
    return [layer._random_generator._generator for layer in layers]
