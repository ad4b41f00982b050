"""EfficientNet-B0 at 128 px from records of 128 px, against a bare `model.fit` of it on uint8 arrays in memory.

Then the memory of 20 epochs: at the end of the second and of the last.
"""

import pathlib
import tempfile

import common
import numpy as np
import pandas as pd
import psutil
import tensorflow as tf

from isic_tf import checkpoints, epochs, mixture, model, optimize, pipeline
from tfrecord_tools import shards

BATCH, SIZE, IMAGES, EPOCHS = 32, 128, 384, 20
RECIPE = common.make_recipe(
    image_size=SIZE, weights="none", epochs=EPOCHS, warmup_epochs=0.0, augment_strength=0.0, global_batch_size=BATCH
)


def make_rows(folder):
    """Makes records of 128 px of real images; gives rows as `mixture.split` does, with made-up soft labels."""
    names = common.find_real("isic2020/jpeg512/train/*")[:IMAGES]
    shards.make(common.job_of(names, folder, SIZE))
    shard = str(next(pathlib.Path(folder).rglob("*.tfrec")))
    rows = pd.DataFrame({"shard": shard, "position": range(len(names)), "number": range(len(names)), "source": folder})
    rows = rows.assign(image_name=[f"i{number}" for number in rows["number"]], target=0)
    return rows.assign(key=rows["image_name"], label=rows["number"] % 3 / 2, group=0)


with tempfile.TemporaryDirectory() as folder:
    rows = make_rows(folder)
    images, _ = next(iter(pipeline.eval_dataset(rows, image_size=SIZE, batch_size=len(rows), threads=2)))
    images, labels, steps = images.numpy(), rows["label"].to_numpy(), len(rows) // BATCH
    inputs = tf.keras.Input((SIZE, SIZE, 3))
    network = tf.keras.Model(inputs, model.build("efficientnet-b0", SIZE)(inputs / 255))
    network.compile(tf.keras.optimizers.AdamW(3e-4), tf.keras.losses.BinaryCrossentropy(from_logits=True))
    network.fit(images[:BATCH], labels[:BATCH], batch_size=BATCH, verbose=0)

    strategy = tf.distribute.get_strategy()
    plan = mixture.Plan(rows, np.array([len(rows)]), rows[:BATCH], "")
    state = checkpoints.make_state(strategy, RECIPE, steps)
    step = optimize.make_train_step(strategy, state, RECIPE)
    batches = epochs.make_batches(strategy, plan, None, RECIPE, start=0)
    step(batches)
    predict = model.make_predictor([state.model], strategy)

    def epoch():
        state.epoch.assign_add(1)
        # `run` does what is left of the epoch.
        state.step.assign(state.epoch * steps)
        epochs.run(step, state, batches, steps, "epoch")

    times = common.compare(
        f"an epoch of {len(rows)} records of {SIZE} px, B0, no augmentation, against `model.fit` on arrays in memory",
        0.97,
        lambda: network.fit(images, labels, batch_size=BATCH, verbose=0),
        epoch,
        repeats=4,
    )
    print(f"{len(rows) / times[1]:.1f} images/s")

    used = []
    for _ in range(EPOCHS):
        epoch()
        epochs.judge(predict, plan.held_out, RECIPE)
        used.append(psutil.Process().memory_info().rss / 1e6)
    # The first builds the graph that judges.
    print(f"memory of {EPOCHS} epochs: {used[1]:.0f} MB after the second, {used[-1]:.0f} MB after the last (aim 2 %)")
