"""Writes TensorBoard events."""

import contextlib

import tensorflow as tf

from isic_tf.augmentation import augmenter, mixup, policies, random_parameters
from isic_tf.data import input_pipeline, record_seeds

# What of a history's row is drawn, under which name.
_SCALARS = {
    "loss": "train/loss",
    "gradient_norm": "train/gradient_norm",
    "learning_rate": "train/learning_rate",
    "auc": "held_out/auc",
    "partial_auc": "held_out/partial_auc_above_80_sensitivity",
}
_SAMPLES = 8


@contextlib.contextmanager
def writing(folder):
    """Opens an events file in a fold's folder; None for none.

    Yields:
        Function to call at an epoch's end, with its row of the history, images/s, and the share of time that was waited
        for input, None where it was not measured.
    """
    if folder is None:
        yield lambda row, speed, waited: None
        return
    writer = tf.summary.create_file_writer(folder)

    def write(row, speed, waited):
        figures = {label: row[name] for name, label in _SCALARS.items() if name in row}
        figures |= {"speed/images_per_second": speed}
        if waited is not None:
            figures["speed/share_of_time_waiting_for_input"] = waited
        with writer.as_default(step=row["epoch"]):
            for label, value in figures.items():
                tf.summary.scalar(label, value)
        writer.flush()

    yield write
    writer.close()


def write_samples(folder, rows, config):
    """Writes some images as the first epoch augments them, the malignant share of each as its description.

    Args:
        folder: Folder of the fold.
        rows: Rows to train on.
        config: The configuration.
    """
    # Of one shard, since a record is found by reading those before it.
    rows = rows[rows["shard"] == rows["shard"].iloc[0]]
    rows = input_pipeline.in_file_order(rows.sample(min(_SAMPLES, len(rows)), random_state=config.seed))
    options = {"image_size": config.image_size, "batch_size": len(rows), "threads": config.threads}
    images, _ = next(iter(input_pipeline.make_eval_dataset(rows, **options)))
    policy = policies.read_policy(config.augment_policy, config.augment_strength)
    zero = tf.constant(0, tf.int64)
    seeds = record_seeds.record_seed(record_seeds.hash_keys(rows), config.seed, zero, tf.zeros(len(rows), tf.int64))
    params = random_parameters.sample_parameters(seeds, policy)
    # Not compiled: once, a few images take less time than the compiler.
    images = augmenter.apply(images, params, policy.get("fill", "reflect"))
    images, labels = mixup.mix(images, tf.constant(rows["label"], tf.float32), params)
    text = "malignant: " + ", ".join(f"{label:.2f}" for label in labels.numpy())
    writer = tf.summary.create_file_writer(folder)
    with writer.as_default(step=0):
        tf.summary.image("sample_batch", images, max_outputs=_SAMPLES, description=text)
    writer.close()
