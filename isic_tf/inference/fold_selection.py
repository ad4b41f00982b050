"""Which networks of a run have not seen an image or its patient."""

import logging
import os

import numpy as np

from isic_tf.artifacts import seen_images
from tfrecord_tools import errors, schema

_LOG = logging.getLogger(__name__)


def find_unseen(path, rows, otherwise=False):
    """Tells which images some weights have not been trained on, nor on their patients.

    Args:
        path: Path of the weights.
        rows: DataFrame with `image_name` and perhaps `patient_id` (text, "" where unknown).
        otherwise: The answer where nothing tells what the weights have seen.

    Returns:
        bool `[n]`.
    """
    folder = seen_images.find_origin(None, path)
    if not folder:
        return np.full(len(rows), otherwise)
    seen = seen_images.read_seen_images(folder)
    known = rows["image_name"].isin(seen["image_name"])
    if "patient_id" in rows:
        known |= rows["patient_id"].isin(set(seen["patient_id"]) - {""})
    return ~known.to_numpy()


def choose_networks(paths, rows, out_of_fold):
    """Decides which folds' networks an image is shown to: text of a digit for each network, 1 where it is.

    Args:
        paths: Paths of the networks' weights.
        rows: DataFrame with `image_name` and `patient_id` (text, "" where unknown).
        out_of_fold: Whether to leave out networks that have seen an image or its patient.

    Raises:
        IsicError: All networks have seen an image.
    """
    clean = np.stack([find_unseen(path, rows, otherwise=not out_of_fold) for path in paths])
    flattering = rows.loc[~clean.all(axis=0), "image_name"]
    if not out_of_fold:
        if len(flattering):
            _LOG.info(
                f"note: {len(flattering)} of the {len(rows)} images, or their patients, were trained on, "
                f"{flattering.iloc[0]} first, so these predictions flatter; --out_of_fold leaves out the networks that "
                "have seen an image"
            )
        return "1" * len(paths)
    nowhere = rows.loc[~clean.any(axis=0), "image_name"]
    if len(nowhere):
        raise errors.IsicError(
            f"all networks have seen {len(nowhere)} of the images or their patients, {nowhere.iloc[0]} first; train "
            "the folds that hold them out"
        )
    return ["".join(column) for column in np.where(clean, "1", "0").T]


def add_folds(table, rows, paths):
    """Adds to out-of-fold predictions the fold that held each image out, and its target; blank where unknown.

    Args:
        table: DataFrame of `image_name` and `prediction`.
        rows: DataFrame with `image_name`, `networks` (see `choose_networks`) and `known_target` (-1 where unknown).
        paths: Paths of the networks' weights.
    """
    folds = [os.path.basename(os.path.dirname(path)).removeprefix("fold") for path in paths]
    # Of an image that several networks may judge no fold is its own.
    numbers = {"".join("1" if other == fold else "0" for other in folds): fold for fold in folds if fold.isdecimal()}
    own = rows.set_index("image_name").loc[table["image_name"]]
    held_out, targets = own["networks"].map(numbers), own["known_target"]
    columns = {"fold": held_out.astype("float64"), "target": targets.where(targets != schema.UNKNOWN)}
    for name, values in columns.items():
        if values.isna().all():
            _LOG.info(f"note: the column {name} is left out, since no image has one")
            continue
        if values.isna().any():
            blank = own.index[values.isna()]
            _LOG.info(f"note: {len(blank)} of {len(values)} images have no {name}, blank there, {blank[0]} first")
        table = table.assign(**{name: values.astype("Int64").array})
    return table
