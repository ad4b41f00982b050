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
    curves,
    devices,
    epochs,
    metrics,
    mixture,
    model,
    optimize,
    optimizers,
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
        fold: Number of the held-out fold as text, `all`, or `full` to hold out nothing.
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
    _check_recipe(recipe, strategy.num_replicas_in_sync)
    recipe["threads"] = recipe["threads"] or pipeline.count_cores()
    policies.read(recipe["augment_policy"])
    rows = mixture.read_sets(data_dir, extra_data_dir)
    rows, plans, skipped = prepare(rows, _parse_fold(fold, rows), recipe)
    for plan in plans.values():
        # What does not fit the run's length shows before any image is decoded.
        optimizers.make_schedule(recipe, count_steps(plan, recipe))
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
            runs.merge_folds(workdir, rows)


def prepare(rows, folds, recipe):
    """Plans each fold, of the records that can be read where the recipe skips the others.

    Args:
        rows: See `mixture.read_sets`.
        folds: Numbers of the folds to hold out; None in it to hold out nothing.
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
    if fold == "full":
        return [None]
    if not fold.isdecimal():
        raise ValueError(f"expected a fold's number, 'all' or 'full' for --fold, got {fold!r}")
    return [int(fold)]


def _check_recipe(recipe, replicas):
    batch_size, parts = recipe["global_batch_size"], replicas * recipe["accumulate"]
    if batch_size % parts:
        shares = f"{replicas} replicas" + (f" in {recipe['accumulate']} parts" if recipe["accumulate"] > 1 else "")
        raise ValueError(
            f"expected a global batch that {shares} can share evenly, got {batch_size}; "
            f"--global_batch_size={-(-batch_size // parts) * parts} would do"
        )
    if recipe["precision"] == "mixed_float16" and recipe["backbone_rate"] != 1:
        # Two optimizers would scale one loss.
        raise ValueError("expected --backbone_rate=1 with --precision=mixed_float16; mixed_bfloat16 takes any")


def count_steps(plan, recipe):
    """Counts the steps of an epoch."""
    return max(1, plan.size // recipe["global_batch_size"])


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
    steps = count_steps(plan, recipe)
    saved = checkpoints.find(os.path.join(folder, "checkpoints"))
    state = checkpoints.make_state(strategy, {**recipe, "weights": "none"} if saved else recipe, steps)
    checkpoints.restore(state, os.path.join(folder, "checkpoints"))
    first = int(state.epoch)
    history = runs.read_history(folder)[:first]
    print(plan.text)
    resumed = f", going on after step {int(state.step)}" if saved else ""
    shuffle = epochs.describe_shuffle(plan.rows, recipe, images)
    print(f"  {steps} steps of {batch_size} an epoch, {shuffle}{resumed}", flush=True)
    judged = checkpoints.make_judged(strategy, state, recipe)
    predict = model.make_predictor([judged], strategy)
    schedule = optimizers.make_schedule(recipe, steps)
    shards = sorted({*plan.rows["shard"], *plan.held_out["shard"]})
    alone = not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    saving = checkpoints.saving(state, os.path.join(output, "checkpoints"), recipe["save_steps"], alone)
    with records.explained(shards), devices.explained(), saving as (save, pause):
        batches = epochs.make_batches(strategy, plan, images, recipe, start=int(state.step) * batch_size)
        for epoch in range(first, recipe["epochs"]):
            if epochs.is_past_best(history, recipe["early_stop_patience"]):
                print(f"{name} has not got better for {recipe['early_stop_patience']} epochs: stopped", flush=True)
                break
            if epoch in (first, recipe["freeze_epochs"]):
                step = optimize.make_train_step(strategy, state, recipe, frozen=epoch < recipe["freeze_epochs"])
            started = time.monotonic()
            loss, done = epochs.run(step, state, batches, steps, f"{name} epoch {epoch + 1}", pause)
            speed = done * batch_size / (time.monotonic() - started)
            epochs.average_batch_statistics(state.model)
            optimize.copy_averages(state, judged)
            table = epochs.judge(predict, plan.held_out, recipe, images, pause)
            verdict = {"auc": float(metrics.roc_auc(table["target"], table["prediction"]))} if len(table) else {}
            rate = float(schedule(int(state.step) - 1))
            history.append({"epoch": epoch + 1, "loss": loss, **verdict, "learning_rate": rate})
            close_epoch(state, judged, save, output, history)
            print(epochs.describe_epoch(name, recipe["epochs"], history, speed) + skipped, flush=True)
        # Judged again from the file, so that the predictions are that file's however often the run was cut off.
        model.load_weights(judged, os.path.join(folder, runs.BEST_WEIGHTS))
        table = epochs.judge(predict, plan.held_out, recipe, images)
    if output == folder:
        curves.draw(folder, name)
        runs.finish(folder, table if len(table) else None, history)


def close_epoch(state, judged, save, output, history):
    """Keeps what an epoch gave: its weights if they are the best, the history, and last the checkpoint."""
    # Where nothing is held out the last epoch is the best.
    auc, best_auc = history[-1].get("auc", len(history)), float(state.best_auc)
    runs.keep_best(output, judged, auc > best_auc)
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


def define_optimizer_flags():
    """Defines the flags that say how the weights are changed."""
    flags.DEFINE_enum("optimizer", "adamw", optimizers.OPTIMIZERS, "The last four need tensorflow-addons.")
    flags.DEFINE_float("learning_rate", 3e-4, "Peak learning rate.", lower_bound=0.0)
    flags.DEFINE_enum("schedule", "cosine", optimizers.SCHEDULES, "How the learning rate goes after the warm-up.")
    flags.DEFINE_float("warmup_epochs", 1.0, "Epochs in which the learning rate rises to its peak.", lower_bound=0.0)
    flags.DEFINE_float("hold_epochs", 0.0, "Epochs at the peak, for --schedule=deotte.", lower_bound=0.0)
    flags.DEFINE_float("weight_decay", 0.01, "Decoupled weight decay, times the learning rate; not for adam.", 0.0, 1.0)
    flags.DEFINE_float("clip_norm", 0.0, "Largest norm of all gradients together; 0: any.", lower_bound=0.0)
    flags.DEFINE_integer("accumulate", 1, "Parts in which a replica's batch passes the network, to save memory.", 1)
    flags.DEFINE_float("ema", 0.0, "Decay of the moving average of weights that is judged and kept; 0: none.", 0.0, 1.0)
    flags.DEFINE_float("backbone_rate", 1.0, "Factor on the backbone's learning rate.", lower_bound=0.0)
    flags.DEFINE_integer("freeze_epochs", 0, "Epochs that leave the backbone as it is, its statistics too.", 0)
    precisions = ("float32", "mixed_bfloat16", "mixed_float16")
    flags.DEFINE_enum("precision", "float32", precisions, "Of the network; its weights and the loss stay float32.")


def define_flags():
    """Defines the command's flags."""
    define_data_flags()
    define_optimizer_flags()
    flags.DEFINE_string("workdir", None, "Folder of the run: one configuration, a subfolder for each fold.")
    flags.DEFINE_string("fold", "0", "The fold to hold out; 'all': each in turn; 'full': none.")
    flags.DEFINE_integer("image_size", 384, "Side of the model's square input, pixels.", 32, 4096)
    flags.DEFINE_enum("backbone", "efficientnet-b0", model.BACKBONES, "The network before the head.")
    flags.DEFINE_string("weights", "noisy-student", f"Weights to start from: {', '.join(model.WEIGHTS)} or a path.")
    flags.DEFINE_integer("epochs", 15, "Passes over the training images.", lower_bound=1)
    flags.DEFINE_integer("global_batch_size", 32, "Images in a step, of all replicas together.", lower_bound=1)
    flags.DEFINE_integer("early_stop_patience", 0, "Epochs without a better one that end a fold; 0: any number.", 0)
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
