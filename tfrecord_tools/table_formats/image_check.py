"""Checks which rows of a table have an image file."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.imaging import image_files
from tfrecord_tools.io import name_join


def find_files(names: pd.Series, directory: str) -> tuple[np.ndarray, list[str]]:
    """Finds the image files of a table.

    Args:
        names: Image names `[n]`, each once.
        directory: Directory of the image files, see `image_files.find_images`.

    Returns:
        Whether each name has a file, bool `[n]`, and the names of files that are not in the table.

    Raises:
        IsicError: The directory does not exist, or has none of the images.
    """
    found: Sequence[str] = list(image_files.find_images(directory, "train"))
    rows = name_join.find_rows(names, found, directory)
    if not len(found):
        raise errors.IsicError(f"{directory} holds no image files; check --images")
    name_join.refuse_empty_join(rows, names, found, f"the rows of the tables and the files of {directory}")
    others = np.setdiff1d(np.arange(len(found)), rows)
    return rows >= 0, [found[place] for place in others]
