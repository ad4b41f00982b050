"""What an epoch of training is: batches in, a loss, and a verdict on the held-out images."""

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from isic_tf import bags, metadata, pipeline, targets
from tfrecord_tools import storage

# Steps between looks at whether the loss is still a number; each look waits for the device.
_CHECK_STEPS = 100
# Of a batch that is to blame.
_MOST_NAMES = 64


def make_batches(strategy, plan, images, recipe, start):
    """Starts the stream of training batches at its record `start`, each replica with its share of the global batch."""
    labels = [targets.label(plan.rows, recipe["target"]), metadata.encode(plan.rows, recipe["metadata"])]
    if recipe["context"] == "set":
        labels.append(bags.patient_codes(plan.rows)[:, None])
    labels = np.concatenate(labels, axis=1)

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
            labels=labels,
            bag_size=bags.size(recipe),
        )

    return iter(strategy.distribute_datasets_from_function(input_fn))


def describe_shuffle(rows, recipe, images):
    """Says how many records the shuffle holds, and about how much memory they take."""
    count, shards = recipe["shuffle_buffer"], set(rows["shard"])
    if recipe["context"] == "set":
        # Bags are shuffled once more, and those that are not full wait.
        count = 2 * count + (recipe["bag_size"] - 1) * rows["patient_id"].nunique()
    count = min(count, len(rows))
    size = 0 if images else count * sum(map(storage.size, shards)) / len(rows)
    return f"shuffling {count} records at a time, at most {size / 1e6:.0f} MB"


def run(step, state, batches, steps, label, *, chunk=1, pauses=(), check=lambda: None):
    """Runs what is left of an epoch.

    Args:
        step: See `optimize.make_train_step`.
        state: See `checkpoints.make_state`.
        batches: Iterator of distributed batches from the state's step on.
        steps: Steps of an epoch.
        label: Text before the progress bar.
        chunk: Steps that the device takes without asking the host.
        pauses: Functions to call between steps, with the numbers of steps done since the run began, before and now.
        check: Function to call now and then, which raises where the training has diverged.

    Returns:
        Dict of the epoch's mean `loss` and `gradient_norm`; the steps that were run; and the seconds waited for input.
    """
    first, now = int(state.epoch) * steps, int(state.step)
    # Counted here, since a look at the state's own number would wait for the device.
    start, last, waited = now, first + steps, []
    with tqdm(desc=label, total=steps, initial=now - first, leave=False, unit="step", disable=None) as progress:
        while now < last:
            before, now = now, min(now + chunk, last)
            waited.append(step(batches, now - before))
            progress.update(now - before)
            if now // _CHECK_STEPS > before // _CHECK_STEPS:
                check()
            for pause in pauses:
                pause(before, now)
    check()
    figures = {"loss": float(state.loss) / steps, "gradient_norm": float(state.gradient_norm) / steps}
    return figures, last - start, float(tf.add_n(waited)) if waited else 0.0


def refuse_divergence(state, plan, recipe, name, newest):
    """Raises a ValueError where the loss was no number or beyond all bounds: the step, its images, and the way back.

    Args:
        state: See `checkpoints.make_state`.
        plan: See `mixture.plan_fold`.
        recipe: Dict of the recipe's flags.
        name: Name of the fold.
        newest: Path of the last checkpoint, or None.
    """
    step = int(state.bad_step)
    if step < 0:
        return
    names = name_batch(plan.rows, plan.quotas, recipe, step)
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    raise ValueError(
        f"the training of {name} diverged at step {step}: loss or gradients are no number or beyond all bounds. "
        f"Batch: {', '.join(names[:_MOST_NAMES])}{more}. "
        + (f"The last good checkpoint is {newest}. " if newest else "There is no checkpoint yet. ")
        + "Look at these images, or start anew in another --workdir with a lower --learning_rate or with --clip_norm=1"
    )


def name_batch(rows, quotas, recipe, step):
    """Finds the names of a step's images, of all replicas and workers, without reading them.

    Args:
        rows: See `pipeline.train_dataset`.
        quotas: See `pipeline.train_dataset`.
        recipe: Dict of the recipe's flags.
        step: Number of the step, from 1.

    Returns:
        List of text.
    """
    batch_size = recipe["global_batch_size"]
    dataset = pipeline.train_dataset(
        rows,
        quotas,
        image_size=1,
        batch_size=batch_size,
        seed=recipe["seed"],
        threads=1,
        start=(step - 1) * batch_size,
        shuffle_buffer=recipe["shuffle_buffer"],
        bag_size=bags.size(recipe),
        # The order is that of the run, wherever the images come from.
        images=lambda numbers: np.zeros((len(numbers), 1, 1, 3), np.uint8),
    )
    _, _, seeds = next(iter(dataset))
    names = dict(zip(pipeline.hash_keys(rows).numpy(), rows["image_name"], strict=True))
    return [names[key] for key in seeds.numpy()[:, 1]]


def judge(predict, held_out, recipe, images=None, pause=lambda: None):
    """Predicts the held-out rows; gives them with a column `prediction`. Calls `pause` after each batch."""
    if held_out.empty:
        return held_out.assign(prediction=[])
    dataset = pipeline.eval_dataset(
        held_out,
        image_size=recipe["image_size"],
        # No more at once than training has on the devices.
        batch_size=recipe["global_batch_size"] // recipe["accumulate"],
        threads=recipe["threads"],
        images=images,
        known=metadata.encode(held_out, recipe["metadata"]) if recipe["metadata"] else None,
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
    """Says in a line how the last epoch went, and how many images a second were trained on."""
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
