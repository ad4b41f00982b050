"""Draws a contact sheet of records, original and augmented."""

import itertools
import os

import numpy as np
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import record_metadata, record_seeds
from isic_tf.visualization import record_images
from tfrecord_tools import schema
from tfrecord_tools.io import atomic_write, filesystem, record_index

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
        augment_policy: See `policies.read_policy`.
        augment_strength: See `policies.read_policy`.
        seed: The run's seed, so that the versions are those of its first epochs.

    Raises:
        ValueError: No shard matches, a name is not there, a shard is corrupt, or the policy is none.
    """
    if os.path.splitext(output)[1].lower() not in (".png", ".jpg", ".pdf"):
        raise ValueError(f"expected --output to end in .png, .jpg or .pdf, got {output!r}")
    policy = policies.read_policy(augment_policy, augment_strength)
    rows = record_images.choose_records(
        record_metadata.list_records(record_index.match_shards(records)), images, names, seed
    )
    batch, labels = record_images.load_images(rows, image_size), record_images.read_labels(rows)
    captions = [f"{name}\n{_LABELS[label]}" for name, label in zip(rows["image_name"], labels, strict=True)]
    columns = [(batch / np.float32(255), captions)]
    if augment:
        columns += augment_versions(batch, labels, rows["image_name"], policy, versions, seed)
    draw_contact_sheet(output, columns, f"{augment_policy}, strength {augment_strength:g}" if augment else "")
    print(f"wrote {len(rows)} images{f' and {versions} versions of each' if augment else ''} to {output}")


def augment_versions(batch, labels, names, policy, versions, seed):
    """Augments a batch as so many epochs of training would; gives a list of images and captions, see `draw`."""
    keys = tf.strings.to_hash_bucket_fast(tf.constant(list(names)), 2**62)
    function = augmenter.make_augment(policy)
    found = []
    for epoch in range(versions):
        zero = tf.constant(0, tf.int64)
        seeds = tf.stack([record_seeds.record_seed(key, seed, zero + epoch, zero) for key in keys])
        images, mixed = function(batch, tf.constant(labels, tf.float32), seeds)
        texts = [f"{share:.2f} malignant" if share != label else "" for share, label in zip(mixed, labels, strict=True)]
        # A share of an unknown label means nothing.
        texts = [text if min(labels) >= 0 else "" for text in texts]
        found.append((images.numpy(), [f"epoch {epoch + 1}\n{text}" for text in texts]))
    return found


def draw_contact_sheet(output, columns, title):
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
    with atomic_write.replaced(output) as temporary, filesystem.open(temporary, "wb") as file:
        figure.savefig(file, format=os.path.splitext(output)[1][1:].lower())
