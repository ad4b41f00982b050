"""Records which images and patients a set of weights was trained on."""

import os
from typing import Any

import pandas as pd

from tfrecord_tools.io import atomic_write, csv_tables, filesystem

SEEN_FILE = "seen_images.csv"


def list_seen_images(plan: Any, source: str | None = None) -> pd.DataFrame:
    """Lists the training images of a fold's weights, including those of the weights that it starts from.

    Args:
        plan: Training plan of the fold, see `mixture.plan_fold`.
        source: Directory that records the training images of the initial weights, see `find_origin`; None for none.

    Returns:
        DataFrame of `image_name` and `patient_id` (text; "" where unknown or only a number within the record set).
    """
    seen = plan.rows[["image_name", "patient_id"]]
    # A number within one record set would name another patient in another set.
    is_own_number = seen["patient_id"].str.fullmatch(r"(\d+:)?-?\d+")
    seen = seen.assign(patient_id=seen["patient_id"].where(~is_own_number, ""))
    earlier = [read_seen_images(source)] if source else []
    return pd.concat([*earlier, seen]).drop_duplicates()


def read_seen_images(directory: str) -> pd.DataFrame:
    """Reads the training images that `write_seen_images` recorded.

    Args:
        directory: Directory of a fold.

    Returns:
        DataFrame of `image_name` and `patient_id` (text).

    Raises:
        IsicError: The file does not exist, or is not such a table.
    """
    return csv_tables.read_table(os.path.join(directory, SEEN_FILE), ("image_name", "patient_id"))


def write_seen_images(directory: str, seen: pd.DataFrame) -> None:
    """Writes the training images of a fold's weights.

    Args:
        directory: Directory of the fold.
        seen: See `list_seen_images`.
    """
    atomic_write.write_text(os.path.join(directory, SEEN_FILE), seen.to_csv(index=False))


def find_origin(source: str | None, weights: str | None) -> str | None:
    """Finds the directory that records the training images of the weights that a fold starts from.

    Args:
        source: Directory of the fold of another run that training starts from, or None.
        weights: Path of a weights file; None where the weights are published ones or random.

    Returns:
        The directory, or None where nothing is recorded.
    """
    if source or not weights:
        return source
    directory = os.path.dirname(weights)
    return directory if filesystem.exists(os.path.join(directory, SEEN_FILE)) else None
