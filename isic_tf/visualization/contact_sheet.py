"""Draws a contact sheet of records, original and augmented."""

import dataclasses
import itertools
import logging
import os

import numpy as np
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies, presets
from isic_tf.data import record_metadata, record_seeds
from isic_tf.visualization import record_images
from tfrecord_tools import cli, errors, schema
from tfrecord_tools.io import atomic_write, filesystem, record_index

_LOG = logging.getLogger(__name__)

# Inches of a picture on the sheet, which is drawn at 100 dots an inch.
_SIDE = 1.9
_LABELS = {schema.UNKNOWN: "no label", 0: "benign", 1: "malignant"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig(cli.Config):
    """Which records to show."""

    records: str = cli.option(help="Glob pattern of shards, in quotes; separate several with commas.")
    output: str = cli.option(help="Image file to write: .png, .jpg or .pdf.")
    images: int = cli.option(8, lower=1, upper=200, help="Number of records, sampled from all shards.")
    names: str = cli.option("", help="Image names to show instead, separated by commas.")
    image_size: int = cli.option(256, lower=32, upper=4096, help="Side of the square input images, in pixels.")
    augment: bool = cli.option(False, help="Show augmented versions beside each image.")
    versions: int = cli.option(6, lower=1, upper=30, help="Number of augmented versions: those of the first epochs.")
    augment_policy: str = cli.option(
        "light", help=f"Augmentation policy: {', '.join(presets.PRESETS)}, or the path of a JSON file."
    )
    augment_strength: float = cli.option(
        1.0, lower=0.0, upper=5.0, help="Factor on the strength of the augmentation policy; 0 disables augmentation."
    )
    seed: int = cli.option(
        0, lower=0, upper=2**31 - 1, help="Seed of the run whose augmentation is shown, and of the sample of records."
    )


def show(config):
    """Writes the sheet: a row for each image, the original first, then its augmented versions.

    Args:
        config: `ShowConfig`.

    Raises:
        IsicError: No shard matches, a name is not there, a shard is corrupt, or the policy is none.
    """
    if os.path.splitext(config.output)[1].lower() not in (".png", ".jpg", ".pdf"):
        raise errors.IsicError(f"expected --output to end in .png, .jpg or .pdf, got {config.output!r}")
    policy = policies.read_policy(config.augment_policy, config.augment_strength)
    rows = record_images.choose_records(
        record_metadata.list_records(record_index.match_shards(config.records)),
        config.images,
        config.names,
        config.seed,
    )
    batch, labels = record_images.load_images(rows, config.image_size), record_images.read_labels(rows)
    captions = [f"{name}\n{_LABELS[label]}" for name, label in zip(rows["image_name"], labels, strict=True)]
    columns = [(batch / np.float32(255), captions)]
    if config.augment:
        columns += augment_versions(batch, labels, rows["image_name"], policy, config.versions, config.seed)
    draw_contact_sheet(
        config.output,
        columns,
        f"{config.augment_policy}, strength {config.augment_strength:g}" if config.augment else "",
    )
    _LOG.info(
        f"wrote {len(rows)} images{f' and {config.versions} versions of each' if config.augment else ''} to {config.output}"
    )


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
