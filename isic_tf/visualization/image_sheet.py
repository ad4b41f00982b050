"""Draws sheets of captioned images, and checks their file names."""

import dataclasses
import itertools
import os
from collections.abc import Sequence

import numpy as np

from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write, filesystem

SUFFIXES = (".png", ".jpg", ".pdf")
# What a caption says of a label.
LABELS = {schema.UNKNOWN: "no label", 0: "benign", 1: "malignant"}
_DOTS_PER_INCH = 100
# Inches of an image, of the caption below it, and of the title.
_IMAGE_INCHES = 1.9
_CAPTION_INCHES = 0.35
_TITLE_INCHES = 0.4
_FONT_SIZE = 8
_TITLE_FONT_SIZE = 10


@dataclasses.dataclass(frozen=True)
class CaptionedImage:
    """One image of a sheet.

    Examples:
        >>> CaptionedImage(np.zeros((64, 64, 3), np.uint8), "ISIC_0000001").caption
        'ISIC_0000001'
    """

    image: np.ndarray  # uint8, or float32 in [0, 1], [S, S, 3]
    caption: str


def check_output(path: str) -> None:
    """Checks that a path has the suffix of a picture.

    Args:
        path: Picture to write.

    Raises:
        ConfigError: The path ends otherwise.
    """
    if _suffix(path) not in SUFFIXES:
        raise errors.ConfigError(f"expected --output to end in .png, .jpg or .pdf, got {path!r}")


def draw_sheet(output: str, pictures: Sequence[CaptionedImage], columns: int, title: str = "") -> str:
    """Draws images row by row, each with its caption below it.

    Args:
        output: Picture to write: .png, .jpg or .pdf, 190 pixels per image.
        pictures: Images in order.
        columns: Number of images per row.
        title: Text at the top; "" for none.

    Returns:
        `output`.

    Raises:
        ConfigError: `output` ends otherwise.

    Examples:
        >>> gray = np.full((64, 64, 3), 128, np.uint8)
        >>> draw_sheet("sheet.png", [CaptionedImage(gray, "gray")], columns=1)  # doctest: +SKIP
        'sheet.png'
    """
    # Imported late: commands that fail early need not wait for it.
    from matplotlib.figure import Figure

    check_output(output)
    rows = -(-len(pictures) // columns)
    height = (_IMAGE_INCHES + _CAPTION_INCHES) * rows + (_TITLE_INCHES if title else 0)
    figure = Figure(figsize=(_IMAGE_INCHES * columns, height), dpi=_DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis, picture in itertools.zip_longest(axes.flat, pictures):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
        if picture is not None:
            image = picture.image
            axis.imshow(image if image.dtype == np.uint8 else np.clip(image, 0, 1))
            # Captions are data: a dollar sign in them must not start a formula.
            axis.set_xlabel(picture.caption, fontsize=_FONT_SIZE, parse_math=False)
    if title:
        figure.suptitle(title, fontsize=_TITLE_FONT_SIZE, parse_math=False)
    with atomic_write.replaced(output) as temporary, filesystem.open(temporary, "wb") as file:
        figure.savefig(file, format=_suffix(output)[1:])
    return output


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()
