"""Distributes the stream of training batches over replicas."""

import numpy as np

from isic_tf.data import clinical_metadata, input_pipeline, patient_bags, targets
from tfrecord_tools.io import filesystem


def make_batches(strategy, plan, images, config, start):
    """Starts the stream of training batches at its record `start`, each replica with its share of the global batch."""
    labels = [targets.label(plan.rows, config.target), clinical_metadata.encode(plan.rows, config.metadata)]
    if config.context == "set":
        labels.append(patient_bags.encode_patients(plan.rows)[:, None])
    labels = np.concatenate(labels, axis=1)

    def input_fn(context):
        return input_pipeline.make_train_dataset(
            plan.rows,
            plan.quotas,
            image_size=config.image_size,
            batch_size=context.get_per_replica_batch_size(config.global_batch_size),
            seed=config.seed,
            threads=config.threads,
            start=start,
            num_workers=context.num_input_pipelines,
            worker=context.input_pipeline_id,
            shuffle_buffer=config.shuffle_buffer,
            images=images,
            labels=labels,
            bag_size=patient_bags.size(config),
        )

    return iter(strategy.distribute_datasets_from_function(input_fn))


def describe_shuffle(rows, config, images):
    """Says how many records the shuffle holds, and about how much memory they take."""
    count, shards = config.shuffle_buffer, set(rows["shard"])
    if config.context == "set":
        # Bags are shuffled once more, and those that are not full wait.
        count = 2 * count + (config.bag_size - 1) * rows["patient_id"].nunique()
    count = min(count, len(rows))
    size = 0 if images else count * sum(map(filesystem.size, shards)) / len(rows)
    return f"shuffling {count} records at a time, at most {size / 1e6:.0f} MB"
