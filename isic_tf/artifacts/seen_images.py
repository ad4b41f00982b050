"""Records which images and patients a set of weights was trained on."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.artifacts import person_numbers, related_images, run_directory
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, filesystem, identity

SEEN_FILE = "seen_images.csv"
# Files of release 0.1 have the first two.
_COLUMNS = ["image_name", "patient_id", "lesion_id", "image_digest"]


def list_seen_images(plan: Any, source: str | None = None) -> pd.DataFrame:
    """Lists the training images of a fold's weights, including those of the weights that it starts from.

    Args:
        plan: Training plan of the fold, see `mixture.plan_fold`.
        source: Directory that records the training images of the initial weights, see `find_origin`; None for none.

    Returns:
        DataFrame of text, "" where unknown: `image_name`, `patient_id`, `lesion_id` and `image_digest`. A patient or a
        lesion that is only a number is written with the identity of its record set, see `person_numbers`.
    """
    rows = person_numbers.with_keys(plan.rows)
    seen = pd.DataFrame({"image_name": rows["image_name"]})
    for key, column in person_numbers.COLUMNS.items():
        is_number = person_numbers.split_keys(rows[key])["number"].notna()
        is_name = (rows[key] != "") & ~is_number
        seen[column] = rows[key].where(is_number, rows[column].where(is_name, "") if column in rows else "")
    seen["image_digest"] = rows.get("image_digest", "")
    earlier = [read_seen_images(source)[_COLUMNS]] if source else []
    return pd.concat([*earlier, seen]).drop_duplicates()


def read_seen_images(directory: str) -> pd.DataFrame:
    """Reads the training images that `write_seen_images` recorded; files of release 0.1 too.

    Args:
        directory: Directory of a fold.

    Returns:
        DataFrame of text, "" where unknown: `image_name`, `patient_id`, `lesion_id`, `image_digest` and, for
        comparisons, `patient_key` and `lesion_key`, see `person_numbers.add_keys`.

    Raises:
        IsicError: The file does not exist, or is not such a table.
    """
    table = csv_tables.read_table(os.path.join(directory, SEEN_FILE), ("image_name", "patient_id"))
    table = table.reindex(columns=_COLUMNS, fill_value="")
    for key, column in person_numbers.COLUMNS.items():
        table[key] = table[column].map({text: identity.person_key(text) for text in table[column].unique()})
    return table


def find_patients(workdir: str, names: Sequence[str]) -> np.ndarray:
    """Finds the patients of a run's images: those that one fold held out, the others were trained on.

    Args:
        workdir: Run directory.
        names: Names of the images, `[n]`, as in its out-of-fold predictions.

    Returns:
        Keys of the patients, see `person_numbers.add_keys`, object `[n]`; "" where unknown, as in a run of one fold.
    """
    paths = run_directory.fold_files(workdir, SEEN_FILE)
    tables = [read_seen_images(os.path.dirname(path))[["image_name", "patient_key"]] for path in paths]
    if not tables:
        return np.full(len(names), "", object)
    known = pd.concat(tables).drop_duplicates("image_name").set_index("image_name")["patient_key"]
    return known.reindex(names, fill_value="").to_numpy(object)


def write_seen_images(directory: str, seen: pd.DataFrame) -> None:
    """Writes the training images of a fold's weights.

    Args:
        directory: Directory of the fold.
        seen: See `list_seen_images`.
    """
    atomic_write.write_text(os.path.join(directory, SEEN_FILE), csv_output.format_table(seen))


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


def find_trained_on(
    rows: pd.DataFrame, seen: pd.DataFrame, patients_are: str | None = None, pairs: pd.DataFrame | None = None
) -> np.ndarray:
    """Finds the images that weights were trained on, or other images of whose patients or lesions.

    Numbers that may be the same people are different ones, unless `patients_are` says otherwise; see
    `person_numbers.find_open_numbers`.

    Args:
        rows: DataFrame `[n]` with `image_name`, the columns of `person_numbers.add_keys` and perhaps `image_digest`.
        seen: See `read_seen_images`.
        patients_are: `same` where equal numbers of all sets are the same people.
        pairs: Pairs of duplicate images, see `duplicate_pairs.read_pairs`; None for none.

    Returns:
        bool `[n]`.

    Examples:
        >>> seen = pd.DataFrame({"image_name": ["a"], "patient_key": ["p"], "lesion_key": [""]})
        >>> rows = pd.DataFrame({"image_name": ["A.jpg", "b", "c"], "patient_key": ["", "p", "q"], "lesion_key": ""})
        >>> find_trained_on(rows, seen).tolist()
        [True, True, False]
    """
    is_shown = related_images.find_photographs(rows, seen, pairs)
    aligned = {}
    aligned_seen = {}
    for column in person_numbers.COLUMNS:
        keys = person_numbers.align_keys(rows[column], seen[column], same=patients_are == "same")
        aligned[column], aligned_seen[column] = keys
    return related_images.find_people(rows.assign(**aligned), seen.assign(**aligned_seen), is_shown)
