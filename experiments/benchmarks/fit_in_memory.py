"""`isic_tf.train` of EfficientNet-B0 at 128 px from records of 128 px, against a bare `model.fit` on arrays in memory.

Trains a fold for 20 epochs with all that a run does: evaluation, checkpoints, weights, history, TensorBoard. Each of
its epochs is followed by an epoch of `model.fit` on the same images, so that both are timed in turns. Memory is
measured at the end of every epoch.
"""

import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import common
import numpy as np
import pandas as pd
import psutil
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import input_pipeline, mixture
from isic_tf.distribution import cpu
from isic_tf.models import classifiers
from isic_tf.training import epochs, fold_setup, loop
from tfrecord_tools.building import shard_writer

BATCH = 32
SIZE = 128
IMAGES = 384
EPOCHS = 20
CONFIG = common.make_config(
    image_size=SIZE, weights="none", epochs=EPOCHS, warmup_epochs=0.0, augment_strength=0.0, global_batch_size=BATCH
)


def make_rows(directory: str) -> pd.DataFrame:
    """Writes records of 128 px of real images; returns rows as `fold_split.split_rows` does, with synthetic labels."""
    files = common.find_real("isic2020/jpeg512/train/*")[:IMAGES]
    shard_writer.make_shard(common.make_job(files, directory, SIZE))
    shard = str(next(pathlib.Path(directory).rglob("*.tfrec")))
    numbers = np.arange(len(files))
    names = [f"i{number}" for number in numbers]
    columns = {
        "shard": shard,
        "position": numbers,
        "number": numbers,
        "source": directory,
        "image_name": names,
        "target": 0,
        "key": names,
        "label": numbers % 3 / 2,
        "group": 0,
        # Pseudo-labels are not compared with the labels in the records.
        "pseudo": True,
        "patient_id": "",
        "fold": 0,
    }
    return pd.DataFrame(columns)


def make_plan(rows: pd.DataFrame) -> mixture.Plan:
    """Plans epochs of all rows, and an evaluation on one batch of them."""
    held_out = rows[:BATCH].assign(target=[number % 2 for number in range(BATCH)])
    return mixture.Plan(rows, np.array([len(rows)]), held_out, "")


def make_network() -> tf.keras.Model:
    """Builds the classifier for images of 0 to 255, compiled for `fit`."""
    inputs = tf.keras.Input((SIZE, SIZE, 3))
    network = tf.keras.Model(inputs, classifiers.build_classifier("efficientnet-b0", SIZE)(inputs / 255))
    network.compile(tf.keras.optimizers.AdamW(3e-4), tf.keras.losses.BinaryCrossentropy(from_logits=True))
    return network


def report(count: int, ours: Sequence[float], textbook: Sequence[float], total: float, memory: Sequence[float]) -> None:
    """Prints the speed, the time outside of the steps, and the growth of memory.

    Args:
        count: Number of records.
        ours: Seconds of each epoch of `isic_tf.train`, without evaluation and files.
        textbook: Seconds of each epoch of `model.fit`.
        total: Seconds of the training, with the epochs of `model.fit`.
        memory: Memory in MB after each epoch.
    """
    steps = count // BATCH
    best = min(ours[1:])
    best_fit = min(textbook[1:])
    print(
        f"an epoch of {count} records of {SIZE} px, B0, no augmentation: `model.fit` {best_fit:.2f} s, isic_tf.train "
        f"{best:.2f} s, {best_fit / best:.2f} times as fast (aim 0.97), {steps * BATCH / best:.1f} images/s; "
        f"medians {np.median(textbook[1:]):.2f} and {np.median(ours[1:]):.2f} s"
    )
    rest = (total - sum(ours) - sum(textbook)) / EPOCHS
    print(f"evaluation, checkpoint, weights, history and tracing: {rest:.2f} s per epoch on average")
    # Halves are compared, because memory varies with what the heap returns at the end of an epoch.
    early = memory[1 : EPOCHS // 2]
    late = memory[EPOCHS // 2 :]
    early_range, late_range = (f"{min(half):.0f} to {max(half):.0f} MB" for half in (early, late))
    growth = np.mean(late) / np.mean(early) - 1
    print(f"memory over {EPOCHS} epochs: {early_range}, then {late_range}; means {growth:+.1%} (aim within 2 %)")


def main() -> None:
    ours: list[float] = []
    textbook: list[float] = []
    memory: list[float] = []
    run_epoch = epochs.run_epoch
    write_history = run_directory.write_history

    with tempfile.TemporaryDirectory() as directory:
        rows = make_rows(directory)
        options = {"image_size": SIZE, "batch_size": len(rows), "threads": cpu.count_cores()}
        batch, _ = next(iter(input_pipeline.make_eval_dataset(rows, **options)))
        images = batch.numpy()
        labels = rows["label"].to_numpy()
        network = make_network()
        network.fit(images[:BATCH], labels[:BATCH], batch_size=BATCH, verbose=0)

        def timed_run_epoch(*arguments: Any, **options: Any) -> epochs.EpochResult:
            results = []
            ours.append(common.measure_seconds(lambda: results.append(run_epoch(*arguments, **options))))
            return results[0]

        def write_history_and_fit(*arguments: Any) -> None:
            write_history(*arguments)
            memory.append(psutil.Process().memory_info().rss / 1e6)
            fit = common.measure_seconds(lambda: network.fit(images, labels, batch_size=BATCH, verbose=0))
            textbook.append(fit)

        epochs.run_epoch = timed_run_epoch
        run_directory.write_history = write_history_and_fit
        fold_directory = f"{directory}/fold0"
        fold = fold_setup.Fold(make_plan(rows), CONFIG, tf.distribute.get_strategy(), fold_directory, fold_directory)
        total = common.measure_seconds(lambda: loop.train_fold(fold))
    report(len(rows), ours, textbook, total, memory)


if __name__ == "__main__":
    main()
