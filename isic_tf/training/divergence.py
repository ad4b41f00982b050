"""Detects divergence and names the batch that caused it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import input_pipeline, mixture, patient_bags, record_seeds, record_stream
from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

# Most images of the batch that the error names.
_MAX_NAMES = 64


def check_divergence(
    state: tf.train.Checkpoint, plan: mixture.Plan, config: "TrainConfig", name: str, checkpoint: str | None
) -> None:
    """Checks that training has not diverged. Waits for the device.

    Args:
        state: See `train_state.make_state`.
        plan: See `mixture.plan_fold`.
        config: The configuration of the run.
        name: Name of the fold.
        checkpoint: Path of the last good checkpoint, or None.

    Raises:
        DivergenceError: The loss or a gradient was not finite, or the loss was too large; it names the step, its
            images, and the checkpoint.
    """
    step = int(state.bad_step)
    if step < 0:
        return
    names = name_batch(plan.rows, plan.samples_per_epoch, config, step)
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    saved = f"The last good checkpoint is {checkpoint}." if checkpoint else "There is no checkpoint yet."
    raise errors.DivergenceError(
        f"the training of {name} diverged at step {step}: the loss is not finite or too large, or a gradient is not "
        f"finite. Batch: {', '.join(names[:_MAX_NAMES])}{more}. {saved} Inspect these images, or train in another "
        "--workdir with a lower --learning_rate or with --clip_norm=1"
    )


def name_batch(
    rows: pd.DataFrame, samples_per_epoch: Sequence[int] | np.ndarray, config: "TrainConfig", step: int
) -> list[str]:
    """Finds the names of the images of a step, over all replicas and workers, without reading the images.

    Args:
        rows: See `input_pipeline.make_train_dataset`.
        samples_per_epoch: See `input_pipeline.make_train_dataset`.
        config: The configuration of the run.
        step: Number of the step, from 1.

    Returns:
        Names in the order of the batch.
    """
    batch_size = config.global_batch_size
    dataset = input_pipeline.make_train_dataset(
        rows,
        samples_per_epoch,
        image_size=1,
        batch_size=batch_size,
        seed=config.seed,
        threads=1,
        stream=record_stream.StreamOptions(
            start=(step - 1) * batch_size,
            shuffle_buffer=config.shuffle_buffer,
            bag_size=patient_bags.size(config),
        ),
        # The order is that of the run, wherever the images come from.
        images=lambda numbers: np.zeros((len(numbers), 1, 1, 3), np.uint8),
    )
    _, _, seeds = next(iter(dataset))
    names = dict(zip(record_seeds.hash_keys(rows).numpy(), rows["image_name"], strict=True))
    return [names[key] for key in seeds.numpy()[:, 1]]
