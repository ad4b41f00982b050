"""A dry run: all is built and two steps are taken, to say what the whole would take."""

import itertools
import time

import psutil
import tensorflow as tf

from isic_tf import checkpoints, epochs, model, optimize

# The batches that are ready when the first step begins, and those whose time is taken.
_SKIPPED, _TIMED = 3, 4


def rehearse(plan, strategy, recipe, steps, folds):
    """Takes two steps of a fold and prints what its training would take. Writes nothing, so no cache either.

    Args:
        plan: See `mixture.plan_fold`.
        strategy: `tf.distribute.Strategy`.
        recipe: Dict of the recipe's flags.
        steps: Steps of an epoch.
        folds: Number of folds that the command would train.
    """
    print(plan.text)
    batch_size = recipe["global_batch_size"]
    state = checkpoints.make_state(strategy, recipe, steps)
    trained = sum(weight.shape.num_elements() for weight in state.model.trainable_weights)
    print(f"  {steps * batch_size} images an epoch in {steps} steps of {batch_size}")
    print(f"  {state.model.count_params():,} parameters, {trained:,} of them in training", flush=True)
    batches = epochs.make_batches(strategy, plan, None, recipe, start=0)
    step = optimize.make_train_step(strategy, state, recipe)
    building, step_seconds = (_seconds(lambda: (step(batches), int(state.step))) for _ in range(2))
    epochs.refuse_divergence(state, plan, recipe, "the dry run", None)
    for _ in itertools.islice(batches, _SKIPPED):
        pass
    input_seconds = _seconds(lambda: [next(batches) for _ in range(_TIMED)]) / _TIMED
    judging = _time_judging(strategy, state.model, plan.held_out, recipe)
    rates = batch_size / step_seconds, batch_size / input_seconds
    bound = "input-bound: more cores or --cache would help" if rates[1] < rates[0] else "not input-bound"
    if recipe["cache"] != "none":
        bound += " (without the cache)"
    print(f"  memory: {_describe_memory()}")
    print(f"  steps {rates[0]:.0f} images/s, input {rates[1]:.0f} images/s: {bound}")
    epoch = steps * max(step_seconds, input_seconds)
    fold = building + recipe["epochs"] * (epoch + judging)
    total = f"; {folds} folds: {_duration(folds * fold)}" if folds > 1 else ""
    print(
        f"  {recipe['epochs']} epochs of {_duration(epoch)} and {_duration(judging)} of judging: {_duration(fold)} a "
        f"fold{total}. Nothing was written."
    )


def _seconds(function):
    started = time.monotonic()
    function()
    return time.monotonic() - started


def _time_judging(strategy, classifier, held_out, recipe):
    """Times two batches of held-out images after a first; gives the seconds for all."""
    batch_size = recipe["global_batch_size"]
    few = held_out.iloc[: 3 * batch_size]
    if few.empty:
        return 0.0
    predict = model.make_predictor([classifier], strategy)
    # The first builds the graph.
    epochs.judge(predict, held_out.iloc[:1], recipe)
    return _seconds(lambda: epochs.judge(predict, few, recipe)) * len(held_out) / len(few)


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
