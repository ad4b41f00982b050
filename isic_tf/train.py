"""Trains a classifier on all folds but one and keeps the weights that rank the held-out fold best.

python -m isic_tf.train --data_dir=records/384 --workdir=runs/b0 --fold=0 --image_size=384 --backbone=efficientnet-b0

The same command again goes on where the run was stopped, and ends as if it had not been.
"""

import contextlib
import os
import tempfile
import time

import tensorflow as tf
from absl import flags

from isic_tf import (
    cache,
    checkpoints,
    devices,
    epochs,
    mixture,
    model,
    optimize,
    pipeline,
    policies,
    records,
    runs,
    salvage,
)
from tfrecord_tools import command, schema, storage

# Flags that do not change the result, so may differ when a run goes on.
_FREE = ("data_dir", "extra_data_dir", "strategy", "cache", "threads", "save_steps")


def train(data_dir, extra_data_dir, workdir, fold, strategy, deterministic, **recipe):
    """Trains one fold, or each in turn.

    Args:
        data_dir: Folders of record sets with folds, separated by commas.
        extra_data_dir: Folders of record sets for training alone, or "".
        workdir: Run folder.
        fold: Number of the held-out fold as text, or `all`.
        strategy: One of `devices.STRATEGIES`.
        deterministic: Whether the same run on the same device gives the same bits, at some cost of speed.
        **recipe: The remaining flags, see `define_flags`.

    Raises:
        ValueError: A flag does not fit the data, the machine or the run folder; a shard is corrupt; the loss diverged.
    """
    settings = {"data_dir": data_dir, "extra_data_dir": extra_data_dir, "strategy": strategy, **recipe}
    settings["deterministic"] = deterministic
    strategy = devices.choose(strategy)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    _check_batch(recipe["global_batch_size"], strategy.num_replicas_in_sync)
    recipe["threads"] = recipe["threads"] or pipeline.count_cores()
    policies.read(recipe["augment_policy"])
    rows = mixture.read_sets(data_dir, extra_data_dir)
    rows, plans, skipped = prepare(rows, _parse_fold(fold, rows), recipe)
    print(devices.describe(strategy))
    chief, images = devices.is_chief(strategy), None
    if chief:
        named = (recipe["duplicates"], recipe["augment_policy"] not in policies.PRESETS and recipe["augment_policy"])
        runs.claim(workdir, settings, _FREE, rows, [storage.read(path) for path in named if path])
    for number, plan in plans.items():
        folder = runs.fold_dir(workdir, number)
        if runs.is_finished(folder):
            print(f"{folder} is trained already; another --workdir trains it anew")
        else:
            if recipe["cache"] != "none" and not images:
                images = cache.open_images(rows, recipe["cache"], recipe["image_size"], recipe["threads"])
            # Every worker must save, since they read the variables together; only the chief's files are kept.
            with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as output:
                train_fold(plan, images, strategy, folder, output, recipe, skipped)
        if chief:
            runs.merge_folds(workdir)


def prepare(rows, folds, recipe):
    """Plans each fold, of the records that can be read where the recipe skips the others.

    Args:
        rows: See `mixture.read_sets`.
        folds: Numbers of the folds to hold out.
        recipe: Dict of the recipe's flags.

    Returns:
        The rows, a dict from fold to `mixture.Plan`, and "" or a text that lists what was skipped.
    """
    options = {name: recipe[name] for name in ("mix", "duplicates", "malignant_repeats", "balance")}
    # Before the records are read through: a flag that does not fit shows at once.
    plans, skipped = {fold: mixture.plan_fold(rows, fold, **options) for fold in folds}, ""
    if recipe["on_corrupt"] == "skip":
        rows, problems = salvage.skip_corrupt(rows, recipe["threads"])
        plans, skipped = {fold: mixture.plan_fold(rows, fold, **options) for fold in folds}, salvage.describe(problems)
    return rows, plans, skipped


def _parse_fold(fold, index):
    if fold == "all":
        return sorted(set(index["fold"]) - {schema.UNKNOWN})
    if not fold.isdecimal():
        raise ValueError(f"expected a fold's number or 'all' for --fold, got {fold!r}")
    return [int(fold)]


def _check_batch(global_batch_size, replicas):
    if global_batch_size % replicas:
        fitting = -(-global_batch_size // replicas) * replicas
        raise ValueError(
            f"expected a global batch that {replicas} replicas can share evenly, got {global_batch_size}; "
            f"--global_batch_size={fitting} would do"
        )


def train_fold(plan, images, strategy, folder, output, recipe, skipped=""):
    """Trains on some records and keeps the epoch whose exact ROC AUC on the held-out ones is best.

    Args:
        plan: See `mixture.plan_fold`.
        images: Decoded images, see `cache.open_images`; None to read and decode.
        strategy: `tf.distribute.Strategy`.
        folder: Folder of the fold, whose last checkpoint the run goes on from.
        output: Folder to write: `folder`, or any other for a worker that is not the chief.
        recipe: Dict of the recipe's flags.
        skipped: Text to print at the end of every epoch, or "".

    Raises:
        ValueError: The loss is no finite number.
    """
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(recipe["seed"])
    name, batch_size = os.path.basename(folder), recipe["global_batch_size"]
    steps = max(1, plan.size // batch_size)
    saved = checkpoints.find(os.path.join(folder, "checkpoints"))
    state = checkpoints.make_state(strategy, {**recipe, "weights": "none"} if saved else recipe, steps)
    checkpoints.restore(state, os.path.join(folder, "checkpoints"))
    first = int(state.epoch)
    history = runs.read_history(folder)[:first]
    print(plan.text)
    resumed = f", going on after step {int(state.step)}" if saved else ""
    shuffle = epochs.describe_shuffle(plan.rows, recipe, images)
    print(f"  {steps} steps of {batch_size} an epoch, {shuffle}{resumed}", flush=True)
    step = optimize.make_train_step(strategy, state, recipe)
    predict = model.make_predictor([state.model], strategy)
    shards = sorted({*plan.rows["shard"], *plan.held_out["shard"]})
    alone = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    saving = checkpoints.saving(state, os.path.join(output, "checkpoints"), recipe["save_steps"], alone)
    with records.explained(shards), saving as (save, pause):
        batches = epochs.make_batches(strategy, plan, images, recipe, start=int(state.step) * batch_size)
        for epoch in range(first, recipe["epochs"]):
            started = time.monotonic()
            loss, done = epochs.run(step, state, batches, steps, f"{name} epoch {epoch + 1}", pause)
            speed = done * batch_size / (time.monotonic() - started)
            epochs.average_batch_statistics(state.model)
            table = epochs.judge(predict, plan.held_out, recipe, images, pause)
            history.append({"epoch": epoch + 1, "loss": loss, **epochs.figures_of(state, table)})
            close_epoch(state, save, output, history)
            print(epochs.describe_epoch(name, recipe["epochs"], history, speed) + skipped, flush=True)
        # Judged again from the file, so that the predictions are that file's however often the run was cut off.
        model.load_weights(state.model, os.path.join(folder, runs.BEST_WEIGHTS))
        table = epochs.judge(predict, plan.held_out, recipe, images)
    if output == folder:
        runs.finish(folder, table, history)


def close_epoch(state, save, output, history):
    """Keeps what an epoch gave: its weights if they are the best, the history, and last the checkpoint."""
    auc, best_auc = history[-1]["auc"], float(state.best_auc)
    runs.keep_best(output, state.model, auc > best_auc)
    runs.write_history(output, history)
    state.best_auc.assign(max(auc, best_auc))
    state.epoch.assign(len(history))
    state.loss.assign(0.0)
    save()


def define_data_flags():
    """Defines the flags that say what is trained on and how it is read."""
    flags.DEFINE_string("data_dir", None, "Folder of a record set with its index; several are separated by commas.")
    flags.DEFINE_string("extra_data_dir", "", "Folders of record sets that are always trained on, never held out.")
    flags.DEFINE_string("mix", "", "How often a set's records come in an epoch, as in 'ham=0.5'; 1 where not named.")
    flags.DEFINE_string("duplicates", None, "CSV file of pairs: extra records that show a held-out image are left out.")
    flags.DEFINE_integer("malignant_repeats", 1, "How often a malignant record comes in an epoch.", 1, 1000)
    flags.DEFINE_float("balance", 0.0, "Share of malignant records in an epoch; 0: as they come.", 0.0, 0.99)
    flags.DEFINE_string("cache", "none", "Where decoded images are kept: none, memory, or a folder for later runs too.")
    flags.DEFINE_integer("shuffle_buffer", 2048, "Records shuffled at a time, as JPEG bytes.", lower_bound=1)
    flags.DEFINE_enum("on_corrupt", "stop", ("stop", "skip"), "What a record does that cannot be read.")
    flags.DEFINE_integer("threads", 0, "Images decoded at once; 0: as many as there are cores.", 0, 1024)


def define_flags():
    """Defines the command's flags."""
    define_data_flags()
    flags.DEFINE_string("workdir", None, "Folder of the run: one configuration, a subfolder for each fold.")
    flags.DEFINE_string("fold", "0", "The fold to hold out; 'all' trains each in turn.")
    flags.DEFINE_integer("image_size", 384, "Side of the model's square input, pixels.", 32, 4096)
    flags.DEFINE_enum("backbone", "efficientnet-b0", model.BACKBONES, "The network before the head.")
    flags.DEFINE_string("weights", "noisy-student", f"Weights to start from: {', '.join(model.WEIGHTS)} or a path.")
    flags.DEFINE_integer("epochs", 15, "Passes over the training images.", lower_bound=1)
    flags.DEFINE_integer("global_batch_size", 32, "Images in a step, of all replicas together.", lower_bound=1)
    flags.DEFINE_float("learning_rate", 3e-4, "Peak learning rate of AdamW.", lower_bound=0.0)
    flags.DEFINE_float("weight_decay", 0.01, "Decoupled weight decay, times the learning rate; 0: Adam.", 0.0, 1.0)
    flags.DEFINE_float("warmup_epochs", 1.0, "Epochs of linear warm-up, before a cosine decay to 0.", lower_bound=0.0)
    flags.DEFINE_float("label_smoothing", 0.05, "s: the targets become s/2 and 1 - s/2.", 0.0, 0.99)
    flags.DEFINE_string("augment_policy", "light", f"One of {', '.join(policies.PRESETS)}, or a JSON file.")
    flags.DEFINE_float("augment_strength", 1.0, "Factor on the policy's strengths; 0: no augmentation.", 0.0, 5.0)
    flags.DEFINE_integer("seed", 0, "Fixes initial weights, order and augmentation.", 0, 2**31 - 1)
    flags.DEFINE_bool("deterministic", False, "The same bits from the same run on the same device; slower.")
    flags.DEFINE_integer("save_steps", 1000, "Steps between checkpoints, besides that of every epoch.", lower_bound=1)
    flags.DEFINE_enum("strategy", "auto", devices.STRATEGIES, "What to train on; auto takes what the machine has.")
    flags.mark_flags_as_required(["data_dir", "workdir"])


if __name__ == "__main__":
    command.run(train, define_flags)
