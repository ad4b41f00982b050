"""What an epoch of training is: batches in, a loss, and a verdict on the held-out images."""

import math

from tqdm import tqdm

from isic_tf import pipeline
from tfrecord_tools import storage


def make_batches(strategy, plan, images, recipe, start):
    """Starts the stream of training batches at its record `start`, each replica with its share of the global batch."""

    def input_fn(context):
        return pipeline.train_dataset(
            plan.rows,
            plan.quotas,
            image_size=recipe["image_size"],
            batch_size=context.get_per_replica_batch_size(recipe["global_batch_size"]),
            seed=recipe["seed"],
            threads=recipe["threads"],
            start=start,
            num_workers=context.num_input_pipelines,
            worker=context.input_pipeline_id,
            shuffle_buffer=recipe["shuffle_buffer"],
            images=images,
        )

    return iter(strategy.distribute_datasets_from_function(input_fn))


def describe_shuffle(rows, recipe, images):
    """Says how many records the shuffle holds, and about how much memory they take."""
    count = min(recipe["shuffle_buffer"], len(rows))
    shards = set(rows["shard"])
    size = 0 if images else count * sum(map(storage.size, shards)) / len(rows)
    return f"shuffling {count} records at a time, at most {size / 1e6:.0f} MB"


def run(step, state, batches, steps, label, pause=lambda step: None):
    """Runs what is left of an epoch.

    Args:
        step: See `optimize.make_train_step`.
        state: See `checkpoints.make_state`.
        batches: Iterator of distributed batches from the state's step on.
        steps: Steps of an epoch.
        label: Text before the progress bar.
        pause: Function to call after each step, with the number of steps done since the run began.

    Returns:
        The epoch's mean loss, and the steps that were run.

    Raises:
        ValueError: The loss is no finite number.
    """
    first, before = int(state.epoch) * steps, int(state.step)
    # Counted here, since a look at the state's own number would wait for the device.
    numbers = range(before + 1, first + steps + 1)
    for number in tqdm(numbers, label, steps, initial=before - first, leave=False, unit="step", disable=None):
        step(batches)
        pause(number)
    loss = float(state.loss) / steps
    if not math.isfinite(loss):
        raise ValueError(f"the loss of {label} is {loss}; start anew with a lower --learning_rate")
    return loss, len(numbers)


def judge(predict, held_out, recipe, images=None, pause=lambda: None):
    """Predicts the held-out rows; gives them with a column `prediction`. Calls `pause` after each batch."""
    if held_out.empty:
        return held_out.assign(prediction=[])
    dataset = pipeline.eval_dataset(
        held_out,
        image_size=recipe["image_size"],
        batch_size=recipe["global_batch_size"],
        threads=recipe["threads"],
        images=images,
    )
    found = {}
    for names, scores in predict(dataset):
        found.update(zip(names, scores, strict=True))
        pause()
    missing = [name for name in held_out["image_name"] if name not in found]
    if missing:
        raise ValueError(f"{len(missing)} images of the index are not in its shards, {missing[0]} first; index again")
    table = held_out.assign(prediction=[found[name] for name in held_out["image_name"]])
    if not table["prediction"].between(0, 1).all():
        raise ValueError("the network predicts values that are no number; start anew with a lower --learning_rate")
    return table


def is_past_best(history, patience):
    """Tells whether the best ROC AUC is `patience` epochs old; never where that is 0."""
    aucs = [row["auc"] for row in history if "auc" in row]
    return 0 < patience <= len(aucs) - 1 - aucs.index(max(aucs)) if aucs else False


def describe_epoch(name, epochs, history, speed):
    """Says in a line how the last epoch went."""
    row, aucs = history[-1], [row["auc"] for row in history if "auc" in row]
    verdict = f"  auc {aucs[-1]:.4f}  best {max(aucs):.4f}" if aucs else ""
    return f"{name} epoch {row['epoch']}/{epochs}  loss {row['loss']:.4f}{verdict}  {speed:.0f} images/s"


def average_batch_statistics(classifier):
    """Sets every replica's moving statistics to their mean.

    They drift apart, and a saved model holds their mean: without this, the figures would be those of another model
    than the one that is kept.
    """
    for variable in classifier.non_trainable_variables:
        variable.assign(variable.read_value())
