"""Trains a classifier on all folds but one and keeps the weights that rank the held-out fold best.

python -m isic_tf.train --data_dir=records/384 --workdir=runs/b0 --fold=0 --image_size=384 --backbone=efficientnet-b0

The same command again goes on after the last whole epoch.
"""

import contextlib
import math
import os
import tempfile
import time

import tensorflow as tf
from absl import flags
from tqdm import tqdm

from isic_tf import devices, metrics, model, optimize, pipeline, records, runs
from tfrecord_tools import command, schema

# Flags that do not change the result, so may differ when a run goes on.
_FREE = ("data_dir", "strategy")


def train(data_dir, workdir, fold, strategy, deterministic, **recipe):
    """Trains one fold, or each in turn.

    Args:
        data_dir: Folder of a record set with its index.
        workdir: Run folder.
        fold: Number of the held-out fold as text, or `all`.
        strategy: One of `devices.STRATEGIES`.
        deterministic: Whether the same run on the same device gives the same bits, at some cost of speed.
        **recipe: The remaining flags, see `define_flags`.

    Raises:
        ValueError: A flag does not fit the data, the machine or the run folder; a shard is corrupt; the loss diverged.
    """
    settings = {"data_dir": data_dir, "strategy": strategy, "deterministic": deterministic, **recipe}
    strategy = devices.choose(strategy)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    _check_batch(recipe["global_batch_size"], strategy.num_replicas_in_sync)
    index = schema.read_index(data_dir, "train")
    splits = {number: records.training_files(index, number) for number in _parse_fold(fold, index)}
    print(devices.describe(strategy))
    chief = devices.is_chief(strategy)
    if chief:
        runs.claim(workdir, settings, _FREE, index)
    for number, (rows, held_out) in splits.items():
        folder = runs.fold_dir(workdir, number)
        if runs.is_finished(folder):
            print(f"{folder} is trained already; another --workdir trains it anew")
        else:
            # Every worker must save, since they read the variables together; only the chief's files are kept.
            with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as output:
                train_fold(rows, held_out, strategy, folder, output, recipe)
        if chief:
            runs.merge_folds(workdir)


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


def train_fold(rows, held_out, strategy, folder, output, recipe):
    """Trains on some rows of an index and keeps the epoch whose exact ROC AUC on the held-out rows is best.

    Args:
        rows: Index rows to train on.
        held_out: Index rows to judge by.
        strategy: `tf.distribute.Strategy`.
        folder: Folder of the fold, whose last checkpoint the run goes on from.
        output: Folder to write: `folder`, or any other for a worker that is not the chief.
        recipe: Dict of the recipe's flags.

    Raises:
        ValueError: The loss is no finite number.
    """
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(recipe["seed"])
    name, epochs, batch_size = os.path.basename(folder), recipe["epochs"], recipe["global_batch_size"]
    steps = max(1, len(rows) // batch_size)
    latest = tf.train.latest_checkpoint(os.path.join(folder, "checkpoints"))
    state = make_state(strategy, recipe if latest is None else {**recipe, "weights": "none"}, steps)
    manager = tf.train.CheckpointManager(state, os.path.join(output, "checkpoints"), max_to_keep=2)
    if latest:
        state.restore(latest).assert_consumed()
    first = int(state.epoch)
    history = runs.read_history(folder)[:first]
    counts = f"{len(rows)} images ({rows['target'].sum()} malignant), {len(held_out)} held out"
    resumed = f", going on after epoch {first}" if first else ""
    print(f"{name}: {counts}, {steps} steps of {batch_size} an epoch{resumed}", flush=True)
    step = optimize.make_train_step(strategy, state, recipe)
    predict = model.make_predictor([state.model], strategy)
    with records.explained(sorted({*rows["shard"], *held_out["shard"]})):
        batches = make_batches(strategy, rows, recipe, start=first * steps * batch_size)
        for epoch in range(first, epochs):
            started = time.monotonic()
            loss = run_epoch(step, batches, steps, f"{name} epoch {epoch + 1}")
            speed = steps * batch_size / (time.monotonic() - started)
            average_batch_statistics(state.model)
            table = judge(predict, held_out, recipe)
            history.append({"epoch": epoch + 1, "loss": loss, **figures_of(state, table), "images_per_second": speed})
            close_epoch(state, manager, output, history)
            print(describe_epoch(name, epochs, history), flush=True)
        # Judged again from the file, so that the predictions are that file's however often the run was cut off.
        model.load_weights(state.model, os.path.join(folder, runs.BEST_WEIGHTS))
        table = judge(predict, held_out, recipe)
    if output == folder:
        runs.finish(folder, table, history)


def make_state(strategy, recipe, steps):
    """Creates all that a checkpoint holds: `model`, `optimizer`, `epoch` (those done) and `best_auc`.

    Args:
        strategy: `tf.distribute.Strategy`.
        recipe: Dict of the recipe's flags.
        steps: Steps of an epoch.

    Returns:
        `tf.train.Checkpoint`.
    """
    with strategy.scope():
        classifier = model.build(recipe["backbone"], recipe["image_size"], recipe["weights"])
        warmup_steps, total_steps = round(recipe["warmup_epochs"] * steps), recipe["epochs"] * steps
        schedule = optimize.make_schedule(recipe["learning_rate"], warmup_steps, total_steps)
        optimizer = optimize.make_optimizer(schedule, recipe["weight_decay"])
        optimizer.build(classifier.trainable_variables)
    epoch, best_auc = tf.Variable(0, dtype=tf.int64), tf.Variable(-1.0, dtype=tf.float64)
    return tf.train.Checkpoint(model=classifier, optimizer=optimizer, epoch=epoch, best_auc=best_auc)


def make_batches(strategy, rows, recipe, start):
    """Starts the stream of training batches at its record `start`, each replica with its share of the global batch."""

    def input_fn(context):
        return pipeline.train_dataset(
            rows,
            image_size=recipe["image_size"],
            batch_size=context.get_per_replica_batch_size(recipe["global_batch_size"]),
            seed=recipe["seed"],
            start=start,
            num_workers=context.num_input_pipelines,
            worker=context.input_pipeline_id,
            shuffle_buffer=recipe["shuffle_buffer"],
        )

    return iter(strategy.distribute_datasets_from_function(input_fn))


def run_epoch(step, batches, steps, label):
    """Runs one epoch and gives its mean loss.

    Raises:
        ValueError: The loss is no finite number.
    """
    total = tf.zeros([])
    for _ in tqdm(range(steps), label, leave=False, unit="step", disable=None):
        total += step(batches)
    loss = float(total) / steps
    if not math.isfinite(loss):
        raise ValueError(f"the loss of {label} is {loss}; start anew with a lower --learning_rate")
    return loss


def judge(predict, held_out, recipe):
    """Predicts the held-out rows; gives them with a column `prediction`."""
    dataset = pipeline.eval_dataset(
        sorted(set(held_out["shard"])),
        image_size=recipe["image_size"],
        batch_size=recipe["global_batch_size"],
        kept=held_out["image_name"],
    )
    found = {}
    for names, scores in predict(dataset):
        found.update(zip(names, scores, strict=True))
    missing = [name for name in held_out["image_name"] if name not in found]
    if missing:
        raise ValueError(f"{len(missing)} images of the index are not in its shards, {missing[0]} first; index again")
    table = held_out.assign(prediction=[found[name] for name in held_out["image_name"]])
    if not table["prediction"].between(0, 1).all():
        raise ValueError("the network predicts values that are no number; start anew with a lower --learning_rate")
    return table


def figures_of(state, table):
    """Gives an epoch's exact ROC AUC and last learning rate."""
    auc = float(metrics.roc_auc(table["target"], table["prediction"]))
    return {"auc": auc, "learning_rate": float(state.optimizer.learning_rate.read_value())}


def close_epoch(state, manager, output, history):
    """Keeps what an epoch gave: its weights if they are the best, the history, and last the checkpoint."""
    auc, best_auc = history[-1]["auc"], float(state.best_auc)
    runs.keep_best(output, state.model, auc > best_auc)
    runs.write_history(output, history)
    state.best_auc.assign(max(auc, best_auc))
    state.epoch.assign(len(history))
    manager.save(checkpoint_number=len(history))


def describe_epoch(name, epochs, history):
    """Says in a line how the last epoch went."""
    row, best = history[-1], max(row["auc"] for row in history)
    figures = f"loss {row['loss']:.4f}  auc {row['auc']:.4f}  best {best:.4f}  {row['images_per_second']:.0f} images/s"
    return f"{name} epoch {row['epoch']}/{epochs}  {figures}"


def average_batch_statistics(classifier):
    """Sets every replica's moving statistics to their mean.

    They drift apart, and a saved model holds their mean: without this, the figures would be those of another model
    than the one that is kept.
    """
    for variable in classifier.non_trainable_variables:
        variable.assign(variable.read_value())


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("data_dir", None, "Folder of a record set with its index.")
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
    flags.DEFINE_float("augment_strength", 1.0, "Factor on the strengths of augmentation; 0: none.", 0.0, 5.0)
    flags.DEFINE_integer("shuffle_buffer", 2048, "Records shuffled at a time, as JPEG bytes.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Fixes initial weights, order and augmentation.", 0, 2**31 - 1)
    flags.DEFINE_bool("deterministic", False, "The same bits from the same run on the same device; slower.")
    flags.DEFINE_enum("strategy", "auto", devices.STRATEGIES, "What to train on; auto takes what the machine has.")
    flags.mark_flags_as_required(["data_dir", "workdir"])


if __name__ == "__main__":
    command.run(train, define_flags)
