"""Draws a contact sheet: what the model sees of some records, as they are and augmented.

python -m isic_tf.show --records='records/384/train*.tfrec' --augment --augment_policy=strong --output=sheet.png
"""

import itertools
import os

import numpy as np
import tensorflow as tf
from absl import flags

from isic_tf import augment, listing, pipeline, policies
from isic_tf import records as shards
from tfrecord_tools import command, schema, storage

# Inches of a picture on the sheet, which is drawn at 100 dots an inch.
_SIDE = 1.9
_LABELS = {schema.UNKNOWN: "no label", 0: "benign", 1: "malignant"}


def show(records, output, images, image_size, names, augment, versions, augment_policy, augment_strength, seed):
    """Writes the sheet: a row for each image, the original first, then its augmented versions.

    Args:
        records: Glob pattern of shards, or several separated by commas.
        output: Picture to write, `.png`, `.jpg` or `.pdf`.
        images: Number of records, drawn evenly from all shards.
        image_size: Side of the model's input in pixels.
        names: Image names to show instead, separated by commas; or "".
        augment: Whether to show augmented versions.
        versions: Number of versions, those of as many epochs.
        augment_policy: See `policies.read`.
        augment_strength: See `policies.read`.
        seed: The run's seed, so that the versions are those of its first epochs.

    Raises:
        ValueError: No shard matches, a name is not there, a shard is corrupt, or the policy is none.
    """
    if os.path.splitext(output)[1].lower() not in (".png", ".jpg", ".pdf"):
        raise ValueError(f"expected --output to end in .png, .jpg or .pdf, got {output!r}")
    policy = policies.read(augment_policy, augment_strength)
    rows = choose(listing.list_records(schema.match(records)), images, names, seed)
    batch, labels = load(rows, image_size), read_labels(rows)
    captions = [f"{name}\n{_LABELS[label]}" for name, label in zip(rows["image_name"], labels, strict=True)]
    columns = [(batch / np.float32(255), captions)]
    if augment:
        columns += augmented(batch, labels, rows["image_name"], policy, versions, seed)
    draw(output, columns, f"{augment_policy}, strength {augment_strength:g}" if augment else "")
    print(f"wrote {len(rows)} images{f' and {versions} versions of each' if augment else ''} to {output}")


def choose(rows, count, names, seed):
    """Gives the rows of the named images, or of some drawn from all shards."""
    if names:
        wanted = [name.strip() for name in names.split(",") if name.strip()]
        missing = sorted(set(wanted) - set(rows["image_name"]))
        if missing:
            raise ValueError(f"{len(missing)} images of --names are not in these records, {missing[0]} first")
        return rows[rows["image_name"].isin(wanted)]
    return rows.sample(min(count, len(rows)), random_state=seed).sort_index()


def load(rows, image_size):
    """Reads and decodes records; gives uint8 `[n, S, S, 3]` in the order of the rows."""
    dataset = pipeline.eval_dataset(rows, image_size=image_size, batch_size=len(rows), threads=pipeline.count_cores())
    with shards.explained(list(rows["shard"].unique())):
        return next(iter(dataset))[0].numpy()


def read_labels(rows):
    """Looks up labels in the indexes beside the shards; -1 where there is none, and for test records always."""
    labels = {}
    for folder in {os.path.dirname(shard) for shard in rows["shard"]}:
        if storage.exists(os.path.join(folder, "train.index.csv")):
            index = schema.read_index(folder, "train")
            labels |= dict(zip(zip(index["shard"], index["image_name"], strict=True), index["target"], strict=True))
    return [labels.get(key, schema.UNKNOWN) for key in zip(rows["shard"], rows["image_name"], strict=True)]


def augmented(batch, labels, names, policy, versions, seed):
    """Augments a batch as so many epochs of training would; gives a list of images and captions, see `draw`."""
    keys = tf.strings.to_hash_bucket_fast(tf.constant(list(names)), 2**62)
    function = augment.make_augment(policy)
    found = []
    for epoch in range(versions):
        zero = tf.constant(0, tf.int64)
        seeds = tf.stack([pipeline.record_seed(key, seed, zero + epoch, zero) for key in keys])
        images, mixed = function(batch, tf.constant(labels, tf.float32), seeds)
        texts = [f"{share:.2f} malignant" if share != label else "" for share, label in zip(mixed, labels, strict=True)]
        # A share of an unknown label means nothing.
        texts = [text if min(labels) >= 0 else "" for text in texts]
        found.append((images.numpy(), [f"epoch {epoch + 1}\n{text}" for text in texts]))
    return found


def draw(output, columns, title):
    """Draws the sheet.

    Args:
        output: Picture to write.
        columns: List of pairs: float32 `[n, S, S, 3]` in [0, 1], and the `[n]` texts under them.
        title: Text over the augmented columns.
    """
    from matplotlib.figure import Figure

    pictures = [pair for row in zip(*[zip(*column, strict=True) for column in columns], strict=True) for pair in row]
    # Originals alone are laid out in a square.
    wide = len(columns) if len(columns) > 1 else int(np.ceil(len(pictures) ** 0.5))
    tall = -(-len(pictures) // wide)
    figure = Figure(figsize=(_SIDE * wide, (_SIDE + 0.35) * tall + 0.4), dpi=100, layout="constrained")
    axes = figure.subplots(tall, wide, squeeze=False)
    for axis, picture in itertools.zip_longest(axes.flat, pictures):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if picture:
            axis.imshow(np.clip(picture[0], 0, 1))
            # Names are data: no dollar sign in them may start a formula.
            axis.set_xlabel(picture[1], fontsize=8, parse_math=False)
    figure.suptitle(title, fontsize=10, parse_math=False)
    with command.replaced(output) as temporary, storage.open(temporary, "wb") as file:
        figure.savefig(file, format=os.path.splitext(output)[1][1:].lower())


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("output", None, "Picture to write: .png, .jpg or .pdf.")
    flags.DEFINE_integer("images", 8, "Number of records, drawn evenly from all shards.", 1, 200)
    flags.DEFINE_string("names", "", "Image names to show instead, separated by commas.")
    flags.DEFINE_integer("image_size", 256, "Side of the model's input, pixels.", 32, 4096)
    flags.DEFINE_bool("augment", False, "Show augmented versions beside each image.")
    flags.DEFINE_integer("versions", 6, "Number of augmented versions, those of as many epochs.", 1, 30)
    flags.DEFINE_string("augment_policy", "light", f"One of {', '.join(policies.PRESETS)}, or a JSON file.")
    flags.DEFINE_float("augment_strength", 1.0, "Factor on the policy's strengths; 0: no augmentation.", 0.0, 5.0)
    flags.DEFINE_integer("seed", 0, "The run's seed.", 0, 2**31 - 1)
    flags.mark_flags_as_required(["records", "output"])


if __name__ == "__main__":
    command.run(show, define_flags)
