"""Draws a sheet of images with their Grad-CAM maps."""

import dataclasses
import itertools
import logging
import os

from isic_tf.visualization import grad_cam, record_images
from tfrecord_tools import cli, errors, schema
from tfrecord_tools.io import atomic_write, filesystem

_LOG = logging.getLogger(__name__)

# Inches of a picture on the sheet, which is drawn at 100 dots an inch.
_SIDE = 1.9
_LABELS = {schema.UNKNOWN: "no label", 0: "benign", 1: "malignant"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig(cli.Config):
    """Which images to explain."""

    workdir: str = cli.option(help="Run directory with at least one trained fold.")
    records: str = cli.option(help="Glob pattern of shards, in quotes; separate several with commas.")
    output: str = cli.option(help="Image file to write: .png, .jpg or .pdf.")
    images: int = cli.option(12, lower=1, upper=200, help="Number of records, sampled from all shards.")
    names: str = cli.option("", help="Image names to explain instead, separated by commas.")
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of the sample of records.")


def explain(config):
    """Writes a contact sheet: each image, its Grad-CAM map, the probability.

    Args:
        config: `ExplainConfig`.

    Raises:
        IsicError: There is no trained fold, no shard matches, a name is not there, or a shard is corrupt.
    """
    if os.path.splitext(config.output)[1].lower() not in (".png", ".jpg", ".pdf"):
        raise errors.IsicError(f"expected --output to end in .png, .jpg or .pdf, got {config.output!r}")
    rows = record_images.choose_records(
        grad_cam.list_records(config.workdir, config.records), config.images, config.names, config.seed
    )
    found = grad_cam.explain_rows(config.workdir, rows)
    labels = [_LABELS[label] for label in record_images.read_labels(rows)]
    draw_grad_cam_sheet(config.output, found, rows["image_name"], labels)
    _LOG.info(f"wrote {len(rows)} images and their maps to {config.output}")
    if found.seen.any():
        _LOG.info(
            f"note: every network of {config.workdir} has been trained on {found.seen.sum()} of these images, or may have been"
        )


def draw_grad_cam_sheet(output, found, names, labels):
    """Draws the contact sheet, three images a row at most.

    Args:
        output: Picture to write.
        found: `Explanation`.
        names: Names of the images, `[n]`.
        labels: Texts, `[n]`.
    """
    from matplotlib.figure import Figure

    wide = min(3, len(names))
    tall = -(-len(names) // wide)
    figure = Figure(figsize=(2 * _SIDE * wide, (_SIDE + 0.35) * tall), dpi=100, layout="constrained")
    axes = figure.subplots(tall, 2 * wide, squeeze=False)
    captions = [f"{name}\n{label}" for name, label in zip(names, labels, strict=True)]
    chances = [f"{chance:.3f} malignant" for chance in found.probabilities]
    chances = [text + ("\nseen in training" if seen else "") for text, seen in zip(chances, found.seen, strict=True)]
    pairs = zip(found.images, captions, grad_cam.overlay(found.images, found.maps), chances, strict=True)
    pictures = (pair for image, caption, map_, chance in pairs for pair in ((image, caption), (map_, chance)))
    for axis, picture in itertools.zip_longest(axes.flat, pictures):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if picture:
            axis.imshow(picture[0])
            # Names are data: no dollar sign in them may start a formula.
            axis.set_xlabel(picture[1], fontsize=8, parse_math=False)
    with atomic_write.replaced(output) as temporary, filesystem.open(temporary, "wb") as file:
        figure.savefig(file, format=os.path.splitext(output)[1][1:].lower())
