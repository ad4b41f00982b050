"""Writes TensorBoard events."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import input_pipeline, record_seeds, targets

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

# Columns of the history, and the tags that they are written under.
_TAGS = {
    "loss": "train/loss",
    "gradient_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
    "auc": "held_out/auc",
    "partial_auc": "held_out/partial_auc_above_80_sensitivity",
}
_NUM_SAMPLES = 8

# From an epoch's row of the history, images per second, and the fraction of time spent waiting for input, or None.
WriteEpoch = Callable[[Mapping[str, Any], float, float | None], None]


@contextlib.contextmanager
def writing(directory: str | None) -> Iterator[WriteEpoch]:
    """Opens an events file.

    Args:
        directory: Directory of the fold; None to write nothing.

    Yields:
        Function to call at the end of an epoch, with its row of the history, images per second, and the fraction of
        time spent waiting for input (None where that was not measured).
    """
    if directory is None:
        yield lambda row, speed, waiting: None
        return
    writer = tf.summary.create_file_writer(directory)

    def write(row: Mapping[str, Any], speed: float, waiting: float | None) -> None:
        with writer.as_default(step=row["epoch"]):
            for column, tag in _TAGS.items():
                if column in row:
                    tf.summary.scalar(tag, row[column])
            tf.summary.scalar("speed/images_per_second", speed)
            if waiting is not None:
                tf.summary.scalar("speed/share_of_time_waiting_for_input", waiting)
        writer.flush()

    yield write
    writer.close()


def write_samples(directory: str, rows: pd.DataFrame, config: "TrainConfig") -> None:
    """Writes some images as the first epoch augments them, described by the malignant probability of each label.

    Args:
        directory: Directory of the fold.
        rows: Rows to train on.
        config: The configuration of the run.
    """
    # From one shard, since a record is found by reading those before it.
    shard_rows = rows[rows["shard"] == rows["shard"].iloc[0]]
    sampled = shard_rows.sample(min(_NUM_SAMPLES, len(shard_rows)), random_state=config.seed)
    samples = input_pipeline.in_file_order(sampled)
    dataset = input_pipeline.make_eval_dataset(
        samples, image_size=config.image_size, batch_size=len(samples), threads=config.threads
    )
    images, _ = next(iter(dataset))
    policy = policies.read_policy(config.augment_policy, config.augment_strength)
    first_epoch = tf.constant(0, tf.int64)
    first_copies = tf.zeros(len(samples), tf.int64)
    seeds = record_seeds.record_seed(record_seeds.hash_keys(samples), config.seed, first_epoch, first_copies)
    mixed, labels = augmenter.augment_few(images, tf.constant(samples["label"], tf.float32), seeds, policy)
    positive, _ = targets.name_groups(config.target)
    description = f"{positive}: " + ", ".join(f"{label:.2f}" for label in labels.numpy())
    writer = tf.summary.create_file_writer(directory)
    with writer.as_default(step=0):
        tf.summary.image("sample_batch", mixed, max_outputs=_NUM_SAMPLES, description=description)
    writer.close()
