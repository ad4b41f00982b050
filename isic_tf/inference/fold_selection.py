"""Selects the folds of a run that did not train on an image or its patient."""

import logging
import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import person_numbers, run_directory, seen_images
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, filesystem, identity

_LOG = logging.getLogger(__name__)
# Files whose bytes a record set may hold as they are.
_COPIED_FILES = (".jpg", ".jpeg", ".png")
_MAX_BYTES = 2**26


def find_unseen(path: str, rows: pd.DataFrame, otherwise: bool = False, patients_are: str | None = None) -> np.ndarray:
    """Finds the images that some weights were not trained on, nor on other images of their lesions and patients.

    Args:
        path: Weights file.
        rows: DataFrame with `image_name` and perhaps the columns of `person_numbers.add_keys`, or `patient_id` and
            `lesion_id` (text, "" where unknown), and `image_digest`.
        otherwise: The result for all images where the training images of the weights are not known.
        patients_are: `same` where equal numbers of patients in several sets are the same people.

    Returns:
        bool `[n]`.
    """
    return _find_unseen(_read_training_images(path), person_numbers.with_keys(rows), otherwise, patients_are)


def _read_training_images(path: str) -> pd.DataFrame | None:
    """Reads the training images of a weights file; None where they are not known."""
    origin = seen_images.find_origin(None, path)
    return seen_images.read_seen_images(origin) if origin else None


def _find_unseen(
    training_images: pd.DataFrame | None, rows: pd.DataFrame, otherwise: bool, patients_are: str | None
) -> np.ndarray:
    if training_images is None:
        return np.full(len(rows), otherwise)
    return ~seen_images.find_trained_on(rows, training_images, patients_are)


def choose_networks(
    paths: Sequence[str], rows: pd.DataFrame, out_of_fold: bool, patients_are: str | None = None
) -> str | list[str]:
    """Chooses the folds that predict each image; logs how many images were trained on.

    Args:
        paths: Weights of the folds, `[folds]`.
        rows: DataFrame `[n]` with `image_name` and perhaps further columns, see `find_unseen`; or with `path`, files
            whose bytes are compared.
        out_of_fold: Whether to leave out the folds that trained on an image, its lesion or its patient.
        patients_are: Whether equal numbers of patients in several sets are the `same` people or `different` ones; None
            where it is not known.

    Returns:
        For each image a text of one digit per fold, 1 where the fold predicts it; without `out_of_fold` one text for
        all images.

    Raises:
        ConfigError: With `out_of_fold`, patients are numbers, and it is not known whether these are the same people
            that were trained on.
        LeakageError: All folds trained on an image, its lesion or its patient.
    """
    training_images = [_read_training_images(path) for path in paths]
    rows = person_numbers.with_keys(rows)
    if any(table is not None and (table["image_digest"] != "").any() for table in training_images):
        rows = _add_digests(rows)
    if patients_are is None:
        _settle_open_numbers(paths, training_images, rows, out_of_fold)
    unseen = np.stack([_find_unseen(table, rows, not out_of_fold, patients_are) for table in training_images])
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


def _add_digests(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds the digests of image files; DICOM files are left out, since records hold no bytes of theirs."""
    if "path" not in rows or "image_digest" in rows:
        return rows
    return rows.assign(image_digest=[_compute_digest(path) for path in rows["path"]])


def _compute_digest(path: str) -> str:
    """Returns the digest of an image file; "" for one that no record holds as it is, or that cannot be read."""
    if not path.lower().endswith(_COPIED_FILES):
        return ""
    try:
        return identity.image_digest(filesystem.read(path)) if filesystem.size(path) <= _MAX_BYTES else ""
    except (OSError, errors.IsicError):
        # Decoding it will fail with an error that names it, or skip it.
        return ""


def _settle_open_numbers(
    paths: Sequence[str], training_images: Sequence[pd.DataFrame | None], rows: pd.DataFrame, out_of_fold: bool
) -> None:
    """Refuses out-of-fold predictions of patients who may have been trained on under their numbers; else logs them.

    Logs, too, where they have names on one side and numbers on the other, so that nothing tells who is who.
    """
    for path, table in zip(paths, training_images, strict=True):
        numbers = [] if table is None else person_numbers.find_open_numbers(rows, table)
        source = f"the training images of {os.path.dirname(path)}"
        if out_of_fold:
            person_numbers.refuse_open_numbers(numbers, "the images", source)
            if table is not None and _are_other_kinds(rows["patient_key"], table["patient_key"]):
                _LOG.warning(
                    f"note: the patients of the images and of {source} are names on one side and numbers on the other, "
                    "so the same people are not recognized"
                )
        elif numbers:
            _LOG.warning(
                f"note: the images and {source} share {len(numbers)} numbers of patients or lesions (such as "
                f"{numbers[0]}); if these are the same people, the predictions are optimistic (--patients_are)"
            )
            return


def _are_other_kinds(keys: pd.Series, others: pd.Series) -> bool:
    """Returns whether patients have only names in one of two tables, and only numbers in the other."""
    kinds = [person_numbers.list_kinds(keys), person_numbers.list_kinds(others)]
    return {"names"} in kinds and {"numbers"} in kinds


def find_targets(names: pd.Series, workdir: str) -> np.ndarray:
    """Finds the targets of images in the out-of-fold predictions of a run, which hold those of its own classes.

    Args:
        names: Image names, `[n]`.
        workdir: Run directory.

    Returns:
        int64 `[n]`, 0 or 1, and -1 for images that no fold held out.
    """
    found = np.full(len(names), schema.UNKNOWN, np.int64)
    for path in run_directory.fold_files(workdir, run_directory.OOF_FILE):
        held_out = csv_tables.read_table(path, ("image_name", "target"))
        places = pd.Index(held_out["image_name"]).get_indexer(names)
        found[places >= 0] = held_out["target"].astype("int64").to_numpy()[places[places >= 0]]
    return found


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
