"""Draws a sheet of images with their Grad-CAM maps."""

import logging
from collections.abc import Sequence

from isic_tf.artifacts import run_directory
from isic_tf.visualization import grad_cam, image_sheet, record_images
from isic_tf.visualization.config import ExplainConfig
from tfrecord_tools.io import output_lock

_LOG = logging.getLogger(__name__)

# Pairs of an image and its map per row.
_MAX_PAIRS = 3


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
