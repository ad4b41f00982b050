"""Distributes the stream of training batches over replicas."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import (
    clinical_metadata,
    input_pipeline,
    mixture,
    patient_bags,
    record_loading,
    record_stream,
    targets,
)
from tfrecord_tools.io import filesystem

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig


def make_batches(
    strategy: tf.distribute.Strategy,
    plan: mixture.Plan,
    images: record_loading.ImageReader | None,
    config: "TrainConfig",
    start: int,
    convert: Callable[..., tuple[tf.Tensor, ...]] | None = None,
) -> Iterator[Any]:
    """Creates the stream of training batches; each replica receives its share of the global batch.

    Args:
        strategy: See `strategies.choose_strategy`.
        plan: See `mixture.plan_fold`.
        images: Reader of decoded images, see `image_cache.open_images`; None to decode the records.
        config: The configuration of the run.
        start: Record of the stream to start at, from 0.
        convert: Applied on the host to the images, labels and seeds of each batch of a replica; None for none.

    Returns:
        Iterator of distributed batches: images, uint8 `[b, S, S, 3]`; labels, float32 `[b, c + m]`, with c classes and
        m values of clinical metadata and, for patient context, the patient; and seeds, int64 `[b, 2]`.
    """
    columns = [
        targets.label(plan.rows, config.target, config.class_set),
        clinical_metadata.encode(plan.rows, config.metadata),
    ]
    if config.context == "set":
        columns.append(patient_bags.encode_patients(plan.rows)[:, None])
    labels = np.concatenate(columns, axis=1)

    def input_fn(context: tf.distribute.InputContext) -> tf.data.Dataset:
        dataset = input_pipeline.make_train_dataset(
            plan.rows,
            plan.samples_per_epoch,
            image_size=config.image_size,
            batch_size=context.get_per_replica_batch_size(config.global_batch_size),
            seed=config.seed,
            labels=labels,
            images=images,
            threads=config.threads,
            stream=record_stream.StreamOptions(
                start=start,
                num_workers=context.num_input_pipelines,
                worker=context.input_pipeline_id,
                shuffle_buffer=config.shuffle_buffer,
                bag_size=patient_bags.size(config),
            ),
        )
        return dataset.map(convert) if convert else dataset

    return iter(strategy.distribute_datasets_from_function(input_fn))


def describe_shuffle(rows: pd.DataFrame, config: "TrainConfig", is_cached: bool) -> str:
    """Describes how many records the shuffle buffer holds, and about how much memory they take.

    Args:
        rows: Rows to train on.
        config: The configuration of the run.
        is_cached: Whether images come from a cache; then the buffer holds only their numbers.

    Returns:
        Text such as "shuffling 2048 records at a time, at most 210 MB".
    """
    count = config.shuffle_buffer
    if config.context == "set":
        # Bags are shuffled once more, and incomplete bags wait.
        count = 2 * count + (config.bag_size - 1) * rows["patient_id"].nunique()
    count = min(count, len(rows))
    bytes_of_shards = 0 if is_cached else sum(filesystem.size(shard) for shard in rows["shard"].unique())
    return f"shuffling {count} records at a time, at most {count * bytes_of_shards / len(rows) / 1e6:.0f} MB"
