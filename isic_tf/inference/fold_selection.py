"""Selects the folds of a run that did not train on an image or its patient."""

import logging
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import seen_images
from tfrecord_tools import errors, schema

_LOG = logging.getLogger(__name__)


def find_unseen(path: str, rows: pd.DataFrame, otherwise: bool = False) -> np.ndarray:
    """Finds the images that some weights were not trained on, nor on other images of their patients.

    Args:
        path: Weights file.
        rows: DataFrame with `image_name` and perhaps `patient_id` (text, "" where unknown).
        otherwise: The result for all images where the training images of the weights are not known.

    Returns:
        bool `[n]`.
    """
    origin = seen_images.find_origin(None, path)
    if not origin:
        return np.full(len(rows), otherwise)
    training_images = seen_images.read_seen_images(origin)
    is_known = rows["image_name"].isin(training_images["image_name"])
    if "patient_id" in rows:
        is_known |= rows["patient_id"].isin(set(training_images["patient_id"]) - {""})
    return ~is_known.to_numpy()


def choose_networks(paths: Sequence[str], rows: pd.DataFrame, out_of_fold: bool) -> str | list[str]:
    """Chooses the folds that predict each image; logs how many images were trained on.

    Args:
        paths: Weights of the folds, `[folds]`.
        rows: DataFrame `[n]` with `image_name` and `patient_id` (text, "" where unknown).
        out_of_fold: Whether to leave out the folds that trained on an image or its patient.

    Returns:
        For each image a text of one digit per fold, 1 where the fold predicts it; without `out_of_fold` one text for
        all images.

    Raises:
        LeakageError: All folds trained on an image or its patient.
    """
    unseen = np.stack([find_unseen(path, rows, otherwise=not out_of_fold) for path in paths])
    if not out_of_fold:
        trained_on = rows.loc[~unseen.all(axis=0), "image_name"]
        if len(trained_on):
            _LOG.warning(
                f"note: {len(trained_on)} of the {len(rows)} images, or their patients, were trained on (for example "
                f"{trained_on.iloc[0]}), so these predictions are optimistic; --out_of_fold predicts each image only "
                "with folds that did not train on it"
            )
        return "1" * len(paths)
    in_all = rows.loc[~unseen.any(axis=0), "image_name"]
    if len(in_all):
        raise errors.LeakageError(
            f"expected a fold that did not train on each image or its patient, but all folds trained on {len(in_all)} "
            f"of them, for example {in_all.iloc[0]}; train the folds that hold them out"
        )
    return ["".join(digits) for digits in np.where(unseen, "1", "0").T]


def add_folds(table: pd.DataFrame, rows: pd.DataFrame, paths: Sequence[str]) -> pd.DataFrame:
    """Adds the fold that held each image out, and its target, to out-of-fold predictions.

    Args:
        table: DataFrame of `image_name` and `prediction`.
        rows: DataFrame with `image_name`, `networks` (see `choose_networks`) and `known_target` (-1 where unknown).
        paths: Weights of the folds.

    Returns:
        The table with `fold` and `target` (Int64, missing where unknown); a column that no image has a value for is
        left out, which is logged.
    """
    folds = [os.path.basename(os.path.dirname(path)).removeprefix("fold") for path in paths]
    # An image that several networks may predict belongs to no fold.
    fold_of_networks = {
        "".join("1" if other == fold else "0" for other in folds): fold for fold in folds if fold.isdecimal()
    }
    own_rows = rows.set_index("image_name").loc[table["image_name"]]
    targets = own_rows["known_target"]
    columns = {
        "fold": own_rows["networks"].map(fold_of_networks).astype("float64"),
        "target": targets.where(targets != schema.UNKNOWN),
    }
    for name, values in columns.items():
        if values.isna().all():
            _LOG.info(f"note: no image has a {name}; the column {name} is left out")
            continue
        if values.isna().any():
            blank = own_rows.index[values.isna()]
            _LOG.info(f"note: {len(blank)} of {len(values)} images have no {name} (for example {blank[0]}); left blank")
        table = table.assign(**{name: values.astype("Int64").array})
    return table
