"""Records which images and patients a set of weights was trained on."""

import os

import pandas as pd

from tfrecord_tools.io import atomic_write, csv_tables, filesystem

SEEN_FILE = "seen_images.csv"


def list_seen_images(plan, source=None):
    """Lists the images that a fold's weights are of, those of the weights that it starts from too.

    Args:
        plan: See `mixture.plan_fold`.
        source: See `origin`.

    Returns:
        DataFrame of `image_name` and `patient_id` (text; "" where unknown or the set's own number).
    """
    seen = plan.rows[["image_name", "patient_id"]]
    # A set's own numbers would name other people in another set.
    own_number = seen["patient_id"].str.fullmatch(r"(\d+:)?-?\d+")
    seen = seen.assign(patient_id=seen["patient_id"].where(~own_number, ""))
    before = [read_seen_images(source)] if source else []
    return pd.concat([*before, seen]).drop_duplicates()


def read_seen_images(folder):
    """Reads what `write_seen` wrote."""
    return csv_tables.read_table(os.path.join(folder, SEEN_FILE), ("image_name", "patient_id"))


def write_seen_images(folder, seen):
    """Writes into a fold's folder what its weights are of, see `list_seen`."""
    atomic_write.write_text(os.path.join(folder, SEEN_FILE), seen.to_csv(index=False))


def find_origin(source, weights):
    """Finds the folder that tells what the weights have seen that a fold starts from; None where nothing does.

    Args:
        source: See `find`, or None.
        weights: Path of a weights file, or None where the weights are published ones or random.
    """
    if source or not weights:
        return source
    folder = os.path.dirname(weights)
    return folder if filesystem.exists(os.path.join(folder, SEEN_FILE)) else None
