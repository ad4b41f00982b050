"""Detects divergence and names the batch that caused it."""

import numpy as np

from isic_tf.data import input_pipeline, patient_bags, record_seeds
from tfrecord_tools import errors

# Of a batch that is to blame.
_MOST_NAMES = 64


def refuse_divergence(state, plan, config, name, newest):
    """Raises an IsicError where the loss was no number or beyond all bounds: the step, its images, and the way back.

    Args:
        state: See `train_state.make_state`.
        plan: See `mixture.plan_fold`.
        config: The configuration.
        name: Name of the fold.
        newest: Path of the last checkpoint, or None.
    """
    step = int(state.bad_step)
    if step < 0:
        return
    names = name_batch(plan.rows, plan.quotas, config, step)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    raise errors.DivergenceError(
        f"the training of {name} diverged at step {step}: loss or gradients are no number or beyond all bounds. "
        f"Batch: {', '.join(names[:_MOST_NAMES])}{more}. "
        + (f"The last good checkpoint is {newest}. " if newest else "There is no checkpoint yet. ")
        + "Look at these images, or start anew in another --workdir with a lower --learning_rate or with --clip_norm=1"
    )


def name_batch(rows, quotas, config, step):
    """Finds the names of a step's images, of all replicas and workers, without reading them.

    Args:
        rows: See `input_pipeline.make_train_dataset`.
        quotas: See `input_pipeline.make_train_dataset`.
        config: The configuration.
        step: Number of the step, from 1.

    Returns:
        List of text.
    """
    batch_size = config.global_batch_size
    dataset = input_pipeline.make_train_dataset(
        rows,
        quotas,
        image_size=1,
        batch_size=batch_size,
        seed=config.seed,
        threads=1,
        start=(step - 1) * batch_size,
        shuffle_buffer=config.shuffle_buffer,
        bag_size=patient_bags.size(config),
        # The order is that of the run, wherever the images come from.
        images=lambda numbers: np.zeros((len(numbers), 1, 1, 3), np.uint8),
    )
    _, _, seeds = next(iter(dataset))
    names = dict(zip(record_seeds.hash_keys(rows).numpy(), rows["image_name"], strict=True))
    return [names[key] for key in seeds.numpy()[:, 1]]
