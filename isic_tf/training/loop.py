"""The training loop: trains one fold, or all folds in turn, and resumes where a run stopped."""

import contextlib
import functools
import os
import tempfile
import time
import typing

import tensorflow as tf

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.data import image_cache, mixture, preprocessing_config, read_errors, targets
from isic_tf.distribution import cpu, strategies, workers
from isic_tf.inference import patient_bag_predictor
from isic_tf.metrics import summaries
from isic_tf.models import backbones
from isic_tf.optim import lr_schedules
from isic_tf.training import (
    checkpointing,
    config,
    distributed_input,
    divergence,
    dry_runs,
    ema,
    epochs,
    fold_setup,
    history_plot,
    losses,
    preemption,
    profiler,
    tensorboard,
    train_state,
    train_step,
    validation,
    warm_start,
)

# Flags that do not change the result, so may differ when a run goes on.
_FREE = ("data_dir", "extra_data_dir", "strategy", "tpu", "cache", "threads", "save_steps", "steps_per_execution")
_FREE += ("tensorboard", "profile")


@preemption.exiting_cleanly()
def train(data_dir, extra_data_dir, workdir, fold, strategy, tpu, dry_run, **recipe):
    """Trains one fold, or each in turn.

    Args:
        data_dir: Folders of record sets with folds, separated by commas.
        extra_data_dir: Folders of record sets for training alone, or "".
        workdir: Run folder.
        fold: Number of the held-out fold as text, `all`, or `full` to hold out nothing.
        strategy: One of `strategies.STRATEGIES`.
        tpu: See `strategies.choose_strategy`.
        dry_run: Whether to take a few steps only and to write nothing.
        **recipe: The remaining flags, see `recipe`.

    Raises:
        ValueError: A flag does not fit the data, the machine or the run folder; a shard is corrupt; the loss diverged.
    """
    settings = {"data_dir": data_dir, "extra_data_dir": extra_data_dir, "strategy": strategy, "tpu": tpu, **recipe}
    reads = {"data_dir": data_dir, "extra_data_dir": extra_data_dir, "workdir": workdir}
    strategy = strategies.choose_strategy(
        strategy, tpu, reads, {"cache": recipe["cache"] != "none" and recipe["cache"]}
    )
    if recipe["deterministic"]:
        tf.config.experimental.enable_op_determinism()
    config.check_config(recipe, strategy, fold)
    profiler.parse_profile(recipe["profile"])
    recipe["threads"] = recipe["threads"] or cpu.count_cores()
    rows = mixture.read_sets(data_dir, extra_data_dir, recipe["pseudo_csv"])
    rows, plans, skipped = fold_setup.plan_folds(rows, fold_setup._parse_fold(fold, rows), recipe)
    print(strategies.describe_strategy(strategy))
    if dry_run:
        sources = [fold_setup.choose_source(plan, number, recipe) for number, plan in plans.items()]
        own = {**recipe, "weights": "none"} if sources[0] else recipe
        plan = next(iter(plans.values()))
        dry_runs.rehearse(plan, rows, strategy, own, fold_setup.count_steps(plan, recipe), len(plans))
        return
    chief, images = workers.is_chief(strategy), None
    folders = {number: run_directory.fold_dir(workdir, number) for number in plans}
    left = [number for number, folder in folders.items() if not run_directory.is_finished(folder)]
    sources = {number: fold_setup.choose_source(plans[number], number, recipe) for number in left}
    if chief:
        preparation = preprocessing_config.read_preprocessing(rows["source"].iloc[0])
        run_directory.claim(workdir, settings, _FREE, rows, fold_setup.read_named_files(recipe), preparation)
        if policy := fold_setup.policy_file(recipe):
            run_directory.keep_policy(workdir, policy)
    for number, folder in folders.items():
        if number not in left:
            print(f"{folder} is trained already; another --workdir trains it anew")
        else:
            if recipe["cache"] != "none" and not images:
                images = image_cache.open_images(rows, recipe["cache"], recipe["image_size"], recipe["threads"])
            # Every worker must save, since they read the variables together; only the chief's files are kept.
            with contextlib.nullcontext(folder) if chief else tempfile.TemporaryDirectory() as output:
                train_fold(Fold(plans[number], images, strategy, recipe, sources[number], folder, output, skipped))
        if chief:
            run_directory.merge_folds(workdir, rows)


class Fold(typing.NamedTuple):
    """All that the training of one fold is given."""

    plan: mixture.Plan
    images: typing.Callable | None  # decoded images, see `image_cache.open_images`
    strategy: tf.distribute.Strategy
    recipe: dict
    source: str | None  # folder of the weights to start from, see `warm_start.find_source`
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
    shuffle = distributed_input.describe_shuffle(plan.rows, recipe, fold.images)
    batches = f"{fold_setup.count_steps(plan, recipe)} steps of {recipe['global_batch_size']} an epoch"
    print(f"  {batches}, {shuffle}{resumed}", flush=True)
    origin = seen_images.find_origin(fold.source, backbones.weights_path(recipe["weights"]))
    if not origin and recipe["weights"] not in backbones.WEIGHTS:
        print(f"  nothing tells which images the weights of {recipe['weights']} have seen", flush=True)
    seen_images.write_seen_images(fold.output, seen_images.list_seen_images(plan, origin))
    judged = train_state.make_evaluated(fold.strategy, state, recipe)
    predict = patient_bag_predictor.make_predictor(judged, fold.strategy, plan.held_out)
    with (
        read_errors.explained_read_errors(sorted({*plan.rows["shard"], *plan.held_out["shard"]})),
        workers.lost_worker_errors(),
    ):
        run_epochs(fold, state, judged, predict)
        # Judged again from the file, so that the predictions are that file's however often the run was cut off.
        backbones.load_weights(judged, os.path.join(fold.folder, run_directory.BEST_WEIGHTS))
        table = validation.validate(predict, plan.held_out, recipe, fold.images)
    if fold.output == fold.folder:
        history_plot.draw_history(fold.folder, fold.name)
        run_directory.finish(
            fold.folder, table if len(table) else None, run_directory.read_history(fold.folder), recipe["keep"]
        )


def start(fold):
    """Creates the state of a fold: of its last checkpoint, of another run's weights, or new.

    Returns:
        State, see `train_state.make_state`; and "" or a text that says where it goes on.
    """
    saved, recipe = run_directory.find_checkpoints(os.path.join(fold.folder, "checkpoints")), fold.recipe
    load = (
        functools.partial(warm_start.load_weights, source=fold.source, recipe=recipe)
        if fold.source and not saved
        else None
    )
    own = {**recipe, "weights": "none"} if fold.source or saved else recipe
    state = train_state.make_state(fold.strategy, own, fold_setup.count_steps(fold.plan, recipe), load)
    checkpointing.restore(state, saved)
    step = int(state.step)
    if workers.mean_over_workers(fold.strategy, step) != step:
        raise ValueError(
            f"expected all workers to go on from one step, this one is at {step} and another is not; give them one "
            "--workdir, where the first of them writes"
        )
    return state, f", going on after step {step}" if saved else ""


def run_epochs(fold, state, judged, predict):
    """Runs the epochs that are left.

    Args:
        fold: `Fold`.
        state: See `train_state.make_state`.
        judged: See `train_state.make_evaluated`.
        predict: Its predictor.
    """
    plan, images, strategy, recipe, _, folder, output, skipped = fold
    name, batch_size, steps = fold.name, recipe["global_batch_size"], fold_setup.count_steps(plan, recipe)
    first, history = int(state.epoch), run_directory.read_history(folder)[: int(state.epoch)]
    schedule = lr_schedules.make_schedule(recipe, steps)
    with watching(fold, state) as (write, profile, save, pause, check):
        batches = distributed_input.make_batches(strategy, plan, images, recipe, start=int(state.step) * batch_size)
        for epoch in range(first, recipe["epochs"]):
            if validation.is_past_best(history, recipe["early_stop_patience"]):
                print(f"{name} has not got better for {recipe['early_stop_patience']} epochs: stopped", flush=True)
                break
            if epoch in (first, recipe["freeze_epochs"]):
                step = train_step.make_train_step(strategy, state, recipe, frozen=epoch < recipe["freeze_epochs"])
            started, label = time.monotonic(), f"{name} epoch {epoch + 1}"
            options = {"chunk": recipe["steps_per_execution"], "pauses": (profile, pause), "check": check}
            figures, done, waited = epochs.run_epoch(step, state, batches, steps, label, **options)
            seconds = time.monotonic() - started
            validation.average_batch_statistics(state.model)
            ema.copy_averages(state, judged)
            table = validation.validate(predict, plan.held_out, recipe, images, pause)
            # Alike on all workers to the last bit, since they stop by it.
            verdict = {
                name: workers.mean_over_workers(strategy, value) for name, value in summaries.score(table).items()
            }
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
        The functions of `tensorboard.writing` and `profiler.profiling`, the two of `checkpointing.saving`, and one that raises
        where the training has diverged.
    """
    recipe, folder = fold.recipe, os.path.join(fold.output, "checkpoints")
    events = fold.folder if fold.output == fold.folder and recipe["tensorboard"] else None
    if events and not int(state.step):
        tensorboard.write_samples(events, fold.plan.rows, recipe)

    def check():
        divergence.refuse_divergence(
            state, fold.plan, recipe, fold.name, next(iter(run_directory.find_checkpoints(folder)), None)
        )

    with (
        tensorboard.writing(events) as write,
        profiler.profiling(fold.output, profiler.parse_profile(recipe["profile"]), int(state.step)) as profile,
        checkpointing.saving(state, folder, recipe["save_steps"], fold.strategy, check) as (save, pause),
    ):
        yield write, profile, save, pause, check


def close_epoch(state, judged, save, output, history, keep):
    """Keeps what an epoch gave: its weights if they are wanted, the history, and last the checkpoint."""
    auc, best_auc = history[-1].get("auc", -1.0), float(state.best_auc)
    # Where nothing is held out the last epoch is the best.
    run_directory.keep_weights(output, judged, keep == "last" or "auc" not in history[-1] or auc > best_auc)
    run_directory.write_history(output, history)
    state.best_auc.assign(max(auc, best_auc))
    state.epoch.assign(len(history))
    state.loss.assign(0.0)
    state.gradient_norm.assign(0.0)
    save()
