"""Checkpoints that a run goes on from to the bit, whatever stopped it."""

import contextlib
import os
import re
import signal
import sys
import threading

import tensorflow as tf

from isic_tf import devices, model, optimize, optimizers

# Steps between looks of several workers at whether one of them was asked to stop; each look waits for all.
_AGREE_STEPS = 10


def make_state(strategy, recipe, steps, start=None):
    """Creates all that a checkpoint holds.

    `model`; `optimizer`, and in `others` that of the backbone where it has a rate or a start of its own; `averages` of
    weights, if any; `dropout` (its random states); `epoch` (those done); `step` (those done in all epochs, so the place
    in the data too); `loss` and `gradient_norm` (sums over the steps of an unfinished epoch); `bad_step` (the first
    that diverged; -1 for none); and `best_auc`.

    Args:
        strategy: `tf.distribute.Strategy`.
        recipe: Dict of the recipe's flags.
        steps: Steps of an epoch.
        start: Function to call with the new classifier, before the averages begin; or None.

    Returns:
        `tf.train.Checkpoint`.
    """
    with strategy.scope():
        classifier = _build(recipe)
        if start:
            start(classifier)
        groups = model.group_variables(classifier, apart=recipe["backbone_rate"] != 1 or recipe["freeze_epochs"] > 0)
        # A frozen backbone's begins when it is let go: Adam's means would be taken for settled ones otherwise.
        late = {"factor": recipe["backbone_rate"], "first": recipe["freeze_epochs"] * steps}
        schedules = [optimizers.make_schedule(recipe, steps, **options) for options in ({}, late)]
        optimizer, *others = [_build_optimizer(recipe, *one) for one in zip(schedules, groups, strict=False)]
        averages = [_start_average(weight) for weight in optimize.averaged_weights(classifier) if recipe["ema"]]
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


def _start_average(weight):
    """Creates the variable of a weight's average.

    Batch statistics are averaged too, as by EfficientNet's authors: those of the weights in training fit averaged ones
    badly while the learning rate is high.
    """
    if weight.trainable:
        # All replicas reckon the same, so each keeps its own copy: to hand round that of the first would send all
        # weights from core to core in every step, and on a TPU take them once more for each core.
        return tf.Variable(weight, trainable=False, aggregation=tf.VariableAggregation.NONE)
    # As batch normalisation keeps its own: one on each replica, of which the mean is read.
    options = {"synchronization": tf.VariableSynchronization.ON_READ, "aggregation": tf.VariableAggregation.MEAN}
    return tf.Variable(weight, trainable=False, **options)


def _build_optimizer(recipe, schedule, variables):
    optimizer = optimizers.make_optimizer(recipe, schedule)
    optimizers.build(optimizer, variables)
    return optimizer


def _build(recipe):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(recipe["precision"])
    try:
        # Of one replica there is nothing to bring together, and the layer would lose its fast form.
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        options = {**model.options(recipe), "sync_batch_norm": recipe["sync_batch_norm"] and replicas > 1}
        return model.build(recipe["backbone"], recipe["image_size"], recipe["weights"], **options)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def make_judged(strategy, state, recipe):
    """Gives the classifier that is judged and kept: of the averaged weights, if any, or the one in training."""
    if not state.averages:
        return state.model
    with strategy.scope():
        return _build({**recipe, "weights": "none"})


def _dropout_states(network):
    """Lists the random states of a network's dropout layers, which Keras leaves out of checkpoints."""
    layers = [layer for layer in network.submodules if isinstance(layer, tf.keras.layers.Dropout)]
    return [layer._random_generator._generator for layer in layers]


def find(folder):
    """Lists the checkpoints of a folder, the newest first, without the prefix's endings.

    Their own list in the file `checkpoint` is not asked: a damaged one would make a run begin anew without a word.
    """
    there = tf.io.gfile.listdir(folder) if tf.io.gfile.isdir(folder) else []
    found = filter(None, (re.fullmatch(r"ckpt-(\d+)\.index", name) for name in there))
    return [
        os.path.join(folder, f"ckpt-{number}") for number in sorted((int(match[1]) for match in found), reverse=True)
    ]


def restore(state, paths):
    """Restores the newest checkpoint that is whole, and says so where that is not the newest.

    Args:
        state: `tf.train.Checkpoint`.
        paths: See `find`; none to leave the state as it is.

    Raises:
        ValueError: There are checkpoints, and none of them can be read.
    """
    for path in paths:
        try:
            state.restore(path).assert_consumed()
            return
        except (tf.errors.OpError, AssertionError, ValueError, IndexError, RuntimeError) as error:
            reason = str(error).strip().split("\n")[0]
            print(f"{path} cannot be read ({reason}); trying the one before", flush=True)
    if paths:
        folder = os.path.dirname(paths[0])
        raise ValueError(f"expected a whole checkpoint in {folder}, found none; remove it to train the fold anew")


@contextlib.contextmanager
def saving(state, folder, save_steps, strategy, check=lambda: None):
    """Saves a run's state while it trains, and ends the run in good order where the machine asks for it by SIGTERM.

    Of several workers all save and end at once, whichever of them was asked.

    Args:
        state: `tf.train.Checkpoint`.
        folder: Folder of the checkpoints; the last two are kept.
        save_steps: Steps between checkpoints.
        strategy: `tf.distribute.Strategy`.
        check: Function to call before a checkpoint is written; it raises where the state is not worth saving.

    Yields:
        Function that saves now; and function to call between steps, with the numbers of steps done before and now, and
        between other pieces of work, without.
    """
    manager = tf.train.CheckpointManager(state, folder, max_to_keep=2)
    asked, every = threading.Event(), min(_AGREE_STEPS, save_steps)

    def save():
        check()
        return manager.save()

    def pause(before=0, step=0):
        # Workers look at the same steps, and not while they judge: each is at another image then.
        looks = devices.is_alone(strategy) or step // every > before // every
        if looks and devices.mean_over_workers(strategy, asked.is_set()):
            print(f"\nasked to stop: saved {save()}; the same command goes on from there", flush=True)
            sys.exit(0)
        if step // save_steps > before // save_steps:
            save()

    with _on_termination(lambda *_: asked.set()):
        yield save, pause
        # What came while the last epoch was closed: its checkpoint is there.
        if devices.mean_over_workers(strategy, asked.is_set()):
            _end()


def ending_well():
    """Ends the process with code 0 at SIGTERM, while it does nothing that must be saved: what is in place is whole."""
    return _on_termination(lambda *_: _end())


def _end():
    print("\nasked to stop; the same command goes on where this one was", flush=True)
    sys.exit(0)


@contextlib.contextmanager
def _on_termination(handler):
    """Calls a function at SIGTERM."""
    # Python lets no other thread set a handler.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
