"""What TensorBoard shows of a fold: figures by epoch, a sample batch, and a profile of some steps."""

import contextlib
import re

import tensorflow as tf

from isic_tf import augment, pipeline, policies

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


def write_samples(folder, rows, recipe):
    """Writes some images as the first epoch augments them, the malignant share of each as its description.

    Args:
        folder: Folder of the fold.
        rows: Rows to train on.
        recipe: Dict of the recipe's flags.
    """
    # Of one shard, since a record is found by reading those before it.
    rows = rows[rows["shard"] == rows["shard"].iloc[0]]
    rows = pipeline.in_file_order(rows.sample(min(_SAMPLES, len(rows)), random_state=recipe["seed"]))
    options = {"image_size": recipe["image_size"], "batch_size": len(rows), "threads": recipe["threads"]}
    images, _ = next(iter(pipeline.eval_dataset(rows, **options)))
    policy = policies.read(recipe["augment_policy"], recipe["augment_strength"])
    zero = tf.constant(0, tf.int64)
    seeds = pipeline.record_seed(pipeline.hash_keys(rows), recipe["seed"], zero, tf.zeros(len(rows), tf.int64))
    params = augment.sample(seeds, policy)
    # Not compiled: once, a few images take less time than the compiler.
    images = augment.apply(images, params, policy.get("fill", "reflect"))
    images, labels = augment.mix(images, tf.constant(rows["label"], tf.float32), params)
    text = "malignant: " + ", ".join(f"{label:.2f}" for label in labels.numpy())
    writer = tf.summary.create_file_writer(folder)
    with writer.as_default(step=0):
        tf.summary.image("sample_batch", images, max_outputs=_SAMPLES, description=text)
    writer.close()


def parse_profile(text):
    """Reads `--profile`.

    Returns:
        First and last step to profile, from 1; None for "".

    Raises:
        ValueError: It is not two whole numbers of steps, the first from 1 and below the second.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    steps = tuple(map(int, match.groups())) if match else (0, 0)
    if not 0 < steps[0] < steps[1]:
        raise ValueError(f"expected --profile=FIRST:LAST, steps from 1, as in 10:20, got {text!r}")
    return steps


@contextlib.contextmanager
def profiling(folder, steps, done=0):
    """Writes a profile of some steps for TensorBoard into a fold's folder, and says of which.

    Args:
        folder: Folder of the fold.
        steps: See `parse_profile`.
        done: Steps done before.

    Yields:
        Function to call between steps, with the numbers of steps done before and now.
    """
    first = last = None

    def watch(before, now):
        nonlocal first, last
        last = now
        if steps and first is None and steps[0] <= now + 1 <= steps[1]:
            tf.profiler.experimental.start(folder)
            first = now + 1
        elif first and now >= steps[1]:
            stop()

    def stop():
        nonlocal first
        tf.profiler.experimental.stop()
        print(f"\n  profile of steps {first} to {last} written to {folder}/plugins/profile", flush=True)
        first = 0

    # The first step's profile begins before it.
    watch(done, done)
    try:
        yield watch
    finally:
        if first:
            stop()
    if steps and first is None:
        wanted = f"steps {steps[0]} to {steps[1]}"
        print(f"\n  no profile: {wanted} are not among those from {done + 1} to {last}", flush=True)
