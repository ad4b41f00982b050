"""Draws a sheet of images with their Grad-CAM maps."""

import dataclasses
import logging
from collections.abc import Sequence

from isic_tf.artifacts import run_directory
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
    class_: str = cli.option(
        "",
        help="Class to explain, of a run with several classes; where not given, the positive classes together "
        "(malignant).",
    )
    table: str | None = cli.option(
        None, help="CSV file with image_name and the numeric columns that the run was trained with (--metadata)."
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of the sample of records.")


@output_lock.locking("output")
def explain(config: ExplainConfig) -> str:
    """Draws a sheet of images, their Grad-CAM maps and the probabilities of melanoma.

    Args:
        config: `ExplainConfig`.

    Returns:
        Path of the picture.

    Raises:
        ConfigError: `output` is not a picture, or the run needs a table that is not given.
        IsicError: There is no trained fold, no shard matches, a name is not in the records, or a shard is corrupt.

    Examples:
        >>> config = ExplainConfig(workdir="runs/b0", records="records/384/train*.tfrec", output="maps.png")
        >>> explain(config)  # doctest: +SKIP
        'maps.png'
    """
    image_sheet.check_output(config.output)
    records = grad_cam.list_records(config.workdir, config.records, config.table)
    rows = record_images.choose_records(records, config.images, config.names, config.seed)
    found = grad_cam.explain_rows(config.workdir, rows, config.class_)
    labels = [image_sheet.LABELS[label] for label in record_images.read_labels(rows)]
    draw_grad_cam_sheet(config.output, found, rows["image_name"], labels, config.class_ or _name_score(config.workdir))
    _LOG.info(f"wrote {len(rows)} images and their maps to {config.output}")
    if found.seen.any():
        _LOG.warning(
            f"note: {found.seen.sum()} of these images were, or may have been, training images of every network of "
            f"{config.workdir}"
        )
    return config.output


def _name_score(workdir: str) -> str:
    """Returns what the single score of a run is the probability of."""
    is_own = run_directory.read_flags(workdir).get("target", "binary").startswith("column")
    return "positive" if is_own else "malignant"


def draw_grad_cam_sheet(
    output: str,
    found: grad_cam.Explanation,
    names: Sequence[str],
    labels: Sequence[str],
    class_name: str = "malignant",
) -> str:
    """Draws images with their maps, at most three pairs per row.

    Args:
        output: Picture to write: .png, .jpg or .pdf.
        found: `Explanation`.
        names: Names of the images, `[n]`.
        labels: Texts, `[n]`.
        class_name: What the probabilities are of.

    Returns:
        `output`.

    Raises:
        ConfigError: `output` ends otherwise.
    """
    overlays = grad_cam.overlay(found.images, found.maps)
    pictures = []
    for place, (name, label) in enumerate(zip(names, labels, strict=True)):
        note = "\nin the training data" if found.seen[place] else ""
        probability = f"{found.probabilities[place]:.3f} {class_name}{note}"
        pictures.append(image_sheet.CaptionedImage(found.images[place], f"{name}\n{label}"))
        pictures.append(image_sheet.CaptionedImage(overlays[place], probability))
    return image_sheet.draw_sheet(output, pictures, 2 * min(_MAX_PAIRS, len(names)))
