"""`isic_tf.train` of EfficientNet-B0 at 128 px from records of 128 px, against a bare `model.fit` on arrays in memory.

A fold of 20 epochs with all that a run does: judging, checkpoints, kept weights, history, TensorBoard. After each of
its epochs comes one of `model.fit` on the same images, so that both are timed in turns. Memory is taken at the end of
every epoch.
"""

import pathlib
import tempfile

import common
import numpy as np
import pandas as pd
import psutil
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import input_pipeline, mixture
from isic_tf.models import classifiers
from isic_tf.training import epochs, loop
from tfrecord_tools.building import shard_writer

BATCH, SIZE, IMAGES, EPOCHS = 32, 128, 384, 20
CONFIG = common.make_config(
    image_size=SIZE, weights="none", epochs=EPOCHS, warmup_epochs=0.0, augment_strength=0.0, global_batch_size=BATCH
)


def make_rows(folder):
    """Makes records of 128 px of real images; gives rows as `fold_split.split_rows` does, with made-up soft labels."""
    names = common.find_real("isic2020/jpeg512/train/*")[:IMAGES]
    shard_writer.make_shard(common.job_of(names, folder, SIZE))
    shard = str(next(pathlib.Path(folder).rglob("*.tfrec")))
    rows = pd.DataFrame({"shard": shard, "position": range(len(names)), "number": range(len(names)), "source": folder})
    rows = rows.assign(image_name=[f"i{number}" for number in rows["number"]], target=0)
    return rows.assign(key=rows["image_name"], label=rows["number"] % 3 / 2, group=0)


with tempfile.TemporaryDirectory() as folder:
    rows = make_rows(folder)
    images, _ = next(iter(input_pipeline.make_eval_dataset(rows, image_size=SIZE, batch_size=len(rows), threads=2)))
    images, labels, steps = images.numpy(), rows["label"].to_numpy(), len(rows) // BATCH
    inputs = tf.keras.Input((SIZE, SIZE, 3))
    network = tf.keras.Model(inputs, classifiers.build_classifier("efficientnet-b0", SIZE)(inputs / 255))
    network.compile(tf.keras.optimizers.AdamW(3e-4), tf.keras.losses.BinaryCrossentropy(from_logits=True))
    network.fit(images[:BATCH], labels[:BATCH], batch_size=BATCH, verbose=0)

    ours, textbook, used = [], [], []
    run, write = epochs.run_epoch, run_directory.write_history

    def timed(*arguments, **options):
        found = []
        ours.append(common.seconds(lambda: found.append(run(*arguments, **options))))
        return found[0]

    def written(*arguments):
        write(*arguments)
        used.append(psutil.Process().memory_info().rss / 1e6)
        textbook.append(common.seconds(lambda: network.fit(images, labels, batch_size=BATCH, verbose=0)))

    epochs.run_epoch, run_directory.write_history = timed, written
    # Made-up labels, which are not compared with those of the records.
    rows = rows.assign(pseudo=True, patient_id="", fold=0)
    held_out = rows[:BATCH].assign(target=[number % 2 for number in range(BATCH)])
    plan = mixture.Plan(rows, np.array([len(rows)]), held_out, "")
    whole = common.seconds(
        lambda: loop.train_fold(
            loop.Fold(plan, None, tf.distribute.get_strategy(), CONFIG, None, f"{folder}/fold0", f"{folder}/fold0", "")
        )
    )
    best, other = min(ours[1:]), min(textbook[1:])
    print(
        f"an epoch of {len(rows)} records of {SIZE} px, B0, no augmentation: `model.fit` {other:.2f} s, isic_tf.train "
        f"{best:.2f} s, {other / best:.2f} times as fast (aim 0.97), {steps * BATCH / best:.1f} images/s; "
        f"medians {np.median(textbook[1:]):.2f} and {np.median(ours[1:]):.2f} s"
    )
    rest = (whole - sum(ours) - sum(textbook)) / EPOCHS
    print(f"judging, checkpoint, weights, history and the first graph: {rest:.2f} s an epoch of the whole run")
    # It swings by what an epoch's end needs and the heap may give back or not, so halves are compared.
    halves = used[1 : EPOCHS // 2], used[EPOCHS // 2 :]
    first, second = (f"{min(half):.0f} to {max(half):.0f} MB" for half in halves)
    means = [np.mean(half) for half in halves]
    print(f"memory of {EPOCHS} epochs: {first}, then {second}; means {means[1] / means[0] - 1:+.1%} (aim within 2 %)")
