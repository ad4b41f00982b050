"""Trains a classifier on all folds but one and keeps the weights that rank the held-out fold best.

python -m isic_tf.train --data_dir=records/384 --workdir=runs/b0 --fold=0 --image_size=384 --backbone=efficientnet-b0

The same command again goes on where the run was stopped, and ends as if it had not been.
"""

import contextlib
import functools
import os
import tempfile
import time
import typing

import tensorflow as tf
from absl import flags

from isic_tf import (
    backbones,
    bags,
    cache,
    checkpoints,
    curves,
    devices,
    epochs,
    files,
    listing,
    losses,
    metadata,
    metrics,
    mixture,
    optimize,
    optimizers,
    pipeline,
    policies,
    records,
    rehearsal,
    runs,
    salvage,
    targets,
    together,
    transfer,
    watch,
)
from isic_tf import recipe as recipes
from tfrecord_tools import command, schema, storage

# Flags that do not change the result, so may differ when a run goes on.
_FREE = ("data_dir", "extra_data_dir", "strategy", "tpu", "cache", "threads", "save_steps", "steps_per_execution")
_FREE += ("tensorboard", "profile")


@checkpoints.ending_well()
def train(data_dir, extra_data_dir, workdir, fold, strategy, tpu, dry_run, **recipe):
    """Trains one fold, or each in turn.

    Args:
        data_dir: Folders of record sets with folds, separated by commas.
        extra_data_dir: Folders of record sets for training alone, or "".
        workdir: Run folder.
        fold: Number of the held-out fold as text, `all`, or `full` to hold out nothing.
        strategy: One of `devices.STRATEGIES`.
        tpu: See `devices.choose`.
        dry_run: Whether to take a few steps only and to write nothing.
        **recipe: The remaining flags, see `recipe`.

    Raises:
        ValueError: A flag does not fit the data, the machine or the run folder; a shard is corrupt; the loss diverged.
    """
    settings = {"data_dir": data_dir, "extra_data_dir": extra_data_dir, "strategy": strategy, "tpu": tpu, **recipe}
    reads = {"data_dir": data_dir, "extra_data_dir": extra_data_dir, "workdir": workdir}
    strategy = devices.choose(strategy, tpu, reads, {"cache": recipe["cache"] != "none" and recipe["cache"]})
    if recipe["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    recipes.check(recipe, strategy, fold)
    watch.parse_profile(recipe["profile"])
    recipe["threads"] = recipe["threads"] or pipeline.count_cores()
    rows = mixture.read_sets(data_dir, extra_data_dir, recipe["pseudo_csv"])
    rows, plans, skipped = prepare(rows, _parse_fold(fold, rows), recipe)
    print(devices.describe(strategy))
    if dry_run:
        sources = [find_source(plan, number, recipe) for number, plan in plans.items()]
        own = {**recipe, "weights": "none"} if sources[0] else recipe
        plan = next(iter(plans.values()))
        rehearsal.rehearse(plan, rows, strategy, own, count_steps(plan, recipe), len(plans))
        return
    chief, images = devices.is_chief(strategy), None
    folders = {number: runs.fold_dir(workdir, number) for number in plans}
    left = [number for number, folder in folders.items() if not runs.is_finished(folder)]
    sources = {number: find_source(plans[number], number, recipe) for number in left}
    if chief:
        preparation = files.read_preparation(rows["source"].iloc[0])
        runs.claim(workdir, settings, _FREE, rows, _read_named_files(recipe), preparation)
        if policy := _policy_file(recipe):
            runs.keep_policy(workdir, policy)
    for number, folder in folders.items():
        if number not in left:
            print(f"{folder} is trained already; another --workdir trains it anew")
        else:
            if recipe["cache"] != "none" and not images:
                images = cache.open_images(rows, recipe["cache"], recipe["image_size"], recipe["threads"])
            # Every worker must save, since they read the variables together; only the chief's files are kept.
            with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as output:
                train_fold(Fold(plans[number], images, strategy, recipe, sources[number], folder, output, skipped))
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
    options = {name: recipe[name] for name in ("mix", "malignant_repeats", "balance")}
    options["pairs"] = _read_pairs(recipe)

    def make_plans(rows):
        plans = {fold: mixture.plan_fold(rows, fold, **options) for fold in folds}
        if recipe["context"] == "set":
            plans = {fold: bags.fit(plan, recipe["bag_size"]) for fold, plan in plans.items()}
        for plan in plans.values():
            # What does not fit the run's length shows before any image is decoded.
            optimizers.make_schedule(recipe, count_steps(plan, recipe))
        return plans

    # Before the records are read through: a flag that does not fit shows at once.
    plans, skipped = make_plans(rows), ""
    if recipe["on_corrupt"] == "skip":
        rows, problems = salvage.skip_corrupt(rows, recipe["threads"])
        skipped = salvage.describe(problems)
    columns = metadata.columns(recipe["metadata"]) + (["diagnosis"] if recipe["target"] == "diagnosis" else [])
    rows = listing.add_columns(rows, columns, recipe["threads"])
    plans = make_plans(rows) if columns or skipped else plans
    for plan in plans.values():
        # Labels and diagnoses that contradict each other show before any image is decoded.
        targets.label(plan.rows, recipe["target"])
    return rows, plans, skipped


def _parse_fold(fold, index):
    if fold == "all":
        numbers = sorted(set(index.loc[~index["extra"], "fold"]) - {schema.UNKNOWN})
        if not numbers:
            raise ValueError("expected records in folds for --fold=all, found none; see tfrecord_tools.folds")
        return numbers
    if fold == "full":
        return [None]
    if not fold.isdecimal():
        raise ValueError(f"expected a fold's number, 'all' or 'full' for --fold, got {fold!r}")
    return [int(fold)]


def _read_pairs(recipe):
    return schema.read_pairs(recipe["duplicates"]) if recipe["duplicates"] else None


def _policy_file(recipe):
    return None if recipe["augment_policy"] in policies.PRESETS else recipe["augment_policy"]


def _read_named_files(recipe):
    """Reads the files that a recipe names: with other contents it is another."""
    weights = recipe["weights"] not in backbones.WEIGHTS and recipe["weights"]
    paths = (recipe["duplicates"], recipe["pseudo_csv"], _policy_file(recipe), weights)
    return [storage.read(path) for path in paths if path]


def find_source(plan, fold, recipe):
    """Finds the folder of another run's weights that a fold starts from; None where it is to start from --weights."""
    source = transfer.find(recipe["init_from"], fold) if recipe["init_from"] else None
    origin = transfer.origin(source, recipe["weights"])
    if origin:
        transfer.refuse_leaks(plan, origin, _read_pairs(recipe))
    return source


def count_steps(plan, recipe):
    """Counts the steps of an epoch."""
    return max(1, plan.size // recipe["global_batch_size"])


class Fold(typing.NamedTuple):
    """All that the training of one fold is given."""

    plan: mixture.Plan
    images: typing.Callable | None  # decoded images, see `cache.open_images`
    strategy: tf.distribute.Strategy
    recipe: dict
    source: str | None  # folder of the weights to start from, see `transfer.find`
    folder: str  # whose last checkpoint the run goes on from
    output: str  # folder to write: the same, or any other for a worker that is not the chief
    skipped: str  # to print at the end of every epoch

    @property
    def name(self):
        """What lines about the fold begin with."""
        return os.path.basename(self.folder)


def train_fold(fold):
    """Trains on some records and keeps the epoch whose exact ROC AUC on the held-out ones is best, or the last.

    Args:
        fold: `Fold`.

    Raises:
        ValueError: The training diverged, or a record cannot be read.
    """
    plan, recipe = fold.plan, fold.recipe
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(recipe["seed"])
    print(plan.text)
    if recipe["target"] == "diagnosis":
        print(targets.describe(plan.rows))
    if recipe["loss"] == "auc":
        print(losses.describe_empty(plan, recipe["global_batch_size"]))
    state, resumed = start(fold)
    shuffle = epochs.describe_shuffle(plan.rows, recipe, fold.images)
    batches = f"{count_steps(plan, recipe)} steps of {recipe['global_batch_size']} an epoch"
    print(f"  {batches}, {shuffle}{resumed}", flush=True)
    origin = transfer.origin(fold.source, recipe["weights"])
    if not origin and recipe["weights"] not in backbones.WEIGHTS:
        print(f"  nothing tells which images the weights of {recipe['weights']} have seen", flush=True)
    transfer.write_seen(fold.output, transfer.list_seen(plan, origin))
    judged = checkpoints.make_judged(fold.strategy, state, recipe)
    predict = together.make_predictor(judged, fold.strategy, plan.held_out)
    with records.explained(sorted({*plan.rows["shard"], *plan.held_out["shard"]})), devices.explained():
        run_epochs(fold, state, judged, predict)
        # Judged again from the file, so that the predictions are that file's however often the run was cut off.
        backbones.load_weights(judged, os.path.join(fold.folder, runs.BEST_WEIGHTS))
        table = epochs.judge(predict, plan.held_out, recipe, fold.images)
    if fold.output == fold.folder:
        curves.draw(fold.folder, fold.name)
        runs.finish(fold.folder, table if len(table) else None, runs.read_history(fold.folder), recipe["keep"])


def start(fold):
    """Creates the state of a fold: of its last checkpoint, of another run's weights, or new.

    Returns:
        State, see `checkpoints.make_state`; and "" or a text that says where it goes on.
    """
    saved, recipe = checkpoints.find(os.path.join(fold.folder, "checkpoints")), fold.recipe
    load = functools.partial(transfer.load, source=fold.source, recipe=recipe) if fold.source and not saved else None
    own = {**recipe, "weights": "none"} if fold.source or saved else recipe
    state = checkpoints.make_state(fold.strategy, own, count_steps(fold.plan, recipe), load)
    checkpoints.restore(state, saved)
    step = int(state.step)
    if devices.mean_over_workers(fold.strategy, step) != step:
        raise ValueError(
            f"expected all workers to go on from one step, this one is at {step} and another is not; give them one "
            "--workdir, where the first of them writes"
        )
    return state, f", going on after step {step}" if saved else ""


def run_epochs(fold, state, judged, predict):
    """Runs the epochs that are left.

    Args:
        fold: `Fold`.
        state: See `checkpoints.make_state`.
        judged: See `checkpoints.make_judged`.
        predict: Its predictor.
    """
    plan, images, strategy, recipe, _, folder, output, skipped = fold
    name, batch_size, steps = fold.name, recipe["global_batch_size"], count_steps(plan, recipe)
    first, history = int(state.epoch), runs.read_history(folder)[: int(state.epoch)]
    schedule = optimizers.make_schedule(recipe, steps)
    with watching(fold, state) as (write, profile, save, pause, check):
        batches = epochs.make_batches(strategy, plan, images, recipe, start=int(state.step) * batch_size)
        for epoch in range(first, recipe["epochs"]):
            if epochs.is_past_best(history, recipe["early_stop_patience"]):
                print(f"{name} has not got better for {recipe['early_stop_patience']} epochs: stopped", flush=True)
                break
            if epoch in (first, recipe["freeze_epochs"]):
                step = optimize.make_train_step(strategy, state, recipe, frozen=epoch < recipe["freeze_epochs"])
            started, label = time.monotonic(), f"{name} epoch {epoch + 1}"
            options = {"chunk": recipe["steps_per_execution"], "pauses": (profile, pause), "check": check}
            figures, done, waited = epochs.run(step, state, batches, steps, label, **options)
            seconds = time.monotonic() - started
            epochs.average_batch_statistics(state.model)
            optimize.copy_averages(state, judged)
            table = epochs.judge(predict, plan.held_out, recipe, images, pause)
            # Alike on all workers to the last bit, since they stop by it.
            verdict = {name: devices.mean_over_workers(strategy, value) for name, value in metrics.score(table).items()}
            rate = {"learning_rate": float(schedule(int(state.step) - 1))}
            history.append({"epoch": epoch + 1, **figures, **verdict, **rate})
            close_epoch(state, judged, save, output, history, recipe["keep"])
            speed = done * batch_size / seconds
            print(epochs.describe_epoch(name, recipe["epochs"], history, speed) + skipped, flush=True)
            write(history[-1], speed, None if recipe["deterministic"] else waited / seconds)


@contextlib.contextmanager
def watching(fold, state):
    """Opens what goes on beside the steps: TensorBoard's files, the profile, checkpoints and the watch for divergence.

    Yields:
        The functions of `watch.writing` and `watch.profiling`, the two of `checkpoints.saving`, and one that raises
        where the training has diverged.
    """
    recipe, folder = fold.recipe, os.path.join(fold.output, "checkpoints")
    events = fold.folder if fold.output == fold.folder and recipe["tensorboard"] else None
    if events and not int(state.step):
        watch.write_samples(events, fold.plan.rows, recipe)

    def check():
        epochs.refuse_divergence(state, fold.plan, recipe, fold.name, next(iter(checkpoints.find(folder)), None))

    with (
        watch.writing(events) as write,
        watch.profiling(fold.output, watch.parse_profile(recipe["profile"]), int(state.step)) as profile,
        checkpoints.saving(state, folder, recipe["save_steps"], fold.strategy, check) as (save, pause),
    ):
        yield write, profile, save, pause, check


def close_epoch(state, judged, save, output, history, keep):
    """Keeps what an epoch gave: its weights if they are wanted, the history, and last the checkpoint."""
    auc, best_auc = history[-1].get("auc", -1.0), float(state.best_auc)
    # Where nothing is held out the last epoch is the best.
    runs.keep_weights(output, judged, keep == "last" or "auc" not in history[-1] or auc > best_auc)
    runs.write_history(output, history)
    state.best_auc.assign(max(auc, best_auc))
    state.epoch.assign(len(history))
    state.loss.assign(0.0)
    state.gradient_norm.assign(0.0)
    save()


def define_flags():
    """Defines the command's flags."""
    recipes.define_data_flags()
    recipes.define_model_flags()
    recipes.define_optimizer_flags()
    recipes.define_run_flags()
    devices.define_flags()
    for module in (recipes, devices):
        flags.adopt_module_key_flags(module)
    flags.mark_flags_as_required(["data_dir", "workdir"])


if __name__ == "__main__":
    command.run(train, define_flags)
