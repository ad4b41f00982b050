"""A training epoch of EfficientNet-B0 at 64 px from records of 1024 px, against a textbook pipeline and `model.fit`."""

import tempfile

import common
import numpy as np
import tensorflow as tf
import textbook

from isic_tf.data import mixture
from isic_tf.models import classifiers
from isic_tf.training import distributed_input, epochs, train_state, train_step

BATCH = 32
SIZE = 64
CONFIG = common.make_config(
    image_size=SIZE,
    weights="none",
    epochs=2,
    learning_rate=1e-3,
    warmup_epochs=0.0,
    augment_policy="deotte",
    shuffle_buffer=256,
)

with tempfile.TemporaryDirectory() as directory:
    files, rows = common.make_set(directory, 40)
    steps = len(rows) // BATCH
    network = classifiers.build_classifier("efficientnet-b0", SIZE)
    network.compile(tf.keras.optimizers.Adam(1e-3), tf.keras.losses.BinaryCrossentropy(from_logits=True))
    dataset = textbook.make_dataset(files, SIZE, BATCH, 256)
    network.fit(dataset.take(1), verbose=0)

    strategy = tf.distribute.get_strategy()
    plan = mixture.Plan(rows.assign(group=0), np.array([len(rows)]), rows, "")
    state = train_state.make_state(strategy, CONFIG, steps)
    step = train_step.make_train_step(strategy, state, CONFIG)
    batches = distributed_input.make_batches(strategy, plan, None, CONFIG, start=0)
    step(batches)

    def run_epoch() -> None:
        state.epoch.assign_add(1)
        # `epochs.run_epoch` runs the remaining steps of the epoch: here, all.
        state.step.assign(state.epoch * steps)
        epochs.run_epoch(step, state, batches, steps, "epoch")

    common.compare(
        f"an epoch of {steps * BATCH} records: input, augmentation and B0 at {SIZE} px",
        1.15,
        lambda: network.fit(dataset, verbose=0),
        run_epoch,
        repeats=5,
    )
