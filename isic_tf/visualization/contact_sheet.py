"""Draws a contact sheet: records as the network sees them, original and augmented."""

import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import record_metadata, record_seeds
from isic_tf.visualization import image_sheet, record_images
from isic_tf.visualization.config import ShowConfig
from tfrecord_tools import schema
from tfrecord_tools.io import output_lock, record_index

_LOG = logging.getLogger(__name__)

# Images `[n, S, S, 3]`, float32 in [0, 1], and their captions, `[n]`.
Column = tuple[np.ndarray, list[str]]


@output_lock.locking("output")
def show(config: ShowConfig) -> str:
    """Draws a contact sheet: one row per image, the original, then its augmented versions.

    Args:
        config: `ShowConfig`.

    Returns:
        Path of the picture.

    Raises:
        ConfigError: `output` is not a picture, or the policy is invalid.
        IsicError: No shard matches, a name is not in the records, or a shard is corrupt.

    Examples:
        >>> show(ShowConfig(records="records/384/train*.tfrec", output="sheet.png"))  # doctest: +SKIP
        'sheet.png'
    """
    image_sheet.check_output(config.output)
    policy = policies.read_policy(config.augment_policy, config.augment_strength)
    records = record_metadata.list_records(record_index.match_shards(config.records))
    rows = record_images.choose_records(records, config.images, config.names, config.seed)
    batch = record_images.load_images(rows, config.image_size)
    labels = record_images.read_labels(rows)
    captions = [f"{name}\n{image_sheet.LABELS[label]}" for name, label in zip(rows["image_name"], labels, strict=True)]
    columns = [(batch / np.float32(255), captions)]
    title = ""
    content = f"{len(rows)} images"
    if config.augment:
        columns += augment_versions(batch, labels, rows["image_name"], policy, config.versions, config.seed)
        title = f"{config.augment_policy}, strength {config.augment_strength:g}"
        content = f"{len(rows)} images and {config.versions} versions of each"
    draw_contact_sheet(config.output, columns, title)
    _LOG.info(f"wrote {content} to {config.output}")
    return config.output


def augment_versions(
    batch: np.ndarray,
    labels: Sequence[int],
    names: Sequence[str],
    policy: policies.Policy,
    versions: int,
    seed: int,
) -> list[Column]:
    """Augments a batch as the first epochs of a training would.

    Args:
        batch: uint8 `[n, S, S, 3]`.
        labels: 0, 1 or -1 (unknown), `[n]`.
        names: Names of the images, `[n]`.
        policy: See `policies.read_policy`.
        versions: Number of epochs.
        seed: Seed of the run.

    Returns:
        One pair per epoch: images and captions, see `draw_contact_sheet`.
    """
    keys = tf.strings.to_hash_bucket_fast(tf.constant(list(names)), 2**62)
    # The fraction of an unknown label has no meaning.
    all_known = min(labels) > schema.UNKNOWN
    found = []
    for epoch in range(versions):
        zero = tf.constant(0, tf.int64)
        seeds = tf.stack([record_seeds.record_seed(key, seed, zero + epoch, zero) for key in keys])
        images, mixed = augmenter.augment_few(batch, tf.constant(labels, tf.float32), seeds, policy)
        captions = []
        for fraction, label in zip(mixed, labels, strict=True):
            is_mixed = all_known and fraction != label
            captions.append(f"epoch {epoch + 1}\n{f'{fraction:.2f} malignant' if is_mixed else ''}")
        found.append((images.numpy(), captions))
    return found


def draw_contact_sheet(output: str, columns: Sequence[Column], title: str) -> str:
    """Draws the sheet; originals alone are laid out in a square.

    Args:
        output: Picture to write: .png, .jpg or .pdf.
        columns: Pairs of images (float32 `[n, S, S, 3]` in [0, 1]) and the captions below them (`[n]`).
        title: Text at the top; "" for none.

    Returns:
        `output`.

    Raises:
        ConfigError: `output` ends otherwise.
    """
    pictures = []
    for row in range(len(columns[0][0])):
        pictures += [image_sheet.CaptionedImage(images[row], captions[row]) for images, captions in columns]
    per_row = len(columns) if len(columns) > 1 else int(np.ceil(len(pictures) ** 0.5))
    return image_sheet.draw_sheet(output, pictures, per_row, title)
