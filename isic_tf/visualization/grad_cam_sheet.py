"""Draws a sheet of images with their Grad-CAM maps."""

import dataclasses
import logging
from collections.abc import Sequence

from isic_tf.visualization import grad_cam, image_sheet, record_images
from tfrecord_tools import cli
from tfrecord_tools.io import output_lock

_LOG = logging.getLogger(__name__)

# Pairs of an image and its map per row.
_MAX_PAIRS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainConfig(cli.Config):
    """Options for explaining images by Grad-CAM.

    Examples:
        >>> ExplainConfig(workdir="runs/b0", records="records/384/train*.tfrec", output="maps.png").images
        12
    """

    workdir: str = cli.option(help="Run directory with at least one trained fold.")
    records: str = cli.option(help="Glob pattern of shards, in quotes; separate several with commas.")
    output: str = cli.option(help="Image file to write: .png, .jpg or .pdf.")
    images: int = cli.option(12, lower=1, upper=200, help="Number of records, sampled from all shards.")
    names: str = cli.option("", help="Image names to explain instead, separated by commas.")
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of the sample of records.")


@output_lock.locking("output")
def explain(config: ExplainConfig) -> str:
    """Draws a sheet of images, their Grad-CAM maps and the probabilities of melanoma.

    Args:
        config: `ExplainConfig`.

    Returns:
        Path of the picture.

    Raises:
        ConfigError: `output` is not a picture.
        IsicError: There is no trained fold, no shard matches, a name is not in the records, or a shard is corrupt.

    Examples:
        >>> config = ExplainConfig(workdir="runs/b0", records="records/384/train*.tfrec", output="maps.png")
        >>> explain(config)  # doctest: +SKIP
        'maps.png'
    """
    image_sheet.check_output(config.output)
    records = grad_cam.list_records(config.workdir, config.records)
    rows = record_images.choose_records(records, config.images, config.names, config.seed)
    found = grad_cam.explain_rows(config.workdir, rows)
    labels = [image_sheet.LABELS[label] for label in record_images.read_labels(rows)]
    draw_grad_cam_sheet(config.output, found, rows["image_name"], labels)
    _LOG.info(f"wrote {len(rows)} images and their maps to {config.output}")
    if found.seen.any():
        _LOG.warning(
            f"note: {found.seen.sum()} of these images were, or may have been, training images of every network of "
            f"{config.workdir}"
        )
    return config.output


def draw_grad_cam_sheet(output: str, found: grad_cam.Explanation, names: Sequence[str], labels: Sequence[str]) -> str:
    """Draws images with their maps, at most three pairs per row.

    Args:
        output: Picture to write: .png, .jpg or .pdf.
        found: `Explanation`.
        names: Names of the images, `[n]`.
        labels: Texts, `[n]`.

    Returns:
        `output`.

    Raises:
        ConfigError: `output` ends otherwise.
    """
    overlays = grad_cam.overlay(found.images, found.maps)
    pictures = []
    for place, (name, label) in enumerate(zip(names, labels, strict=True)):
        note = "\nin the training data" if found.seen[place] else ""
        probability = f"{found.probabilities[place]:.3f} malignant{note}"
        pictures.append(image_sheet.CaptionedImage(found.images[place], f"{name}\n{label}"))
        pictures.append(image_sheet.CaptionedImage(overlays[place], probability))
    return image_sheet.draw_sheet(output, pictures, 2 * min(_MAX_PAIRS, len(names)))
